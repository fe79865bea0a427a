"""Draw the world's sprites once, a sheet an artist, into paidiff_world/assets.

noto.png: from Noto Color Emoji (Debian: fonts-noto-color-emoji). The two others, with --packages FOLDER, from
npm pack @lobehub/fluent-emoji-3d@1.1.0 @twemoji/svg@15.0.0     (unpacked into FOLDER/fluent and FOLDER/twemoji)
pip install cairosvg                                            (Debian's libcairo2 draws the SVGs)
"""

import argparse
import io
from functools import partial
from pathlib import Path

from make_dishes import DISHES, dish
from PIL import Image, ImageDraw, ImageFont

from paidiff_world.words import EMOJI

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
ASSETS = Path(__file__).parents[1] / "paidiff_world/assets"
TILE, COLUMNS = 128, 12
# Kept out of pre-training, for the lessons: the kitten (Textual Inversion) and two toys (DreamBooth).
KEPT_OUT = {"小奶猫": "🐱", "玩具熊": "🧸", "套娃": "🪆"}


def noto(character, font):
    drawn = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(drawn).text((12, 12), character, font=font, embedded_color=True)
    return fitted(drawn)


def code(character):
    return "-".join(f"{ord(c):04x}" for c in character.replace("\ufe0f", ""))


def fluent(character, folder):
    found = [path for end in ("", "-fe0f") if (path := folder / f"assets/{code(character)}{end}.webp").exists()]
    return fitted(Image.open(found[0]).convert("RGBA"))


def twemoji(character, folder):
    import cairosvg

    drawn = cairosvg.svg2png(url=str(folder / f"{code(character)}.svg"), output_width=256, output_height=256)
    return fitted(Image.open(io.BytesIO(drawn)).convert("RGBA"))


def fitted(drawn):
    """A picture, cropped to its ink and fitted into a TILE x TILE square, standing on its lower edge."""
    drawn = drawn.crop(drawn.getbbox())
    scale = TILE / max(drawn.size)
    drawn = drawn.resize((round(drawn.width * scale), round(drawn.height * scale)), Image.LANCZOS)
    tile = Image.new("RGBA", (TILE, TILE))
    tile.paste(drawn, ((TILE - drawn.width) // 2, TILE - drawn.height))
    return tile


def save(name, tiles):
    atlas = Image.new("RGBA", (COLUMNS * TILE, -(-len(tiles) // COLUMNS) * TILE))
    for i, tile in enumerate(tiles):
        atlas.paste(tile, (i % COLUMNS * TILE, i // COLUMNS * TILE))
    atlas.save(ASSETS / f"{name}.png", optimize=True)
    print(f"{len(tiles)} sprites -> {name}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--font", default=FONT, help="Noto Color Emoji")
    parser.add_argument("--packages", type=Path, help="the folder with the two others' packages")
    args = parser.parse_args()
    if args.packages:
        for artist in (fluent, twemoji):
            folder = args.packages / artist.__name__ / "package"
            save(artist.__name__, [artist(character, folder) for character in EMOJI.values()])
    emoji = partial(noto, font=ImageFont.truetype(args.font, 109))
    characters = [*EMOJI.values(), *KEPT_OUT.values()]
    save("noto", [emoji(c) for c in characters] + [fitted(dish(name, emoji)) for name in DISHES])


if __name__ == "__main__":
    main()
