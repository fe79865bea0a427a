"""Draw the world's sprites once from Noto Color Emoji (Debian: fonts-noto-color-emoji) into data/world/sprites.png."""
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from paidiff_lib.world.words import EMOJI

FONT = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
TILE, COLUMNS = 128, 12
# Kept out of pre-training, for the lessons: the kitten (Textual Inversion) and two toys (DreamBooth).
KEPT_OUT = {"小奶猫": "🐱", "玩具熊": "🧸", "套娃": "🪆"}


def sprite(character, font):
    """One emoji, cropped to its ink and fitted into a TILE x TILE square, standing on its lower edge."""
    drawn = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(drawn).text((12, 12), character, font=font, embedded_color=True)
    drawn = drawn.crop(drawn.getbbox())
    scale = TILE / max(drawn.size)
    drawn = drawn.resize((round(drawn.width * scale), round(drawn.height * scale)), Image.LANCZOS)
    tile = Image.new("RGBA", (TILE, TILE))
    tile.paste(drawn, ((TILE - drawn.width) // 2, TILE - drawn.height))
    return tile


def main():
    font = ImageFont.truetype(FONT, 109)
    characters = [*EMOJI.values(), *KEPT_OUT.values()]
    rows = -(-len(characters) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * TILE, rows * TILE))
    for i, character in enumerate(characters):
        atlas.paste(sprite(character, font), (i % COLUMNS * TILE, i // COLUMNS * TILE))
    out = Path(__file__).parents[1] / "data/world/sprites.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    atlas.save(out, optimize=True)
    print(f"{len(characters)} sprites -> {out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
