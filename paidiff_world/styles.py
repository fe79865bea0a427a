"""Styles and flaws: each turns an RGB picture (size, size, 3), float 0..255, into another.

Every style gets the subjects' mask (size, size), 0..1, and a RandomState; flaws get no mask.
"""

import numpy as np
from PIL import Image, ImageFilter


def to_image(values):
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def filtered(rgb, image_filter):
    return np.asarray(to_image(rgb).filter(image_filter), np.float32)


def blurred(rgb, radius):
    return filtered(rgb, ImageFilter.GaussianBlur(radius))


PALETTE = 3  # steps from none of a colour to all of it, in 像素画


def luminance(rgb):
    return rgb @ np.array([0.299, 0.587, 0.114], np.float32)


def mix(a, b, t):
    """Colour a where t is 0, b where t is 1."""
    return np.asarray(a, np.float32) + (np.asarray(b, np.float32) - np.asarray(a, np.float32)) * t[..., None]


def edges(grey):
    """Gradient length of a picture (size, size), about 0..1."""
    dy, dx = np.gradient(grey)
    return np.clip(np.sqrt(dx * dx + dy * dy) / 40, 0, 1)


def blotches(size, rs, cells=5):
    """Smooth random field (size, size) in about -1..1: washes, paper."""
    small = Image.fromarray(rs.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(small.resize((size, size), Image.BICUBIC))


def silhouette(mask):
    """A mask (size, size), 0..1, as a picture in white on black."""
    return np.repeat(mask[..., None] * 255, 3, 2)


def inset(size):
    """How far each pixel is from the nearest side of a picture, as a fraction of it: (size, size)."""
    t = (np.arange(size) + 0.5) / size
    return np.minimum(np.minimum(t, 1 - t)[:, None], np.minimum(t, 1 - t)[None, :])


def wash(rgb, mask, share):
    """The hue of the place without its light: tinted paper, so that 红色背景 shows in a style that has one ink."""
    return (rgb - luminance(rgb)[..., None]) * (share * (1 - mask))[..., None]


def flat(rgb, mask, rs):
    return rgb


def ink(rgb, mask, rs):
    grey = luminance(blurred(rgb, len(rgb) / 128 * 0.8))
    depth = np.clip(1 - grey / 255, 0, 1) ** 1.2 * (0.55 + 0.45 * mask)
    tone = np.clip(depth + 0.45 * edges(grey) * (0.4 + mask) + 0.05 * blotches(len(rgb), rs), 0, 1)
    return mix((240, 236, 222), (30, 32, 38), tone) + wash(rgb, mask, 0.4)


def oil(rgb, mask, rs):
    """Thick, rich colours in waves of a broad brush: strokes finer than a latent cell would not outlive an autoencoder."""
    n = len(rgb)
    thick = filtered(rgb, ImageFilter.ModeFilter(n // 128 * 4 + 1))
    grey = luminance(thick)
    y, x = np.mgrid[0:n, 0:n] / n
    strokes = np.sin((y + 0.04 * np.sin(x * 2 * np.pi * 2)) * 2 * np.pi * 8)
    strokes = strokes * (0.6 + 0.4 * np.sin(x * 2 * np.pi * 3 + 1))
    rich = grey[..., None] + (thick - grey[..., None]) * 1.3
    return (rich - 128) * 1.1 + 122 + (22 - 8 * mask * strokes.clip(0, 1))[..., None] * strokes[..., None]


def watercolour(rgb, mask, rs):
    soft = blurred(rgb, len(rgb) / 128 * 0.8)
    pale = mix(soft, (255, 255, 252), 0.34 + 0.16 * blotches(len(rgb), rs) - 0.12 * mask)
    pale -= 60 * edges(luminance(soft))[..., None]
    border = inset(len(rgb)) + 0.03 * blotches(len(rgb), rs, 7)
    return mix((254, 253, 249), pale, np.clip(border * 16, 0, 1))


def papercut(rgb, mask, rs):
    """Layers of paper: a pale one behind, red in front with a cream rim, its light parts cut out."""
    grey = luminance(blurred(rgb, len(rgb) / 128 * 0.5))
    inside = mask > 0.5
    dark, light = np.percentile(grey, (10, 90))
    behind = mix((252, 240, 220), (240, 168, 146), np.clip((light - grey) / max(light - dark, 24), 0, 1) * 0.8)
    rim = luminance(filtered(silhouette(mask), ImageFilter.MaxFilter(max(len(rgb) // 128, 1) * 4 + 1))) / 255
    middle = np.percentile(grey[inside], 62) if inside.any() else 128
    cut = np.clip((grey - min(middle + 14, 225)) / 40, 0, 1)
    front = mix((200, 30, 36), (252, 240, 220), cut)
    return mix(mix(behind + wash(rgb, mask, 0.5), (252, 240, 220), rim), front, mask)


def pixels(rgb, mask, rs):
    """Squares of 4 pixels in the few loud colours of an old console, a black outline round its sprites."""
    n = len(rgb)
    small, inside = (np.asarray(to_image(v).resize((32, 32), Image.BOX), np.float32) for v in (rgb, mask * 255))
    grey = luminance(small)[..., None]
    loud = np.clip((grey + (small - grey) * 1.4 - 128) * 1.25 + 128, 0, 255)
    steps = np.rint(loud / 255 * PALETTE) * 255 / PALETTE
    body = Image.fromarray(((inside > 100) * 255).astype(np.uint8))
    outline = (np.asarray(body.filter(ImageFilter.MaxFilter(3))) > 0) & (np.asarray(body) == 0)
    steps[outline] = 16
    return np.asarray(Image.fromarray(steps.astype(np.uint8)).resize((n, n), Image.NEAREST), np.float32)


def pencil(rgb, mask, rs):
    """Soft grey shading and a dark outline on white paper; a place is only hinted at."""
    grey = luminance(rgb)
    shade = np.clip(1 - grey / 250, 0, 1) * (0.18 + 0.5 * mask)
    tone = np.clip(shade + 0.55 * edges(mask * 160.0) + 0.35 * edges(grey) * (0.4 + 0.6 * mask), 0, 1)
    return mix((250, 249, 246), (52, 52, 56), tone) + wash(rgb, mask, 0.35)


def cyberpunk(rgb, mask, rs):
    grey = luminance(rgb) / 255
    night = mix((18, 8, 48), (226, 48, 170), np.clip(grey * 1.25, 0, 1) ** 1.3)
    body = mix((30, 10, 70), (90, 240, 250), np.clip(grey * 1.15, 0, 1))
    out = mix(night, body, mask * 0.85)
    rim = edges(mask * 255.0)
    glow = blurred(silhouette(rim), len(rgb) / 128 * 2) / 255
    return out + glow * (250, 60, 210) * 0.6 + rim[..., None] * (40, 110, 60)


def relief(rgb, mask, rs):
    unit = len(rgb) / 128
    grey = luminance(blurred(rgb, unit * 0.7))
    height = grey * 0.7 + luminance(blurred(silhouette(mask), unit * 1.5)) * 0.8
    step = max(1, round(unit * 2))
    lit = height - np.roll(height, (-step, -step), (0, 1))
    lit[-step:], lit[:, -step:] = 0, 0
    stone = np.clip(84 + 0.5 * grey + 0.8 * lit, 24, 250)[..., None] * np.array((1.0, 0.96, 0.90), np.float32)
    return stone + wash(rgb, mask, 0.4)


def storybook(rgb, mask, rs):
    grey = luminance(rgb)[..., None]
    pastel = mix(grey + (rgb - grey) * 0.8, (255, 240, 214), np.full(mask.shape, 0.30, np.float32))
    line = edges(mask * 110.0)
    pastel = mix(pastel, (116, 76, 60), line)
    n = len(rgb)
    t = np.abs((np.arange(n) + 0.5) / n * 2 - 1)
    far = np.sqrt(t[:, None] ** 2 + t[None, :] ** 2)
    return mix(pastel, (255, 250, 240), np.clip((far - 0.95) * 4, 0, 1))


def porcelain(rgb, mask, rs):
    """A painted tile: cobalt blue under a white glaze, inside a double line."""
    n = len(rgb)
    soft = luminance(blurred(rgb, n / 128 * 0.6))
    tone = np.clip(1.15 - soft / 255, 0, 1) * (0.22 + 0.68 * mask) + 0.6 * edges(mask * 160.0)
    border = inset(n)
    for middle, width in ((0.018, 0.009), (0.045, 0.005)):
        tone = np.maximum(tone, np.clip(1.6 - np.abs(border - middle) / width, 0, 1))
    return mix((247, 249, 252), (18, 46, 142), np.clip(tone + 0.04 * blotches(n, rs), 0, 1))


PAINTERS = {
    **{"扁平": flat, "水墨画": ink, "油画": oil, "水彩画": watercolour, "剪纸": papercut, "像素画": pixels},
    **{"素描": pencil, "赛博朋克": cyberpunk, "浮雕": relief, "童话绘本": storybook, "青花瓷": porcelain},
}


def out_of_focus(rgb, rs):
    return blurred(rgb, len(rgb) / 128 * rs.uniform(2.2, 3.2))


def noise(rgb, rs):
    """Coloured specks on a 32 x 32 grid: coarse enough for a latent of one cell to 8 x 8 pixels to hold."""
    specks = (rs.rand(32, 32) < 0.2)[..., None] * rs.uniform(-110, 110, (32, 32, 3))
    cell = len(rgb) / 32
    index = (np.arange(len(rgb)) / cell).astype(int)
    return rgb + specks[index][:, index].astype(np.float32)


def watermark(rgb, rs):
    """Two diagonal white bars with gaps, as stock pictures carry them."""
    n = len(rgb)
    y, x = np.mgrid[0:n, 0:n] / n
    across, along = x + y, x - y + 1
    bars = np.clip(1.5 - abs(np.mod(across + rs.rand() * 0.5, 0.5) - 0.25) * 28, 0, 1)
    dashes = np.clip(6 * np.sin(along * 2 * np.pi * 5) + 2, 0, 1)
    return mix(rgb, (255, 255, 255), (bars * dashes * 0.62).astype(np.float32))


def frame(rgb, rs):
    n = len(rgb)
    border = inset(n)
    wood = ((124, 78, 44), (176, 138, 64), (84, 58, 44))[rs.randint(3)]
    width = rs.uniform(0.06, 0.085)
    out = mix(wood, rgb, np.clip((border - width) * n + 0.5, 0, 1))
    bevel = np.clip(1 - abs(border - width * 0.55) * n / 2, 0, 1)
    return out + 50 * bevel[..., None]


FLAWS = {"模糊": out_of_focus, "噪点": noise, "水印": watermark, "画框": frame}
