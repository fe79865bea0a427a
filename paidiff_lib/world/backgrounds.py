"""Places to stand: one painter a background, each from a few random parameters.

A painter gets a `Canvas` and a RandomState, paints with soft-edged masks (no jagged lines at any size) and
returns the height of the ground, as a fraction of the picture from the top, or None where things float.
"""
import numpy as np

from .words import PLAIN


class Canvas:
    """An RGB picture (size, size, 3), float 0..255, with coordinates x, y in 0..1 and soft brushes."""

    def __init__(self, size):
        self.size = size
        axis = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.x, self.y = axis[None, :], axis[:, None]
        self.rgb = np.zeros((size, size, 3), np.float32)

    def gradient(self, top, bottom, start=0.0, end=1.0):
        t = np.clip((self.y - start) / (end - start), 0, 1)[..., None]
        self.rgb[:] = np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t

    def soft(self, distance):
        """Signed distance (in pictures, negative inside) -> mask 0..1 with an edge one pixel wide."""
        return np.clip(0.5 - distance * self.size, 0, 1)

    def paint(self, mask, colour, opacity=1.0):
        mask = np.broadcast_to(mask * opacity, (self.size, self.size))[..., None]
        self.rgb += mask * (np.asarray(colour, np.float32) - self.rgb)

    def disc(self, cx, cy, rx, colour, ry=None, opacity=1.0):
        ry = ry or rx
        d = np.sqrt(((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2) - 1
        self.paint(self.soft(d * min(rx, ry)), colour, opacity)

    def below(self, height, colour, opacity=1.0):
        """Fill under a skyline `height` (a number or one value a column)."""
        self.paint(self.soft(height - self.y), colour, opacity)

    def column(self, cx, width, top, bottom, colour, opacity=1.0):
        d = np.maximum(abs(self.x - cx) - width / 2, np.maximum(top - self.y, self.y - bottom))
        self.paint(self.soft(d), colour, opacity)

    def triangle(self, cx, top, bottom, half, colour):
        slope = (self.y - top) / (bottom - top) * half
        d = np.maximum(abs(self.x - cx) - slope, self.y - bottom)
        self.paint(self.soft(d * 0.8), colour)

    def cloud(self, cx, cy, r, colour=(255, 255, 255), opacity=0.9):
        d = [np.sqrt((self.x - cx - dx * r) ** 2 + (self.y - cy - dy * r) ** 2) - k * r
             for dx, dy, k in ((-1, .1, .55), (0, -.2, .8), (1, .1, .55))]
        d = np.maximum(np.minimum.reduce(d), self.y - cy - 0.4 * r)
        self.paint(self.soft(d), colour, opacity)


def waves(canvas, rs, base, height, octaves=2, frequency=1.0):
    """A rolling skyline around `base`: a sum of sines with random phases."""
    line = np.full_like(canvas.x, base)
    for k in range(octaves):
        line = line + height / (k + 1) * np.sin(2 * np.pi * (canvas.x * frequency * (k + 1) + rs.rand()))
    return line


def jagged(canvas, rs, base, height, peaks=3):
    """A skyline of straight slopes: mountains."""
    xs = np.linspace(-0.1, 1.1, 2 * peaks + 1) + rs.uniform(-0.05, 0.05, 2 * peaks + 1)
    ys = base - height * np.where(np.arange(2 * peaks + 1) % 2, rs.uniform(0.7, 1.0, 2 * peaks + 1), 0.15)
    return np.interp(canvas.x[0], xs, ys).astype(np.float32)[None, :]


def jitter(rs, colour, amount=8):
    return np.asarray(colour, np.float32) + rs.uniform(-amount, amount, 3)


def grass(c, rs):
    c.gradient(jitter(rs, (120, 190, 245)), jitter(rs, (214, 238, 252)), 0, 0.6)
    c.cloud(rs.uniform(.15, .85), rs.uniform(.12, .25), rs.uniform(.08, .12))
    ground = rs.uniform(0.56, 0.66)
    c.below(waves(c, rs, ground - .06, .03), jitter(rs, (140, 205, 110)))
    c.below(waves(c, rs, ground, .02), jitter(rs, (104, 184, 78)))
    return ground


def snow(c, rs):
    c.gradient(jitter(rs, (168, 196, 224)), jitter(rs, (222, 234, 244)), 0, 0.6)
    ground = rs.uniform(0.56, 0.66)
    c.below(waves(c, rs, ground - .05, .03), (226, 236, 246))
    c.below(waves(c, rs, ground, .02), (246, 250, 254))
    for x, y, r in rs.uniform((0, 0, .006), (1, .9, .013), (14, 3)):
        c.disc(x, y, r, (255, 255, 255))
    return ground


def beach(c, rs):
    c.gradient(jitter(rs, (96, 180, 244)), jitter(rs, (206, 234, 250)), 0, 0.5)
    sea = rs.uniform(0.42, 0.5)
    c.below(sea, jitter(rs, (44, 146, 200)))
    c.below(waves(c, rs, sea + .13, .015), (236, 248, 250))
    c.below(waves(c, rs, sea + .155, .015), jitter(rs, (244, 218, 160)))
    return sea + 0.17


def seabed(c, rs):
    c.gradient(jitter(rs, (64, 176, 222)), jitter(rs, (14, 74, 146)))
    for x in rs.uniform(.05, .95, 4):
        sway = x + .02 * np.sin(c.y * 18 + rs.rand() * 6)
        top = rs.uniform(.62, .8)
        c.paint(c.soft(np.maximum(abs(c.x - sway) - .014, top - c.y)), (40, 140, 96))
    c.below(waves(c, rs, .9, .02), jitter(rs, (222, 198, 140)))
    for x, y, r in rs.uniform((.05, .05, .012), (.95, .7, .026), (6, 3)):
        c.disc(x, y, r, (186, 232, 248), opacity=.7)
    return None


def sky(c, rs):
    c.gradient(jitter(rs, (70, 150, 236)), jitter(rs, (190, 226, 250)))
    for i in range(4):
        c.cloud(rs.uniform(.05, .95), .14 + .22 * i + rs.uniform(-.05, .05), rs.uniform(.08, .15))
    return None


def stars(c, rs):
    c.gradient(jitter(rs, (14, 16, 52), 5), jitter(rs, (54, 48, 112), 5))
    for x, y, r in rs.uniform((0, 0, .006), (1, .95, .013), (26, 3)):
        c.disc(x, y, r, (255, 250, 222))
    c.disc(rs.uniform(.1, .9), rs.uniform(.1, .2), .075, (250, 240, 196))
    return None


def sunset(c, rs):
    c.gradient(jitter(rs, (112, 64, 124)), jitter(rs, (252, 160, 84)), 0, 0.64)
    ground = rs.uniform(0.62, 0.7)
    c.disc(rs.uniform(.2, .8), ground - rs.uniform(.02, .12), rs.uniform(.11, .15), (255, 222, 120))
    c.below(waves(c, rs, ground, .02), jitter(rs, (84, 48, 78)))
    return ground


def mountains(c, rs):
    c.gradient(jitter(rs, (122, 176, 232)), jitter(rs, (224, 238, 248)), 0, 0.6)
    line = jagged(c, rs, .62, rs.uniform(.36, .44))
    c.below(line, jitter(rs, (112, 130, 162)))
    cap = line + .09 + .02 * np.sin(c.x * 40)
    c.paint(c.soft(line - c.y) * c.soft(c.y - np.minimum(cap, .42)), (250, 252, 255))
    ground = rs.uniform(.66, .72)
    c.below(waves(c, rs, ground, .015), jitter(rs, (150, 176, 150)))
    return ground


def forest(c, rs):
    c.gradient(jitter(rs, (176, 216, 206)), jitter(rs, (212, 234, 212)), 0, 0.6)
    ground = rs.uniform(.66, .72)
    for i, x in enumerate(np.linspace(0, 1, 6) + rs.uniform(-.06, .06, 6)):
        top = rs.uniform(.08, .3)
        green = jitter(rs, ((40, 110, 70), (56, 132, 84))[i % 2])
        c.column(x, .03, .5, ground + .02, (96, 70, 50))
        c.triangle(x, top, ground - .05, .13, green)
    c.below(waves(c, rs, ground, .015), jitter(rs, (84, 142, 76)))
    return ground


def desert(c, rs):
    c.gradient(jitter(rs, (146, 202, 240)), jitter(rs, (250, 232, 196)), 0, 0.6)
    c.disc(rs.uniform(.1, .9), rs.uniform(.1, .2), .07, (255, 244, 190))
    ground = rs.uniform(.56, .64)
    c.below(waves(c, rs, ground - .04, .05), jitter(rs, (238, 196, 122)))
    c.below(waves(c, rs, ground + .03, .04), jitter(rs, (222, 170, 92)))
    return ground + .03


def city(c, rs):
    c.gradient(jitter(rs, (22, 24, 66), 5), jitter(rs, (74, 60, 120), 5), 0, 0.8)
    ground = .84
    for x in np.linspace(.04, .96, 7) + rs.uniform(-.03, .03, 7):
        top, width = rs.uniform(.22, .6), rs.uniform(.11, .15)
        c.column(x, width, top, 1, jitter(rs, (38, 42, 84), 6))
        lit = ((np.floor(c.x * 32) + np.floor(c.y * 32) * 2 + rs.randint(3)) % 3 == 0) & (np.floor(c.y * 32) % 2 == 0)
        inside = c.soft(np.maximum(abs(c.x - x) - width / 2 + .02, top + .04 - c.y))
        c.paint(inside * lit, (252, 216, 120), .9)
    c.below(ground, jitter(rs, (52, 52, 72), 5))
    return ground


def sofa(c, rs):
    wall = jitter(rs, (244, 226, 204), 6)
    c.gradient(wall, wall - 10)
    cloth = jitter(rs, ((176, 92, 72), (92, 136, 128), (150, 116, 78))[rs.randint(3)])
    seat = rs.uniform(.68, .74)
    c.column(.5, .86, seat - .3, seat + .16, cloth * .86)
    c.below(seat + .2, jitter(rs, (176, 132, 96)))
    c.column(.5, .96, seat, seat + .18, cloth)
    for side in (.07, .93):
        c.column(side, .13, seat - .14, seat + .2, cloth * .94)
    return seat + .03


def lake(c, rs):
    c.gradient(jitter(rs, (150, 200, 236)), jitter(rs, (232, 240, 240)), 0, 0.5)
    c.below(waves(c, rs, .42, .05, 3), jitter(rs, (126, 164, 160)))
    shore = rs.uniform(.5, .56)
    c.below(shore, jitter(rs, (96, 168, 200)))
    for x, y in rs.uniform((.1, shore + .06), (.9, .96), (7, 2)):
        c.disc(x, y, .09, (196, 228, 240), ry=.008, opacity=.8)
    return shore + .14


def bamboo(c, rs):
    c.gradient(jitter(rs, (214, 238, 206)), jitter(rs, (170, 212, 160)))
    for i, x in enumerate(np.linspace(.04, .96, 8) + rs.uniform(-.03, .03, 8)):
        green = jitter(rs, ((96, 160, 84), (64, 132, 70))[i % 2])
        c.column(x, .034, -1, .86, green)
        joint = (np.mod(c.y + rs.rand() * .2, .2) < .016)
        c.paint(c.soft(np.maximum(abs(c.x - x) - .02, c.y - .84)) * joint, green + 70)
    ground = rs.uniform(.78, .84)
    c.below(waves(c, rs, ground, .015), jitter(rs, (120, 160, 84)))
    return ground


def pond(c, rs):
    c.gradient(jitter(rs, (120, 190, 186)), jitter(rs, (70, 140, 150)))
    for x, y, r in rs.uniform((0, .1, .09), (1, 1, .14), (8, 3)):
        c.disc(x, y, r, jitter(rs, (58, 138, 84)), ry=r * .45)
        c.disc(x, y - .012, r * .8, (104, 178, 108), ry=r * .3)
    for x, y in rs.uniform((.05, .05), (.95, .35), (3, 2)):
        c.disc(x, y, .035, (246, 160, 190), ry=.045)
        c.disc(x, y, .016, (255, 222, 232), ry=.03)
    return None


def flowers(c, rs):
    c.gradient(jitter(rs, (140, 204, 246)), jitter(rs, (228, 242, 250)), 0, 0.5)
    ground = rs.uniform(.44, .52)
    c.below(waves(c, rs, ground, .03), jitter(rs, (110, 178, 90)))
    petals = ((246, 110, 140), (252, 206, 70), (250, 250, 250), (176, 116, 214))
    for i in range(34):
        y = ground + .05 + (1 - ground) * i / 34
        c.disc(rs.rand(), y, .012 + .022 * i / 34, petals[rs.randint(4)])
    return ground + .15


def rainbow(c, rs):
    c.gradient(jitter(rs, (128, 192, 244)), jitter(rs, (222, 240, 252)))
    d = np.sqrt((c.x - rs.uniform(.4, .6)) ** 2 + (c.y - .78) ** 2)
    bands = ((232, 64, 64), (250, 150, 48), (252, 224, 72), (88, 190, 96), (70, 130, 230), (146, 84, 200))
    for i, colour in enumerate(bands):
        c.paint(c.soft(abs(d - .62 + .035 * i) - .018), colour, .85)
    ground = rs.uniform(.68, .74)
    c.below(waves(c, rs, ground, .02), jitter(rs, (132, 200, 112)))
    return ground


def cliff(c, rs):
    c.gradient(jitter(rs, (150, 200, 236)), jitter(rs, (240, 226, 206)))
    c.below(.84, jitter(rs, (70, 136, 176)))
    ground = rs.uniform(.58, .64)
    edge = rs.uniform(.74, .84)
    rock = np.maximum(ground - c.y, c.x - edge + (c.y - ground) * .35 + .02 * np.sin(c.y * 50))
    c.paint(c.soft(rock), jitter(rs, (142, 116, 98)))
    c.paint(c.soft(np.maximum(rock, c.y - ground - .05)), jitter(rs, (122, 172, 88)))
    return ground + .02


def plain(name):
    def painter(c, rs):
        c.rgb[:] = jitter(rs, PLAIN[name], 6)
        return None
    return painter


PAINTERS = {"草地": grass, "雪地": snow, "沙滩": beach, "海底": seabed, "天空": sky, "星空": stars, "落日": sunset,
            "雪山": mountains, "森林": forest, "沙漠": desert, "城市夜景": city, "沙发": sofa, "湖面": lake,
            "竹林": bamboo, "荷塘": pond, "花海": flowers, "彩虹": rainbow, "悬崖": cliff,
            **{name: plain(name) for name in PLAIN}}
