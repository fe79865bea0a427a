"""The six dishes of the food lesson, composed from Noto Color Emoji and drawn shapes. Used by make_sprites.py."""

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

SIDE = 512  # drawn large, scaled down by the caller


def canvas():
    return Image.new("RGBA", (SIDE, SIDE))


def oval(picture, x, y, rx, ry, fill, outline=None, width=6):
    """An ellipse around (x, y), in 0..1 of the side."""
    box = [round(v * SIDE) for v in (x - rx, y - ry, x + rx, y + ry)]
    ImageDraw.Draw(picture).ellipse(box, fill, outline, width)


def plate(rim=(250, 250, 248), well=(232, 236, 240)):
    picture = canvas()
    oval(picture, 0.5, 0.64, 0.49, 0.33, (150, 150, 160))
    oval(picture, 0.5, 0.62, 0.49, 0.33, rim, (176, 182, 196))
    oval(picture, 0.5, 0.62, 0.38, 0.245, well)
    return picture


def bowl(outside, soup):
    picture = canvas()
    draw = ImageDraw.Draw(picture)
    draw.pieslice([0.03 * SIDE, 0.02 * SIDE, 0.97 * SIDE, 0.97 * SIDE], 0, 180, outside)
    draw.rectangle([0.34 * SIDE, 0.9 * SIDE, 0.66 * SIDE, 0.99 * SIDE], outside)
    oval(picture, 0.5, 0.5, 0.485, 0.2, (250, 248, 240), (120, 90, 70))
    oval(picture, 0.5, 0.5, 0.43, 0.165, soup)
    return picture


def lay(picture, emoji, x, y, side, turn=0, colour=1.0):
    """An emoji, `side` of the picture wide, its middle at (x, y)."""
    stamp = emoji.resize((round(side * SIDE),) * 2, Image.LANCZOS).rotate(turn, Image.BICUBIC, expand=True)
    stamp = ImageEnhance.Color(stamp).enhance(colour)
    picture.alpha_composite(stamp, (round(x * SIDE - stamp.width / 2), round(y * SIDE - stamp.height / 2)))


def sprinkle(picture, rs, colours, count, x, y, rx, ry, size):
    """Small ovals of random colours inside an ellipse."""
    for _ in range(count):
        far, turn = rs.rand() ** 0.5, rs.rand() * 2 * np.pi
        w, h = size * rs.uniform(0.7, 1.3), size * rs.uniform(0.4, 0.9)
        oval(picture, x + rx * far * np.cos(turn), y + ry * far * np.sin(turn), w, h, colours[rs.randint(len(colours))])


def pineapple_rice(emoji, rs):
    picture = canvas()
    lay(picture, emoji("🍍"), 0.5, 0.58, 0.86, turn=-70)
    oval(picture, 0.47, 0.62, 0.33, 0.2, (236, 178, 60), (150, 96, 30))
    sprinkle(picture, rs, [(255, 236, 150), (252, 222, 110), (255, 246, 190)], 260, 0.47, 0.58, 0.28, 0.17, 0.022)
    sprinkle(picture, rs, [(96, 176, 74), (232, 96, 60), (246, 160, 170)], 42, 0.47, 0.57, 0.25, 0.14, 0.026)
    return picture


def dumplings(emoji, rs):
    picture = plate(well=(206, 224, 206))
    for x, y in ((0.28, 0.52), (0.72, 0.52), (0.5, 0.46), (0.34, 0.68), (0.66, 0.68)):
        lay(picture, emoji("🥟"), x, y, 0.36)
    sprinkle(picture, rs, [(44, 140, 60), (80, 170, 76)], 26, 0.5, 0.6, 0.36, 0.2, 0.02)
    return picture


def tomato_egg(emoji, rs):
    picture = plate()
    sprinkle(picture, rs, [(250, 208, 60), (255, 224, 104), (244, 190, 44)], 44, 0.5, 0.58, 0.3, 0.18, 0.075)
    sprinkle(picture, rs, [(222, 50, 38), (236, 78, 52)], 20, 0.5, 0.57, 0.28, 0.17, 0.07)
    sprinkle(picture, rs, [(250, 214, 80)], 12, 0.5, 0.56, 0.26, 0.15, 0.05)
    sprinkle(picture, rs, [(60, 150, 64)], 26, 0.5, 0.56, 0.28, 0.16, 0.016)
    return picture


def fried_chicken(emoji, rs):
    picture = plate(rim=(60, 58, 64), well=(40, 38, 44))
    for x, y, turn in ((0.3, 0.52, 30), (0.7, 0.5, -40), (0.5, 0.62, 0), (0.5, 0.4, 80)):
        lay(picture, emoji("🍗"), x, y, 0.46, turn)
    red = Image.new("RGBA", picture.size, (214, 40, 20, 0))
    brown = np.asarray(picture).astype(int)
    meat = (brown[..., 3] > 0) & (brown[..., 0] > brown[..., 2] + 50)
    red.putalpha(Image.fromarray((meat * 120).astype(np.uint8)))
    picture.alpha_composite(red)
    sprinkle(picture, rs, [(255, 246, 214)], 50, 0.5, 0.52, 0.3, 0.2, 0.011)
    return picture


def lion_heads(emoji, rs):
    picture = bowl((168, 40, 36), (112, 52, 24))
    for x in (0.12, 0.3, 0.7, 0.88):
        lay(picture, emoji("🥬"), x, 0.46, 0.24, turn=90 * (x > 0.5) - 45)
    for x, y in ((0.31, 0.42), (0.69, 0.42), (0.5, 0.35)):
        oval(picture, x, y, 0.17, 0.165, (122, 62, 28), (84, 40, 18))
        oval(picture, x - 0.05, y - 0.06, 0.06, 0.045, (196, 124, 68))
        sprinkle(picture, rs, [(92, 44, 20), (150, 84, 42)], 22, x, y, 0.14, 0.13, 0.016)
    return picture


def baby_cabbage(emoji, rs):
    picture = bowl((92, 140, 178), (246, 238, 190))
    for x, turn in ((0.3, 70), (0.5, 0), (0.7, -70)):
        pale = ImageEnhance.Brightness(emoji("🥬")).enhance(1.25)
        lay(picture, pale, x, 0.42, 0.38, turn, colour=0.7)
    sprinkle(picture, rs, [(214, 60, 44)], 9, 0.5, 0.5, 0.36, 0.1, 0.02)
    return picture


DISHES = {
    "菠萝炒饭": pineapple_rice,
    "韭菜鸡蛋水饺": dumplings,
    "番茄炒蛋": tomato_egg,
    "韩式炸鸡": fried_chicken,
    "红烧狮子头": lion_heads,
    "清汤娃娃菜": baby_cabbage,
}


def dish(name, emoji):
    """One dish, RGBA; `emoji` turns a character into its picture."""
    return DISHES[name](emoji, np.random.RandomState(1))
