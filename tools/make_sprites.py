"""Draw the world's sprites once from Noto Color Emoji (Debian: fonts-noto-color-emoji) into paidiff_world/assets/sprites.png."""

import sys
from functools import partial
from pathlib import Path

from make_dishes import DISHES, dish
from PIL import Image, ImageDraw, ImageFont

from paidiff_world.words import EMOJI

FONT = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
TILE, COLUMNS = 128, 12
# Kept out of pre-training, for the lessons: the kitten (Textual Inversion) and two toys (DreamBooth).
KEPT_OUT = {"小奶猫": "🐱", "玩具熊": "🧸", "套娃": "🪆"}


def sprite(character, font):
    """One emoji, fitted into a tile."""
    drawn = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(drawn).text((12, 12), character, font=font, embedded_color=True)
    return fitted(drawn)


def fitted(drawn):
    """A picture, cropped to its ink and fitted into a TILE x TILE square, standing on its lower edge."""
    drawn = drawn.crop(drawn.getbbox())
    scale = TILE / max(drawn.size)
    drawn = drawn.resize((round(drawn.width * scale), round(drawn.height * scale)), Image.LANCZOS)
    tile = Image.new("RGBA", (TILE, TILE))
    tile.paste(drawn, ((TILE - drawn.width) // 2, TILE - drawn.height))
    return tile


def main():
    font = ImageFont.truetype(FONT, 109)
    characters = [*EMOJI.values(), *KEPT_OUT.values()]
    emoji = partial(sprite, font=font)
    tiles = [emoji(c) for c in characters] + [fitted(dish(name, emoji)) for name in DISHES]
    rows = -(-len(tiles) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * TILE, rows * TILE))
    for i, tile in enumerate(tiles):
        atlas.paste(tile, (i % COLUMNS * TILE, i // COLUMNS * TILE))
    out = Path(__file__).parents[1] / "paidiff_world/assets/sprites.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    atlas.save(out, optimize=True)
    print(f"{len(tiles)} sprites -> {out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
