"""The repository's public address stands here, and this command writes it wherever it is needed.

    python tools/set_address.py https://github.com/OWNER/paidiff

It goes into the first cells of the lessons (badges; where a DSW or Colab machine fetches the course) and into the READMEs. Empty
while it is not known: no dead links.
"""

import re
import sys
from pathlib import Path

import nbformat

ADDRESS = ""

ROOT = Path(__file__).resolve().parents[1]
DSW = "https://gallery.pai-ml.com/#/import/"
COLAB = "https://colab.research.google.com/github/"
MODELSCOPE = "https://modelscope.cn/my/mynotebook/preset"  # opens nothing by a link: a lesson is uploaded there
UPLOAD = {"zh": "上传到 ModelScope 的 Notebook", "en": "Upload to a ModelScope notebook"}
BADGES = "<!-- badges -->"


def badges(address, name, lang="zh"):
    """The line of links below a lesson's title: empty without an address; Colab opens what lies on GitHub only."""
    file = f"{address}/blob/main/notebooks/{'en/' if lang == 'en' else ''}{name}.ipynb"
    open_in = {"zh": "在 {} 打开", "en": "Open in {}"}[lang]
    links = [f"[{open_in.format('DSW')}]({DSW}{file})"] if address else []
    if address.startswith("https://github.com/"):
        links.append(f"[{open_in.format('Colab')}]({COLAB}{file.removeprefix('https://github.com/')})")
    if address:
        links.append(f"[{UPLOAD[lang]}]({MODELSCOPE})")
    return f"{' · '.join(links)} {BADGES}".strip()  # a line that begins with a comment is no Markdown


def with_address(code, address):
    """The boot cell's code with the address in its place."""
    return re.sub(r'^ADDRESS = ".*"', f'ADDRESS = "{address}"', code, flags=re.M)


def notebook(path, address):
    """Write the address into one lesson: its badges and its boot cell."""
    book = nbformat.read(path, as_version=4)
    title, lang = book.cells[0], "en" if path.parent.name == "en" else "zh"
    line = badges(address, path.stem, lang)
    title.source = re.sub(f"^.*{BADGES}$", line.replace("\\", r"\\"), title.source, flags=re.M)
    boot = next(cell for cell in book.cells if cell.cell_type == "code")
    boot.source = with_address(boot.source, address)
    nbformat.write(book, path)


def main(address, root=ROOT):
    address = address.removesuffix("/").removesuffix(".git")
    if not re.fullmatch(r"https://[\w./-]+", address):
        raise SystemExit(f"要一个 https:// 地址 · an https:// address is needed: {address}")
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        notebook(path, address)
    for path in (root / "README.md", root / "README.zh-CN.md"):
        text = re.sub(
            r"^git clone \S.* paidiff && cd paidiff",
            f"git clone {address} paidiff && cd paidiff",
            path.read_text(encoding="utf-8"),
            flags=re.M,
        )
        path.write_text(text, encoding="utf-8")
    here = root / "tools/set_address.py"
    here.write_text(
        re.sub(r'^ADDRESS = ".*"', f'ADDRESS = "{address}"', here.read_text(encoding="utf-8"), flags=re.M),
        encoding="utf-8",
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
