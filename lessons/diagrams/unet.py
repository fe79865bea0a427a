"""The UNet with its skip connections and cross-attention, and what each method trains of it lit: one card a method."""

from typing import NamedTuple

from paidiff_lib.metrics import canny

from . import facts
from .shapes import BLUE, GREY, ORANGE

HEIGHT = 626
VARIANTS = ["plain", "lora", "ti", "dreambooth", "controlnet", "full"]
TOP, STEP, TALL, STRIP = (
    96,
    80,
    40,
    15,
)  # of the levels; a block, and its cross-attention below it
MIDDLE, BUS, FOOT = (
    410,
    494,
    534,
)  # heights of the middle block, of the words' way, of the last row
WHOLE = ("full", "dreambooth")  # train every weight of the UNet


class Block(NamedTuple):
    x: float
    y: float
    width: float
    side: int  # 1 on the way down, 0 in the middle, -1 on the way up
    attends: bool
    shape: tuple

    @property
    def bottom(self):
        return self.y + TALL + (STRIP if self.attends else 0)

    @property
    def right(self):
        return self.x + self.width

    @property
    def outer(self):
        return self.x if self.side == 1 else self.right


def draw(card, method):
    card.title(f"title-{method}")
    where = (104, 566, 104, 14) if method == "controlnet" else (140, 760, 126, 38)
    blocks = unet(*where)
    skips(card, blocks)
    way_down_and_up(card, blocks)
    words(card, blocks, method)
    time(card, method in WHOLE)
    for block in blocks:
        put(card, block, method in WHOLE, method == "lora")
    if method == "controlnet":
        copy(card, blocks)
    legend(card, blocks, method)


def unet(left, right, width, inward):
    """The blocks: down, the middle, up."""
    model, shapes = facts.mini().unet, facts.levels()
    depth = len(model.down_blocks)
    levels = [*range(depth), depth, *reversed(range(depth))]
    parts = [*model.down_blocks, model.mid_block, *model.up_blocks]
    found = []
    for number, (level, part, shape) in enumerate(zip(levels, parts, shapes)):
        side = (number < depth) - (number > depth)
        x = left + level * inward if side == 1 else right - level * inward - width
        x, y = (
            ((left + right - width) / 2, MIDDLE)
            if side == 0
            else (x, TOP + level * STEP)
        )
        found.append(Block(x, y, width, side, hasattr(part, "attentions"), shape))
    return found


def put(card, block, lit=False, adapters=False):
    """Residual layers with the size of what they make, and cross-attention below them."""
    x, y, width = block[:3]
    card.box(
        x,
        y,
        width,
        TALL,
        "×".join(map(str, block.shape)),
        "trained" if lit else "plain",
        16,
        4,
    )
    if block.attends:
        card.box(x, y + TALL, width, STRIP, kind="trained" if lit else "text", radius=3)
    if adapters:
        card.box(block.right - 13, y + 4, 9, TALL - 8, kind="trained", radius=2)
        if block.attends:
            card.box(
                block.right - 13, y + TALL + 3, 9, STRIP - 6, kind="trained", radius=2
            )


def skips(card, blocks):
    depth = len(blocks) // 2
    for one, other in zip(blocks[:depth], reversed(blocks[depth + 1 :])):
        y = one.y + TALL / 2
        card.arrow((one.right, y), (other.x, y), dash=(0, (4, 2)))
    card.label((blocks[0].right + blocks[-1].x) / 2, TOP + 3, "skip", 16, GREY)


def way_down_and_up(card, blocks):
    depth = len(blocks) // 2
    first, middle, last = blocks[0], blocks[depth], blocks[-1]
    for one, other in zip(blocks[: depth - 1], blocks[1:depth]):
        x = (one.right + other.x) / 2
        card.arrow((x, one.bottom), (x, other.y))
    for one, other in zip(blocks[depth + 1 : -1], blocks[depth + 2 :]):
        x = (one.right + other.x) / 2
        card.arrow((x, one.y), (x, other.bottom))
    low, high, y = blocks[depth - 1], blocks[depth + 1], middle.y + TALL / 2
    card.arrow(
        (low.x + low.width / 2, low.bottom), (low.x + low.width / 2, y), (middle.x, y)
    )
    card.arrow(
        (middle.right, y),
        (high.x + high.width / 2, y),
        (high.x + high.width / 2, high.bottom),
    )
    y = TOP + TALL / 2
    card.arrow((first.x - 56, y), (first.x, y))
    card.label(first.x - 76, y, "$x_t$", 25)
    if last.right > 700:  # else the ControlNet is there
        card.arrow((last.right, y), (last.right + 56, y))
        card.label(last.right + 76, y, "$v$", 25)
    else:
        card.arrow((last.x + 20, TOP), (last.x + 20, TOP - 32))
        card.label(last.x + 4, TOP - 21, "$v$", 25)


def words(card, blocks, method):
    """From the ids to every cross-attention."""
    left, right = blocks[0].x - 40, blocks[-1].right + 40
    card.line((left, BUS), (right, BUS), BLUE)
    for block in (b for b in blocks if b.attends):
        y, x = block.y + TALL + STRIP / 2, {1: left, -1: right}.get(block.side)
        if x is None:
            card.arrow(
                (block.x + block.width / 2, BUS),
                (block.x + block.width / 2, block.bottom),
                colour=BLUE,
            )
        else:
            card.arrow((x, y), (block.outer, y), colour=BLUE)
    top = next(b.y for b in blocks if b.attends) + TALL + STRIP / 2
    card.line((left, BUS), (left, top), BLUE)
    card.line((right, BUS), (right, top), BLUE)
    card.box(28, FOOT, 96, 46, "ids", "text")
    card.arrow((124, FOOT + 23), (150, FOOT + 23), colour=BLUE)
    table(card, 150, FOOT, method == "ti")
    card.arrow((270, FOOT + 23), (298, FOOT + 23), colour=BLUE)
    card.box(298, FOOT, 148, 46, "encoder", "text")
    card.arrow((372, FOOT), (372, BUS + 2), colour=BLUE)
    card.label(382, FOOT - 21, facts.shapes()[0]["text"], 16, BLUE, "left")
    card.label(left + 10, BUS + 18, "attention", 16, BLUE, "left")


def table(card, x, y, lit):
    """The embeddings: a row for each token."""
    shape = facts.mini().text_encoder.get_input_embeddings().weight.shape
    card.box(x, y, 120, 46, kind="text", radius=2)
    for row in range(1, 5):
        card.line((x, y + 9.2 * row), (x + 120, y + 9.2 * row), BLUE, 0.6)
    if lit:
        card.box(x, y + 27.6, 120, 9.2, kind="trained", radius=0)
    card.label(x + 60, y + 62, card.say("table", n="×".join(map(str, shape))), 16)


def time(card, lit):
    card.arrow((446, FOOT + 23), (568, FOOT + 23), colour=BLUE)
    card.label(505, FOOT + 8, "sentence", 16, BLUE)
    card.box(568, FOOT, 150, 46, "embedding", "trained" if lit else "plain")
    card.arrow((762, FOOT + 23), (718, FOOT + 23))
    card.box(762, FOOT, 110, 46, "time", "plain")
    card.arrow((643, FOOT), (643, FOOT - 27))
    card.label(655, FOOT - 17, "every", 16, GREY, "left")


def copy(card, blocks):
    """The ControlNet: the first half once more, beside the second half, and zero convolutions to it."""
    depth, x, bus = len(blocks) // 2, 740, blocks[-1].right + 40
    edges = canny(facts.penguins())
    card.picture(x + 22, 14, 60, facts.shrunk(edges, 60), colours=6)
    card.arrow((x + 52, 74), (x + 52, TOP), colour=ORANGE)
    card.label(x + 12, 44, "edges", 16, ha="right")
    card.label((x + bus) / 2 - 6, TOP - 6, "zero", 16, ORANGE)
    for one, into in zip(
        blocks[: depth + 1], [*reversed(blocks[depth + 1 :]), blocks[depth]]
    ):
        mine = one._replace(x=x, side=1)
        y = one.y + TALL / 2 - (0 if one.side else -10)
        dot = (x + bus) / 2 + 10
        card.line((x, y), (dot + 10, y), ORANGE)
        card.arrow((dot - 10, y), (into.right, y), colour=ORANGE)
        card.dot(dot, y, 10, "trained", "0", 15)
        if one.attends:
            card.arrow(
                (bus, mine.bottom - STRIP / 2),
                (x, mine.bottom - STRIP / 2),
                colour=BLUE,
            )
        if one.side:
            below = (
                TOP + STEP * (blocks.index(one) + 1)
                if blocks.index(one) + 1 < depth
                else MIDDLE
            )
            card.arrow((x + 52, mine.bottom), (x + 52, below), colour=ORANGE)
        put(card, mine, lit=True)


def legend(card, blocks, method):
    """How many numbers are trained, in the middle of the U."""
    x = (blocks[0].x + blocks[-1].right) / 2
    count = trained(card, method)
    y = TOP + STEP / 2 + TALL / 2
    if count is None:
        card.label(x, y, card.say("all", n=facts.millions(facts.mini().unet)), 17, GREY)
        return
    card.label(x, y - 13, card.say("legend", n=count), 18, ORANGE)
    card.label(x, y + 13, card.say("frozen", n=frozen(method)), 17, GREY)
    if method == "dreambooth":
        card.label(x, y + STEP, "rehearsal", 17, ORANGE)


def trained(card, method):
    if method == "ti":
        return card.say("numbers", n=facts.mini().text_encoder.config.hidden_size)
    if method == "lora":
        return facts.millions(facts.lora_parameters())
    if method == "controlnet":
        return facts.millions(facts.controlnet())
    return facts.millions(facts.mini().unet) if method in WHOLE else None


def frozen(method):
    pipe = facts.mini()
    rest = [pipe.text_encoder, pipe.vae] + ([] if method in WHOLE else [pipe.unet])
    return facts.millions([p for part in rest for p in part.parameters()])
