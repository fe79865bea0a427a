"""Make paidiff_lib/assets/fonts/NotoSansSC-Regular-subset.otf from an installed Noto Sans CJK collection.

    python tools/make_font.py PATH/TO/NotoSansCJK-Regular.ttc

Nobody needs to run this to use the project: the result is in the repository.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection

TARGET = Path(__file__).resolve().parents[1] / "paidiff_lib/assets/fonts/NotoSansSC-Regular-subset.otf"
FAMILY = "Noto Sans SC Subset"  # a name of its own, so that it is never taken for an installed full Noto
SYMBOLS = "·×÷±°′″‰→←↑↓↔⇒•●○■□▲△▼▽◆◇★☆✓≈≠≤≥∞√∑πσμαβλΔΣ①②③④⑤⑥⑦⑧⑨⑩…—–‘’“”¥€£©®™§¶²³½¼¾"

ALIKE = {"✔": "✓", "✗": "×", "✘": "×"}  # signs that Noto lacks, drawn with the nearest one it has


def gb2312():
    """Every character of GB 2312: 6,763 hanzi, and its punctuation, letters and signs."""
    rows = range(0xA1, 0xF8)
    cells = range(0xA1, 0xFF)
    pairs = (bytes([row, cell]) for row in rows for cell in cells)
    return {char for pair in pairs for char in pair.decode("gb2312", errors="ignore")}


def simplified_face(collection):
    """The Simplified Chinese face of a .ttc, found by name: its position differs between releases."""
    for font in TTCollection(collection).fonts:
        if font["name"].getDebugName(4) == "Noto Sans CJK SC":
            return font
    raise SystemExit(f"no Noto Sans CJK SC in {collection}")


def rename(font):
    """Say in the name table that this is a subset; copyright and licence lines stay as they are."""
    new = {1: FAMILY, 3: f"{FAMILY} 2.004", 4: f"{FAMILY} Regular", 6: "NotoSansSCSubset-Regular"}
    for record in list(font["name"].names):
        if record.nameID in new:
            font["name"].setName(new[record.nameID], record.nameID, record.platformID, record.platEncID, record.langID)
    cff = font["CFF "].cff
    cff.fontNames[0] = new[6]
    cff.topDictIndex[0].FullName, cff.topDictIndex[0].FamilyName = new[4], FAMILY


def main(collection):
    font = simplified_face(collection)
    options = subset.Options(
        layout_features=["kern"],  # labels need no vertical forms and no variants
        name_IDs=[0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 14],
        notdef_outline=True,
        hinting=False,
    )
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="".join(sorted(gb2312() | set(map(chr, range(0x20, 0x7F))) | set(SYMBOLS))))
    subsetter.subset(font)
    rename(font)
    for table in font["cmap"].tables:
        for sign, near in ALIKE.items():
            if ord(near) in getattr(table, "cmap", {}):
                table.cmap[ord(sign)] = table.cmap[ord(near)]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    font.save(TARGET)
    print(f"{TARGET.name}: {len(font.getBestCmap())} characters, {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
