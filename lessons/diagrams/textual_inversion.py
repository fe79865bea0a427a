"""Textual inversion: one more row of the table of embeddings."""

from . import facts
from .shapes import BLUE, GREY, INK, ORANGE

HEIGHT = 490
WORDS = ["[CLS]", "一", "只", "<小奶猫>", "在", "草", "地"]
ROWS = ["在", "一", "只", "猫", "…", "<小奶猫>"]
X, Y, WIDE, TALL = 190, 176, 330, 40  # of the table; a row


def draw(card):
    card.title("title")
    for place, word in enumerate(WORDS):
        new = word.startswith("<")
        x, width = 34 + 76 * place + (38 if place > 3 else 0), 104 if new else 66
        card.box(x, 68, width, 40, word, "trained" if new else "text", 16)
        if new:
            x, last = x + width / 2, Y + TALL * (len(ROWS) - 0.5)
            way = (x, 108), (x, 142), (72, 142), (72, last), (94, last)
            card.arrow(*way, colour=ORANGE)
    weight = facts.mini().text_encoder.get_input_embeddings().weight.detach()
    for place, word in enumerate(ROWS):
        row(card, Y + TALL * place, word, weight)
    rows, numbers = weight.shape
    card.label(
        X,
        Y + TALL * len(ROWS) + 22,
        card.say("table", n=rows, d=numbers),
        16,
        GREY,
        "left",
    )
    rest(card)


def row(card, y, word, weight):
    new, kind = word.startswith("<"), "text"
    if word == "…":
        card.label(X + WIDE / 2, y + TALL / 2 - 2, "…", 20, GREY)
        return
    place = facts.mini().tokenizer.convert_tokens_to_ids("猫" if new else word)
    numbers = "   ".join(f"{value:+.2f}" for value in weight[place][:4]) + "   …"
    card.box(
        X, y + 2, WIDE, TALL - 4, numbers, "trained" if new else kind, 16, radius=3
    )
    card.label(X - 14, y + TALL / 2, word, 17, ORANGE if new else INK, "right")


def rest(card):
    """The frozen networks, and the gradient that comes back through them."""
    middle, last = Y + TALL * 2, Y + TALL * 5.5
    card.arrow((X + WIDE, middle), (590, middle), colour=BLUE)
    card.box(590, middle - 30, 132, 60, "encoder", "plain", 16)
    card.arrow((722, middle), (752, middle))
    card.box(752, middle - 30, 84, 60, "UNet", "plain", 16)
    card.label(713, middle - 52, "frozen", 16, GREY)
    card.arrow((794, middle + 30), (794, last - 22))
    card.box(752, last - 22, 84, 44, "loss", "pale", 16)
    card.arrow((752, last), (X + WIDE + 2, last), colour=ORANGE, dash=(0, (4, 2)))
    card.label((752 + X + WIDE) / 2, last + 24, "gradient", 16, ORANGE)
    card.label(X + WIDE + 16, last - 20, "starts", 16, GREY, "left")
