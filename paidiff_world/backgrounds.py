"""Places to stand: one painter a background, each from a few random parameters.

A painter gets a `Canvas` and a RandomState, paints with soft-edged masks (no jagged lines at any size) and
returns the height of the ground, as a fraction of the picture from the top; nothing where things float.
"""

from functools import partial

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
        balls = ((-1, 0.1, 0.55), (0, -0.2, 0.8), (1, 0.1, 0.55))
        d = [np.sqrt((self.x - cx - dx * r) ** 2 + (self.y - cy - dy * r) ** 2) - k * r for dx, dy, k in balls]
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
    c.cloud(rs.uniform(0.15, 0.85), rs.uniform(0.12, 0.25), rs.uniform(0.08, 0.12))
    ground = rs.uniform(0.56, 0.66)
    c.below(waves(c, rs, ground - 0.06, 0.03), jitter(rs, (140, 205, 110)))
    c.below(waves(c, rs, ground, 0.02), jitter(rs, (104, 184, 78)))
    return ground


def snow(c, rs):
    c.gradient(jitter(rs, (168, 196, 224)), jitter(rs, (222, 234, 244)), 0, 0.6)
    ground = rs.uniform(0.56, 0.66)
    c.below(waves(c, rs, ground - 0.05, 0.03), (226, 236, 246))
    c.below(waves(c, rs, ground, 0.02), (246, 250, 254))
    for x, y, r in rs.uniform((0, 0, 0.006), (1, 0.9, 0.013), (14, 3)):
        c.disc(x, y, r, (255, 255, 255))
    return ground


def beach(c, rs):
    c.gradient(jitter(rs, (96, 180, 244)), jitter(rs, (206, 234, 250)), 0, 0.5)
    sea = rs.uniform(0.42, 0.5)
    c.below(sea, jitter(rs, (44, 146, 200)))
    c.below(waves(c, rs, sea + 0.13, 0.015), (236, 248, 250))
    c.below(waves(c, rs, sea + 0.155, 0.015), jitter(rs, (244, 218, 160)))
    return sea + 0.17


def seabed(c, rs):
    c.gradient(jitter(rs, (64, 176, 222)), jitter(rs, (14, 74, 146)))
    for x in rs.uniform(0.05, 0.95, 4):
        sway = x + 0.02 * np.sin(c.y * 18 + rs.rand() * 6)
        top = rs.uniform(0.62, 0.8)
        c.paint(c.soft(np.maximum(abs(c.x - sway) - 0.014, top - c.y)), (40, 140, 96))
    c.below(waves(c, rs, 0.9, 0.02), jitter(rs, (222, 198, 140)))
    for x, y, r in rs.uniform((0.05, 0.05, 0.012), (0.95, 0.7, 0.026), (6, 3)):
        c.disc(x, y, r, (186, 232, 248), opacity=0.7)


def sky(c, rs):
    c.gradient(jitter(rs, (70, 150, 236)), jitter(rs, (190, 226, 250)))
    for i in range(4):
        c.cloud(rs.uniform(0.05, 0.95), 0.14 + 0.22 * i + rs.uniform(-0.05, 0.05), rs.uniform(0.08, 0.15))


def stars(c, rs):
    c.gradient(jitter(rs, (14, 16, 52), 5), jitter(rs, (54, 48, 112), 5))
    for x, y, r in rs.uniform((0, 0, 0.006), (1, 0.95, 0.013), (26, 3)):
        c.disc(x, y, r, (255, 250, 222))
    c.disc(rs.uniform(0.1, 0.9), rs.uniform(0.1, 0.2), 0.075, (250, 240, 196))


def sunset(c, rs):
    c.gradient(jitter(rs, (112, 64, 124)), jitter(rs, (252, 160, 84)), 0, 0.64)
    ground = rs.uniform(0.62, 0.7)
    c.disc(rs.uniform(0.2, 0.8), ground - rs.uniform(0.02, 0.12), rs.uniform(0.11, 0.15), (255, 222, 120))
    c.below(waves(c, rs, ground, 0.02), jitter(rs, (84, 48, 78)))
    return ground


def mountains(c, rs):
    c.gradient(jitter(rs, (122, 176, 232)), jitter(rs, (224, 238, 248)), 0, 0.6)
    line = jagged(c, rs, 0.62, rs.uniform(0.36, 0.44))
    c.below(line, jitter(rs, (112, 130, 162)))
    cap = line + 0.09 + 0.02 * np.sin(c.x * 40)
    c.paint(c.soft(line - c.y) * c.soft(c.y - np.minimum(cap, 0.42)), (250, 252, 255))
    ground = rs.uniform(0.66, 0.72)
    c.below(waves(c, rs, ground, 0.015), jitter(rs, (150, 176, 150)))
    return ground


def forest(c, rs):
    c.gradient(jitter(rs, (176, 216, 206)), jitter(rs, (212, 234, 212)), 0, 0.6)
    ground = rs.uniform(0.66, 0.72)
    for i, x in enumerate(np.linspace(0, 1, 6) + rs.uniform(-0.06, 0.06, 6)):
        top = rs.uniform(0.08, 0.3)
        green = jitter(rs, ((40, 110, 70), (56, 132, 84))[i % 2])
        c.column(x, 0.03, 0.5, ground + 0.02, (96, 70, 50))
        c.triangle(x, top, ground - 0.05, 0.13, green)
    c.below(waves(c, rs, ground, 0.015), jitter(rs, (84, 142, 76)))
    return ground


def desert(c, rs):
    c.gradient(jitter(rs, (146, 202, 240)), jitter(rs, (250, 232, 196)), 0, 0.6)
    c.disc(rs.uniform(0.1, 0.9), rs.uniform(0.1, 0.2), 0.07, (255, 244, 190))
    ground = rs.uniform(0.56, 0.64)
    c.below(waves(c, rs, ground - 0.04, 0.05), jitter(rs, (238, 196, 122)))
    c.below(waves(c, rs, ground + 0.03, 0.04), jitter(rs, (222, 170, 92)))
    return ground + 0.03


def city(c, rs):
    c.gradient(jitter(rs, (22, 24, 66), 5), jitter(rs, (74, 60, 120), 5), 0, 0.8)
    ground = 0.84
    for x in np.linspace(0.04, 0.96, 7) + rs.uniform(-0.03, 0.03, 7):
        top, width = rs.uniform(0.22, 0.6), rs.uniform(0.11, 0.15)
        c.column(x, width, top, 1, jitter(rs, (38, 42, 84), 6))
        lit = ((np.floor(c.x * 32) + np.floor(c.y * 32) * 2 + rs.randint(3)) % 3 == 0) & (np.floor(c.y * 32) % 2 == 0)
        inside = c.soft(np.maximum(abs(c.x - x) - width / 2 + 0.02, top + 0.04 - c.y))
        c.paint(inside * lit, (252, 216, 120), 0.9)
    c.below(ground, jitter(rs, (52, 52, 72), 5))
    return ground


def sofa(c, rs):
    wall = jitter(rs, (244, 226, 204), 6)
    c.gradient(wall, wall - 10)
    cloth = jitter(rs, ((176, 92, 72), (92, 136, 128), (150, 116, 78))[rs.randint(3)])
    seat = rs.uniform(0.68, 0.74)
    c.column(0.5, 0.86, seat - 0.3, seat + 0.16, cloth * 0.86)
    c.below(seat + 0.2, jitter(rs, (176, 132, 96)))
    c.column(0.5, 0.96, seat, seat + 0.18, cloth)
    for side in (0.07, 0.93):
        c.column(side, 0.13, seat - 0.14, seat + 0.2, cloth * 0.94)
    return seat + 0.03


def lake(c, rs):
    c.gradient(jitter(rs, (150, 200, 236)), jitter(rs, (232, 240, 240)), 0, 0.5)
    c.below(waves(c, rs, 0.42, 0.05, 3), jitter(rs, (126, 164, 160)))
    shore = rs.uniform(0.5, 0.56)
    c.below(shore, jitter(rs, (96, 168, 200)))
    for x, y in rs.uniform((0.1, shore + 0.06), (0.9, 0.96), (7, 2)):
        c.disc(x, y, 0.09, (196, 228, 240), ry=0.008, opacity=0.8)
    return shore + 0.14


def bamboo(c, rs):
    c.gradient(jitter(rs, (214, 238, 206)), jitter(rs, (170, 212, 160)))
    for i, x in enumerate(np.linspace(0.04, 0.96, 8) + rs.uniform(-0.03, 0.03, 8)):
        green = jitter(rs, ((96, 160, 84), (64, 132, 70))[i % 2])
        c.column(x, 0.034, -1, 0.86, green)
        joint = np.mod(c.y + rs.rand() * 0.2, 0.2) < 0.016
        c.paint(c.soft(np.maximum(abs(c.x - x) - 0.02, c.y - 0.84)) * joint, green + 70)
    ground = rs.uniform(0.78, 0.84)
    c.below(waves(c, rs, ground, 0.015), jitter(rs, (120, 160, 84)))
    return ground


def pond(c, rs):
    c.gradient(jitter(rs, (120, 190, 186)), jitter(rs, (70, 140, 150)))
    for x, y, r in rs.uniform((0, 0.1, 0.09), (1, 1, 0.14), (8, 3)):
        c.disc(x, y, r, jitter(rs, (58, 138, 84)), ry=r * 0.45)
        c.disc(x, y - 0.012, r * 0.8, (104, 178, 108), ry=r * 0.3)
    for x, y in rs.uniform((0.05, 0.05), (0.95, 0.35), (3, 2)):
        c.disc(x, y, 0.035, (246, 160, 190), ry=0.045)
        c.disc(x, y, 0.016, (255, 222, 232), ry=0.03)


def flowers(c, rs):
    c.gradient(jitter(rs, (140, 204, 246)), jitter(rs, (228, 242, 250)), 0, 0.5)
    ground = rs.uniform(0.44, 0.52)
    c.below(waves(c, rs, ground, 0.03), jitter(rs, (110, 178, 90)))
    petals = ((246, 110, 140), (252, 206, 70), (250, 250, 250), (176, 116, 214))
    for i in range(34):
        y = ground + 0.05 + (1 - ground) * i / 34
        c.disc(rs.rand(), y, 0.012 + 0.022 * i / 34, petals[rs.randint(4)])
    return ground + 0.15


def rainbow(c, rs):
    c.gradient(jitter(rs, (128, 192, 244)), jitter(rs, (222, 240, 252)))
    d = np.sqrt((c.x - rs.uniform(0.4, 0.6)) ** 2 + (c.y - 0.78) ** 2)
    bands = ((232, 64, 64), (250, 150, 48), (252, 224, 72), (88, 190, 96), (70, 130, 230), (146, 84, 200))
    for i, colour in enumerate(bands):
        c.paint(c.soft(abs(d - 0.62 + 0.035 * i) - 0.018), colour, 0.85)
    ground = rs.uniform(0.68, 0.74)
    c.below(waves(c, rs, ground, 0.02), jitter(rs, (132, 200, 112)))
    return ground


def cliff(c, rs):
    c.gradient(jitter(rs, (150, 200, 236)), jitter(rs, (240, 226, 206)))
    c.below(0.84, jitter(rs, (70, 136, 176)))
    ground = rs.uniform(0.58, 0.64)
    edge = rs.uniform(0.74, 0.84)
    rock = np.maximum(ground - c.y, c.x - edge + (c.y - ground) * 0.35 + 0.02 * np.sin(c.y * 50))
    c.paint(c.soft(rock), jitter(rs, (142, 116, 98)))
    c.paint(c.soft(np.maximum(rock, c.y - ground - 0.05)), jitter(rs, (122, 172, 88)))
    return ground + 0.02


def plain(c, rs, name):
    c.rgb[:] = jitter(rs, PLAIN[name], 6)


PAINTERS = {
    **{"草地": grass, "雪地": snow, "沙滩": beach, "海底": seabed, "天空": sky, "星空": stars},
    **{"落日": sunset, "雪山": mountains, "森林": forest, "沙漠": desert, "城市夜景": city, "沙发": sofa},
    **{"湖面": lake, "竹林": bamboo, "荷塘": pond, "花海": flowers, "彩虹": rainbow, "悬崖": cliff},
    **{name: partial(plain, name=name) for name in PLAIN},
}
