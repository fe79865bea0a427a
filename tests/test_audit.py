"""Malformed training data, one kind a case: each gets a verdict of one line, and the good pictures beside it are kept."""

import base64
import hashlib
import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from paidiff_lib import CaptionFolder, LoRA, PaidiffError, audit, train
from paidiff_lib.cleaning.audit import FAULTS, HINTS
from paidiff_lib.cleaning.near_duplicates import NEAR, nearest_before, thumbnail

GOOD = {"好.png": "一只猫", "good 2.jpg": "草地上的狗", "sub/3.webp": "雪地里的企鹅"}


def noise(seed, size=(96, 80)):
    """A picture like no other."""
    small = np.random.RandomState(seed).randint(0, 255, (5, 6, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def raw(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


PICTURE = noise(9, (200, 160))
PNG, JPEG, WEBP, GIF, BMP, TIFF = (raw(PICTURE, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"))
FRAMES = dict(save_all=True, append_images=[noise(8, (200, 160))])


def png_header(width, height, *chunks):
    """A PNG that claims a size and holds next to nothing."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(b"\0" * 99)),
    ]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_bytes(data, at, new):
    return data[:at] + new + data[at + len(new) :]


# name of the file, its bytes, the verdict
FILES = {
    "zero bytes": ("x.png", b"", "empty"),
    "zero bytes of a JPEG": ("x.jpg", b"", "empty"),
    "one byte": ("x.png", b"\x89", "unreadable"),
    "a text": ("x.png", "不是图片".encode(), "unreadable"),
    "a web page": ("x.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "unreadable"),
    "an error message": ("x.webp", b'{"error": "not found"}', "unreadable"),
    "a pointer of Git LFS": (
        "x.png",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "unreadable",
    ),
    "base64": ("x.png", base64.b64encode(PNG), "unreadable"),
    "random bytes": ("x.png", np.random.RandomState(0).bytes(5000), "unreadable"),
    "nothing but zeros": ("x.jpg", b"\0" * 5000, "unreadable"),
    "a signature alone": ("x.png", PNG[:8], "unreadable"),
    "a PNG cut in its header": ("x.png", PNG[:20], "truncated"),
    "a PNG cut in the middle": ("x.png", PNG[: len(PNG) // 2], "truncated"),
    "a JPEG cut in its header": ("x.jpg", JPEG[:100], "truncated"),
    "a JPEG cut in the middle": ("x.jpg", JPEG[: len(JPEG) // 2], "truncated"),
    "a WebP cut in the middle": ("x.webp", WEBP[: len(WEBP) // 2], "unreadable"),
    "a GIF cut in the middle": ("x.gif", GIF[: len(GIF) // 2], "truncated"),
    "a BMP cut in the middle": ("x.bmp", BMP[: len(BMP) // 2], "truncated"),
    "a TIFF cut in the middle": ("x.tif", TIFF[: len(TIFF) // 2], "truncated"),
    "a JPEG without its beginning": ("x.jpg", JPEG[40:], "unreadable"),
    "a PNG with a wrong bit": ("x.png", with_bytes(PNG, len(PNG) // 2, bytes([PNG[len(PNG) // 2] ^ 1])), "unreadable"),
    "a PNG sent as text": ("x.png", PNG.replace(b"\r\n", b"\n"), "unreadable"),
    "a PNG of no width": ("x.png", png_header(0, 9), "unreadable"),
    "a PNG of one line of 99 bytes": ("x.png", png_header(500, 500), "truncated"),
    "a bomb": ("x.png", png_header(30_000, 30_000), "bomb"),
    "a bomb that Pillow only warns of": ("x.png", png_header(10_000, 10_000), "bomb"),
    "a BMP bomb": ("x.bmp", with_bytes(BMP, 18, struct.pack("<ii", 60_000, 60_000)), "bomb"),
    "a GIF bomb": ("x.gif", with_bytes(GIF, 6, struct.pack("<HH", 65_000, 65_000)), "bomb"),
    "a text bomb": ("x.png", png_header(9, 9, (b"zTXt", b"a\0\0" + zlib.compress(b"a" * 10**8))), "unreadable"),
    "a vector drawing": ("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n", "unreadable"),
    "SVG": ("x.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unreadable"),
    "a PDF": ("x.jpg", b"%PDF-1.7\n%%EOF", "unreadable"),
    "an archive": ("x.png", b"PK\x05\x06" + b"\0" * 18, "unreadable"),
    "a Mac's shadow file": ("x.png", b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", "unreadable"),
    # what can be trained on, but should be looked at
    "a PNG named JPEG": ("x.jpg", PNG, "extension"),
    "a JPEG named PNG": ("x.png", JPEG, "extension"),
    "a WebP named GIF": ("x.gif", WEBP, "extension"),
    "an unknown extension": ("x.dat", PNG, "extension"),
    "an animated GIF": ("x.gif", raw(PICTURE, "GIF", **FRAMES), "animated"),
    "an animated PNG": ("x.png", raw(PICTURE, "PNG", **FRAMES), "animated"),
    "an animated WebP": ("x.webp", raw(PICTURE, "WEBP", **FRAMES), "animated"),
    "a TIFF of two pages": ("x.tif", raw(PICTURE, "TIFF", **FRAMES), "animated"),
    "one pixel": ("x.png", raw(Image.new("RGB", (1, 1)), "PNG"), "tiny"),
    "a thumbnail": ("x.png", raw(noise(9, (60, 80)), "PNG"), "tiny"),
    "a banner": ("x.png", raw(noise(9, (700, 80)), "PNG"), "aspect"),
    "a ribbon": ("x.png", raw(noise(9, (80, 700)), "PNG"), "aspect"),
    "the same file again": ("x.png", raw(noise(0), "PNG"), "copy"),
    "the same picture smaller, in a worse JPEG": ("x.jpg", raw(noise(0, (80, 66)), "JPEG", quality=40), "near"),
}

# a line of metadata.jsonl, the verdict; x.png is a good picture
LINES = {
    "a path upwards": ({"file_name": "../secret.png", "text": "猫"}, "leaves"),
    "down and upwards": ({"file_name": "sub/../../secret.png", "text": "猫"}, "leaves"),
    "an absolute path": ({"file_name": "/etc/hostname", "text": "猫"}, "leaves"),
    "a Windows path": ({"file_name": "C:\\secret.png", "text": "猫"}, "leaves"),
    "upwards on Windows": ({"file_name": "..\\secret.png", "text": "猫"}, "leaves"),
    "a Windows share": ({"file_name": "\\\\server\\share\\x.png", "text": "猫"}, "leaves"),
    "a link out": ({"file_name": "link.png", "text": "猫"}, "leaves"),
    "a linked folder": ({"file_name": "linked/secret.png", "text": "猫"}, "leaves"),
    "a broken link": ({"file_name": "broken.png", "text": "猫"}, "missing"),
    "a link in a circle": ({"file_name": "circle.png", "text": "猫"}, "missing"),
    "a folder": ({"file_name": "sub", "text": "猫"}, "missing"),
    "a pipe": ({"file_name": "pipe.png", "text": "猫"}, "missing"),
    "nowhere": ({"file_name": "no.png", "text": "猫"}, "missing"),
    "another case": ({"file_name": "X.PNG", "text": "猫"}, "missing"),
    "no name": ({"file_name": "", "text": "猫"}, "missing"),
    "a dot": ({"file_name": ".", "text": "猫"}, "missing"),
    "a NUL": ({"file_name": "x\0.png", "text": "猫"}, "missing"),
    "a name too long": ({"file_name": "x" * 5000, "text": "猫"}, "missing"),
    "half a character": (b'{"file_name": "x\\ud83d.png", "text": "x"}', "missing"),
    "a new line": ({"file_name": "x\n.png", "text": "猫"}, "missing"),
    "a number for a name": ({"file_name": 7, "text": "猫"}, "leaves"),
    "null for a name": ({"file_name": None, "text": "猫"}, "leaves"),
    "a list for a name": ({"file_name": ["x.png"], "text": "猫"}, "leaves"),
    "no file_name": ({"file": "x.png", "text": "猫"}, "line"),
    "broken JSON": (b'{"file_name": "x.png", "text', "line"),
    "single quotes": (b"{'file_name': 'x.png'}", "line"),
    "a list": ([["x.png", "猫"]], "line"),
    "a word": ("x.png", "line"),
    "a number": (7, "line"),
    "null": (None, "line"),
    "brackets without end": (b"[" * 100_000, "line"),
    "a number without end": (b"9" * 10_000, "line"),
    "listed again": ({"file_name": "好.png", "text": "一只猫"}, "repeat"),
    "listed again, other words": ({"file_name": "./好.png", "text": "另一只猫"}, "repeat"),
    "capital letters": ({"file_name": "GOOD 2.jpg", "text": "猫"}, "collide"),
    "no text": ({"file_name": "x.png"}, "empty_caption"),
    "spaces": ({"file_name": "x.png", "text": " \t"}, "empty_caption"),
    "a Chinese space": ({"file_name": "x.png", "text": "\u3000"}, "empty_caption"),
    "null for a text": ({"file_name": "x.png", "text": None}, "empty_caption"),
    "a number for a text": ({"file_name": "x.png", "text": 7}, "empty_caption"),
    "an empty list for a text": ({"file_name": "x.png", "text": []}, "empty_caption"),
    "a list with a number": ({"file_name": "x.png", "text": ["猫", 7]}, "empty_caption"),
    "a hidden file": ({"file_name": "._好.png", "text": "猫"}, "hidden"),
    "a file in a system folder": ({"file_name": "__MACOSX/好.png", "text": "猫"}, "hidden"),
    "half a character in the text": (b'{"file_name": "x.png", "text": "\\ud83d"}', "encoding"),
    "GBK": ('{"file_name": "x.png", "text": "草地上的猫"}'.encode("gbk"), "encoding"),
    "Latin-1": ('{"file_name": "x.png", "text": "café"}'.encode("latin-1"), "encoding"),
    "a text too long": ({"file_name": "x.png", "text": "一只猫在草地上" * 9}, "long_caption"),
    "unknown characters": ({"file_name": "x.png", "text": "一只😀猫"}, "unknown"),
}


@pytest.fixture
def folder(tmp_path):
    """Three good pictures, and links that lead where they should not."""
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(GOOD):
        noise(i).save(folder / name)
    noise(7).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "broken.png").symlink_to(folder / "nothing.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "__MACOSX").mkdir()
    for name in ("._好.png", "__MACOSX/好.png"):
        noise(6).save(folder / name)
    return folder


def write_manifest(folder, *lines, start=b""):
    """metadata.jsonl with the good pictures and `lines` between them: bytes, or what JSON says of them."""
    good = [json.dumps({"file_name": name, "text": text}, ensure_ascii=False).encode() for name, text in GOOD.items()]
    lines = [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines]
    (folder / "metadata.jsonl").write_bytes(start + b"\n".join([*good[:2], *lines, good[2]]) + b"\n")


def hashes(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def kinds(report):
    """What was found, but for the links and hidden files that `folder` has from the start."""
    return sorted(finding.kind for finding in report.findings if finding.kind != "left_out")


def hints(report):
    return [kind for kind in kinds(report) if kind in HINTS]


def check(folder, kind):
    """The folder's one finding is of that kind; the good pictures are untouched, and usable with it left out."""
    before = hashes(folder)
    report = audit(folder)
    found = [finding for finding in report.findings if finding.kind not in ("bom", "left_out")]
    assert [finding.kind for finding in found] == [kind], [finding.line() for finding in report.findings]
    line = found[0].line()
    assert (
        line.isprintable() and " · " in line and "Traceback" not in line and " at 0x" not in line and len(line) < 6000
    )
    assert found[0].fault == (kind in FAULTS) and report.pictures == len(GOOD) + (
        kind not in ("repeat", "collide") or 1
    )
    data = CaptionFolder(folder, skip_faults=True)
    assert [fault.kind for fault in data.skipped] == [kind] * found[0].fault
    usable = {data.caption(i): data.image(i, 32).size for i in range(len(data))}
    assert set(GOOD.values()) <= set(usable) and len(data) == report.good == len(GOOD) + (not found[0].fault)
    if found[0].fault:
        with pytest.raises(PaidiffError, match="paidiff audit .* skip_faults") as refused:
            data = CaptionFolder(folder)
            [data.image(i, 32) for i in range(len(data))]
        assert "\n" not in str(refused.value)
    assert hashes(folder) == before


@pytest.mark.parametrize("case", FILES)
def test_files(folder, case):
    name, content, kind = FILES[case]
    (folder / name).write_bytes(content)
    write_manifest(folder, {"file_name": name, "text": "猫"})
    check(folder, kind)


@pytest.mark.parametrize("case", LINES)
def test_lines_of_a_manifest(folder, case):
    line, kind = LINES[case]
    PICTURE.save(folder / "x.png")
    noise(5).save(folder / "GOOD 2.jpg")
    write_manifest(folder, line)
    check(folder, kind)


# the text file beside x.png, the verdict
TEXTS = {
    "none": (None, "no_caption"),
    "empty": (b"", "empty_caption"),
    "a mark and nothing else": (b"\xef\xbb\xbf", "empty_caption"),
    "blank lines": (b"\r\n \r\n", "empty_caption"),
    "GBK": ("草地上的猫".encode("gbk"), "encoding"),
    "Big5": ("草地上的貓".encode("big5"), "encoding"),
    "UTF-16": ("草地上的猫".encode("utf-16"), "encoding"),
    "a picture": (PNG, "encoding"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_files(folder, case):
    content, kind = TEXTS[case]
    for name in ("link.png", "broken.png", "circle.png", "pipe.png"):
        (folder / name).unlink()
    for name, text in GOOD.items():
        (folder / name).with_suffix(".txt").write_text(text, encoding="utf-8")
    PICTURE.save(folder / "x.png")
    if content is not None:
        (folder / "x.txt").write_bytes(content)
    check(folder, kind)


def test_a_text_file_that_is_a_link_out_or_a_folder(folder, tmp_path):
    (tmp_path / "secret.txt").write_text("猫")
    (folder / "好.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "good 2.txt").mkdir()
    (folder / "sub/3.txt").write_text("猫")
    kinds = {finding.where: finding.kind for finding in audit(folder).faults}
    listed = {"好.txt": "leaves", "good 2.jpg": "no_caption", "link.png": "leaves"}
    assert kinds == listed | {name: "missing" for name in ("broken.png", "circle.png", "pipe.png")}


# a line of a TSV, the verdict
CODED = base64.b64encode(PNG)
ROWS = {
    "two columns": (b"9\tx", "line"),
    "four columns": (b"9\tx\ty\t" + CODED, "line"),
    "no base64": (b"9\tx\t%%%%", "unreadable"),
    "base64 cut short": (b"9\tx\t" + CODED[:-5], "unreadable"),
    "base64 of a cut picture": (b"9\tx\t" + CODED[:4000], "truncated"),
    "base64 of a text": (b"9\tx\t" + base64.b64encode(b"no picture"), "unreadable"),
    "no picture": (b"9\tx\t", "empty"),
    "no text": (b"9\t \t" + CODED, "empty_caption"),
    "GBK": (b"9\t" + "草地上的猫".encode("gbk") + b"\t" + CODED, "encoding"),
}


@pytest.mark.parametrize("case", ROWS)
def test_lines_of_a_tsv(folder, case):
    row, kind = ROWS[case]
    good = [
        b"%d\t%s\t%s" % (i, text.encode(), base64.b64encode(raw(noise(i), "PNG")))
        for i, text in enumerate(GOOD.values())
    ]
    (folder / "train.tsv").write_bytes(b"\n".join([*good[:2], row, good[2]]))
    check(folder, kind)


def test_names_that_differ_in_their_unicode_form(folder):
    for name in ("caf\u00e9.png", "cafe\u0301.png"):
        noise(len(name)).save(folder / name)
    write_manifest(folder, *({"file_name": name, "text": "猫"} for name in ("caf\u00e9.png", "cafe\u0301.png")))
    assert [finding.kind for finding in audit(folder).faults] == ["collide"]


def test_a_byte_order_mark_is_a_hint(folder):
    write_manifest(folder, start=b"\xef\xbb\xbf")
    report = audit(folder)
    assert kinds(report) == ["bom"] and report.good == 3 and not report.faults


def test_a_caption_and_its_picture_at_fault_are_both_said(folder):
    (folder / "x.png").write_bytes(b"")
    write_manifest(folder, {"file_name": "x.png", "text": ""})
    report = audit(folder)
    assert kinds(report) == ["empty", "empty_caption"] and (report.pictures, report.good) == (4, 3)


def test_another_model_reads_less(folder, tiny_folder):
    write_manifest(folder, {"file_name": "好.png", "text": "一只猫"})
    assert hints(audit(folder)) == [] and "long_caption" not in audit(folder, tiny_folder).counts()
    (folder / "metadata.jsonl").unlink()
    write_manifest(folder)
    noise(5).save(folder / "x.png")
    write_manifest(folder, {"file_name": "x.png", "text": "雪地里的企鹅和一只小狗在草地上"})
    assert hints(audit(folder, tiny_folder)) == ["long_caption", "unknown"] and not hints(audit(folder))


def test_captions_may_be_missing_where_none_are_needed(tmp_path):
    noise(1).save(tmp_path / "a.png")
    assert not audit(tmp_path, captions=False).findings
    assert audit(tmp_path).counts() == {"no_caption": 1}


def test_nothing_there(tmp_path):
    for place in (tmp_path, tmp_path / "no"):
        with pytest.raises(PaidiffError, match="no pictures in|no such folder"):
            audit(place)


# --- every picture is trained on or named -----------------------------------------------------------------------

LEFT_OUT = {  # a file, why it is not trained on
    "forgotten.png": "not listed",
    "browser.jfif": "not listed",
    "sub/next.avif": "not listed",
    "masks/a.png": "not listed",
    "test/a.png": "not listed",
    "phone.heic": "cannot read .heic",
    "scan.psd": "cannot read .psd",
    "more.parquet": "not used",
    "more.tar": "not used",
    "._a.png": "AppleDouble",
    "sub/._b.jpg": "AppleDouble",
    ".hidden.png": "hidden",
    ".ipynb_checkpoints/a-checkpoint.png": "hidden",
    "__MACOSX/sub/a.png": "system folder",
    "@eaDir/a.png/thumb.jpg": "system folder",
    "$RECYCLE.BIN/a.png": "system folder",
}
KINDS = {".jfif": "JPEG", ".avif": "AVIF", ".jpg": "JPEG"}


@pytest.mark.parametrize("layout", ["metadata.jsonl", "train/metadata.jsonl", "train/metadata.csv", "pairs", "tsv"])
def test_every_picture_is_trained_on_or_named(tmp_path, layout, tiny, capsys):
    for i, name in enumerate(LEFT_OUT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise(i).save(tmp_path / name, KINDS.get((tmp_path / name).suffix, "PNG"))
    base = tmp_path / layout.rpartition("/")[0]
    base.mkdir(exist_ok=True)
    noise(99).save(base / "used.png")
    if layout.endswith("jsonl"):
        (base / "metadata.jsonl").write_text('{"file_name": "used.png", "text": "一只猫"}', encoding="utf-8")
    elif layout.endswith("csv"):
        (base / "metadata.csv").write_text('file_name,text\nused.png,"一只猫"\n', encoding="utf-8")
    elif layout == "tsv":
        coded = base64.b64encode((base / "used.png").read_bytes()).decode()
        (base / "a.tsv").write_text(f"1\t一只猫\t{coded}\n", encoding="utf-8")
        (base / "used.png").unlink()
    listed = {name for name, why in LEFT_OUT.items() if why == "not listed"}
    if layout == "pairs":
        for name in [*listed, "used.png"]:
            (tmp_path / name).with_suffix(".txt").write_text("一只猫", encoding="utf-8")
    report = audit(tmp_path)
    said = {finding.where: finding.text for finding in report.findings if finding.kind == "left_out"}
    expected = {name: why for name, why in LEFT_OUT.items() if layout != "pairs" or name not in listed}
    assert said.keys() == expected.keys() and all(why in said[name] for name, why in expected.items())
    data = CaptionFolder(tmp_path)
    names = {item.name for item in data.items}
    assert len(names) == report.pictures == 1 + len(LEFT_OUT) - len(expected)
    assert not names & expected.keys() and not report.faults
    for i in range(len(data)):
        data.image(i, 32)
    list(train(LoRA(tiny, 2), data, steps=1))
    assert f"{len(expected)} pictures in the folder are not trained on" in capsys.readouterr().out


def test_a_manifest_that_was_chosen_leaves_out_on_purpose(tmp_path):
    for i in range(2):
        noise(i).save(tmp_path / f"{i}.png")
    (tmp_path / "kept.jsonl").write_text('{"file_name": "0.png", "text": "一只猫"}', encoding="utf-8")
    assert not audit(tmp_path / "kept.jsonl").findings and not CaptionFolder(tmp_path / "kept.jsonl").left_out


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def everything(folder):
    """Every malformed file and line of this test in one folder; returns it and the number of faults."""
    lines = [line for line, _ in LINES.values()]
    PICTURE.save(folder / "x.png")
    noise(5).save(folder / "GOOD 2.jpg")
    for i, (name, content, _) in enumerate(FILES.values()):
        place = f"{i} [red]{name}" if i % 2 else f"{i}\x1b[31m\n{name}"
        (folder / place).write_bytes(content)
        lines.append({"file_name": place, "text": "猫"})
    write_manifest(folder, *lines)
    return folder


def test_a_hundred_malformed_inputs_at_once(paidiff, everything, tmp_path):
    before = hashes(everything)
    done = paidiff("audit", everything, "--sheet", tmp_path / "sheet.png")
    assert done.returncode == 1 and done.stderr == "", done.stderr
    printed = done.stdout.splitlines()
    asked = [kind for _, kind in LINES.values()] + [kind for _, _, kind in FILES.values()]
    assert sum(kind in FAULTS for kind in asked) >= 60
    assert sum(line.startswith("✗") for line in printed) >= sum(kind in FAULTS for kind in asked)
    assert printed[-1].startswith(str(everything)) and "Traceback" not in done.stdout and "\x1b" not in done.stdout
    assert all(f" {i} [red]{name}: " in done.stdout for i, (name, *_) in enumerate(FILES.values()) if i % 2 and i < 31)
    assert hashes(everything) == before
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 700 and sheet.convert("L").getextrema()[0] < 50
    data = CaptionFolder(everything, skip_faults=True)
    assert set(GOOD.values()) <= {data.caption(i) for i in range(len(data)) if data.image(i, 16).size == (16, 16)}


def test_json(warm_paidiff, everything):
    done = warm_paidiff("audit", everything, "--json")
    table = Console(file=io.StringIO(), width=70, force_terminal=True)
    table.print(audit(everything).table())
    assert "9 [red]x.jpg" in table.file.getvalue() and "怎么了" in table.file.getvalue()
    found = json.loads(done.stdout)
    assert done.returncode == 1 and set(found) == {"folder", "pictures", "good", "counts", "faults", "hints"}
    assert set(found["counts"]) <= {*FAULTS, *HINTS} and sum(found["counts"].values()) == len(
        found["faults"] + found["hints"]
    )
    assert all(set(entry) == {"kind", "where", "text"} for entry in found["faults"])


def test_a_sound_folder_and_refusals(warm_paidiff, folder, tmp_path):
    write_manifest(folder)
    for name in ("link.png", "linked", "._好.png", "__MACOSX/好.png"):
        (folder / name).unlink()
    done = warm_paidiff("audit", folder, "--sheet", tmp_path / "sheet.png")
    assert (
        (done.returncode, done.stderr) == (0, "")
        and "3 张可用 good · 0" in done.stdout
        and not (tmp_path / "sheet.png").exists()
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model_index.json").write_text("{}")
    refused = {
        (tmp_path / "no",): "no such folder",
        (folder, "--model", "x"): "no model x",
        (folder, "--model", tmp_path / "model"): "cannot read the tokenizer",
        (folder, "--sheet", "x.jpg"): ".png",
    }
    for arguments, words in refused.items():
        done = warm_paidiff("audit", *arguments)
        assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1
    assert warm_paidiff("audit").returncode == 2


# --- training ---------------------------------------------------------------------------------------------------


def test_training_refuses_or_skips_and_says_so(folder, tiny, capsys):
    (folder / "cut.png").write_bytes(PNG[:300])
    write_manifest(folder, {"file_name": "cut.png", "text": "猫"})
    lora = LoRA(tiny, rank=2)
    start = lambda data: next(train(lora, data, steps=1))
    with pytest.raises(PaidiffError, match="cut.png: .*paidiff audit"):
        start(CaptionFolder(folder))
    with pytest.raises(PaidiffError, match="metadata.jsonl:3: .*no such picture.*skip_faults"):
        write_manifest(folder, {"file_name": "no.png", "text": "猫"})
        start(CaptionFolder(folder))
    write_manifest(folder, {"file_name": "no.png", "text": "猫"}, {"file_name": "cut.png", "text": "猫"})
    assert start(CaptionFolder(folder, skip_faults=True)).index == 1
    printed = capsys.readouterr().out
    assert "left out 2" in printed and "metadata.jsonl:3: " in printed and "cut.png: " in printed


def test_nothing_is_left(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a.txt").write_text("猫")
    with pytest.raises(PaidiffError, match="1 处有问题 at fault"):
        CaptionFolder(tmp_path, skip_faults=True)


# --- near duplicates --------------------------------------------------------------------------------------------


def test_the_nearest_one_before(monkeypatch):
    from paidiff_lib.cleaning import near_duplicates as alike

    monkeypatch.setattr(alike, "ROWS", 7)
    monkeypatch.setattr(alike, "COLUMNS", 5)
    thumbnails = np.random.RandomState(0).randint(-127, 128, (40, 192)).astype(np.int8)
    thumbnails[33] = thumbnails[4]
    far, where = nearest_before(thumbnails)
    for i in range(1, 40):
        each = np.sqrt(((thumbnails[:i].astype(float) - thumbnails[i]) ** 2).mean(1))
        assert far[i] == pytest.approx(each.min(), abs=0.1) and where[i] == each.argmin()
    assert np.isinf(far[0]) and far[33] == 0
    assert nearest_before(np.zeros((0, 192)))[0].shape == (0,)


def test_copies_are_near_and_others_are_not():
    from paidiff_world import scene

    scenes = [scene(seed)[0] for seed in range(40)]
    copies = [Image.open(io.BytesIO(raw(p.resize((100, 100)), "JPEG", quality=50))) for p in scenes]
    far = nearest_before([thumbnail(p) for p in [*scenes, *copies]])[0]
    assert (far[1:40] > NEAR).all() and (far[40:] < NEAR).all()
