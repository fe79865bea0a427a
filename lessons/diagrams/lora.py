"""LoRA as W + alpha / r * B A, with the numbers of one layer of mini."""

from . import facts
from .shapes import GREY, INK, ORANGE

HEIGHT = 440
LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"


def draw(card):
    out, into = facts.mini().unet.get_submodule(LAYER).weight.shape
    rank = facts.RANK
    card.title("title")
    card.label(64, 222, "input", 18)
    card.line((104, 222), (150, 222))
    card.line((150, 140), (150, 318))
    card.arrow((150, 140), (210, 140))
    card.arrow((150, 318), (210, 318), colour=ORANGE)
    card.box(210, 70, 300, 140)
    card.label(360, 112, "$W$", 30)
    card.label(360, 146, f"{out}×{into}", 18)
    card.label(360, 176, numbers(card, out * into), 17, GREY)
    matrix(card, 210, 284, 140, 68, "$A$", f"{rank}×{into}")
    card.arrow((350, 318), (370, 318), colour=ORANGE)
    matrix(card, 370, 248, 68, 140, "$B$", f"{out}×{rank}")
    card.arrow((438, 318), (470, 318), colour=ORANGE)
    card.box(470, 284, 74, 68, r"$\frac{\alpha}{r}$", "pale", 34)
    card.line((544, 318), (606, 318), ORANGE)
    card.arrow((606, 318), (606, 160), colour=ORANGE)
    card.arrow((510, 140), (586, 140))
    card.dot(606, 140, 20, "pale", "+", 26)
    card.arrow((626, 140), (676, 140))
    card.label(720, 140, "output", 18)
    card.label(530, 92, "frozen", 18, GREY, "left")
    share = rank * (out + into) / (out * into)
    card.label(640, 250, numbers(card, rank * (out + into)), 18, ORANGE, "left")
    card.label(
        640, 280, card.say("share", r=rank, n=f"{share:.1%}"), 18, ORANGE, "left"
    )
    card.label(640, 330, r"$y = Wx + \frac{\alpha}{r}\,B\,A\,x$", 26, INK, "left")
    card.label(28, 415, "start", 17, GREY, "left")


def matrix(card, x, y, w, h, name, shape):
    card.box(x, y, w, h, kind="trained")
    card.label(x + w / 2, y + h / 2 - 14, name, 26, room=(x, y, w, h))
    card.label(x + w / 2, y + h / 2 + 18, shape, 16, room=(x, y, w, h))


def numbers(card, count):
    return card.say("numbers", n=f"{count:,}")
