import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from paidiff_lib import PaidiffError, curve, digest, display, grid, show, use_chinese_font, watch
from paidiff_lib.display import FONT, FONT_SIZE, _characters, _jpeg, wrap


def scene(seed, size=128):
    """Soft colours with a few hard-edged discs: roughly what a drawn scene looks like to a digest."""
    rng = np.random.default_rng(seed)
    field = rng.uniform(40, 215, (4, 4, 3)).astype(np.uint8)
    picture = np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC)).copy()
    y, x = np.mgrid[:size, :size]
    for _ in range(rng.integers(2, 7)):
        cx, cy, r = rng.integers(10, size - 10), rng.integers(10, size - 10), rng.integers(5, 25)
        picture[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.integers(0, 256, 3)
    return Image.fromarray(picture)


def noisy(picture, levels, rng):
    array = np.asarray(picture, dtype=int)
    return Image.fromarray(np.clip(array + rng.integers(-levels, levels + 1, array.shape), 0, 255).astype(np.uint8))


def test_digest_reads_as_documented():
    black, white = Image.new("RGB", (128, 96)), Image.new("RGB", (128, 96), "white")
    assert digest(black) == "1 picture 128x96 · mean colour 000 · sharpness 0"
    assert digest([black, white]) == "2 pictures 128x96 · mean colour 000 888 · sharpness 0 0"
    assert digest([black] * 9) == "9 pictures 128x96 · mean colour 000 · sharpness 0"


@pytest.mark.parametrize("levels, allowed", [(1, 1), (2, 4)])
def test_digest_holds_on_another_machine(levels, allowed):
    """Another CPU changes a few pixels by one level; even noise on every pixel must nearly never change a digest."""
    rng = np.random.default_rng(0)
    pairs = [[scene(2 * i), scene(2 * i + 1)] for i in range(200)]
    changed = sum(digest(pair) != digest([noisy(p, levels, rng) for p in pair]) for pair in pairs)
    assert changed <= allowed


def test_digest_changes_with_the_picture():
    digests = [digest(scene(i)) for i in range(100)]
    assert len(set(digests)) > 25
    sharp = Image.fromarray(np.kron(np.eye(16) * 200, np.ones((8, 8))).astype(np.uint8))
    assert digest(sharp) != digest(sharp.filter(ImageFilter.GaussianBlur(3)))


def test_grid_places_pictures_and_labels():
    pictures = [Image.new("RGB", (300, 200), colour) for colour in ("red", "lime", "blue")]
    sheet = grid(pictures, ["红", "绿", "蓝"], columns=2)
    assert sheet.size == (2 * 308 + 8, 2 * (200 + 21 + 8) + 8)
    assert sheet.getpixel((100, 100)) == (255, 0, 0) and sheet.getpixel((400, 100)) == (0, 255, 0)
    assert np.asarray(sheet.crop((8, 8, 60, 26))).min() < 100  # the label has ink
    assert grid(pictures, columns=3).size == (3 * 308 + 8, 200 + 16)


def test_small_sheets_are_doubled_and_odd_numbers_fill_rows():
    assert grid(Image.new("RGB", (128, 128))).size == (128 * 2 + 16, 128 * 2 + 16)
    assert grid([Image.new("RGB", (128, 128))] * 7).width == 4 * 136 + 8  # two rows, of 4 and 3


def test_wrong_numbers_are_said():
    with pytest.raises(PaidiffError, match="2 pictures but 1 titles"):
        grid([Image.new("RGB", (8, 8))] * 2, ["一"])
    with pytest.raises(PaidiffError, match="at least one"):
        grid([])


def test_long_and_unknown_titles():
    lines = wrap("雪地里的两只企鹅,水墨画,高清,星空,月亮,草地,沙发", 128)
    assert len(lines) == 2 and lines[1].endswith("…")
    assert wrap("猫😀\n狗", 128) == ["猫□ 狗"]


def test_the_font_has_what_the_labels_need():
    needed = "雪地企鹅水墨画镶鑫饕ABCabc019,。、:;?!()《》“”…—·→×°✓✗±"
    assert not [c for c in needed if ord(c) not in _characters()]
    assert sum(0x4E00 <= code <= 0x9FFF for code in _characters()) >= 6763
    assert FONT.stat().st_size < 3_000_000


def test_matplotlib_uses_the_font():
    import matplotlib
    from matplotlib import font_manager

    with matplotlib.rc_context():
        use_chinese_font()
        assert font_manager.findfont(matplotlib.rcParams["font.family"][0]) == str(FONT)


def test_show_prints_the_digest_only_outside_a_notebook(capsys):
    show(scene(0), titles=["猫"])
    assert capsys.readouterr().out == digest(scene(0)) + "\n"


def test_show_in_a_notebook_gives_one_jpeg_with_alt_text_and_its_digest(monkeypatch, capsys):
    import IPython.display

    shown = []
    monkeypatch.setattr(display, "_in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, metadata, raw: shown.append((data, metadata)))
    show([scene(0), scene(1)], titles=["企鹅", "狗"])
    show(scene(0), titles="企鹅")
    show(scene(0), alt="一只猫")
    show(scene(0))
    alts = [metadata["image/jpeg"]["alt"] for _, metadata in shown]
    assert alts[:3] == ["企鹅; 狗", "企鹅", "一只猫"] and alts[3]
    assert all(base64.b64decode(data["image/jpeg"])[:2] == b"\xff\xd8" for data, _ in shown)
    assert [data["text/plain"] for data, _ in shown[1:]] == [digest(scene(0))] * 3 and capsys.readouterr().out == ""


def test_a_gallery_of_36_stays_small():
    data = _jpeg(grid([scene(i) for i in range(36)], ["雪地里的两只企鹅"] * 36))
    assert len(data) < 250_000
    assert Image.open(io.BytesIO(data)).width < 1000


def test_a_curve_is_a_picture_with_its_line():
    blank, line = curve({"loss": [1.0, 1.0]}), curve({"loss": [3, 2, 1]}, "步 step", "loss")
    assert line.mode == "RGB" and line.width > 2 * FONT_SIZE
    assert blank.tobytes() != line.tobytes()
    assert curve({"a": [1, 2, 3, 4], "b": ([0, 9], [2, 2])}).size == line.size


def test_watching_hands_every_step_on(capsys):
    steps = [SimpleNamespace(index=i, loss=0.5, seconds_left=1.0) for i in (1, 2, 3)]
    assert list(watch(iter(steps), 3)) == steps
    assert "3/3" in capsys.readouterr().err
