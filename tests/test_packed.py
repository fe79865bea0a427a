"""Packed sets: parquet, a folder that `datasets` saved, webdataset's .tar."""

import gzip
import io
import json
import sys
import tarfile

import pytest
from conftest import refused
from PIL import Image

from paidiff_lib import CaptionFolder, ControlNet, LoRA, audit, curate, train
from paidiff_lib.methods.dreambooth import class_pictures

COLOURS = {"red": "一只猫", "blue": "一只狗", "lime": "一朵雪"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    if "datasets" in sys.modules:
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))


def raw(colour):
    out = io.BytesIO()
    Image.new("RGB", (70, 64), colour).save(out, "PNG")
    return out.getvalue()


def a_tar(path, files):
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def a_table(columns, image="image"):
    import datasets

    table = datasets.Dataset.from_dict(columns)
    return table.cast_column(image, datasets.Image(decode=False)) if image else table


def in_tar(folder):
    files = {}
    for i, (colour, text) in enumerate(COLOURS.items()):
        files |= {f"a/{i}.png": raw(colour), f"a/{i}.cls": "1"}
        files |= {f"a/{i}.txt": text} if i else {f"a/{i}.json": json.dumps({"caption": text})}
    return a_tar(folder / "00000.tar", files)


def in_parquet(folder):
    columns = {"image": [{"bytes": raw(c), "path": None} for c in COLOURS], "text": list(COLOURS.values())}
    a_table(columns).to_parquet(folder / "train-00000-of-00001.parquet")
    return folder / "train-00000-of-00001.parquet"


def bare_parquet(folder):
    """As other programs write it: bytes and a list of captions, under names of their own."""
    columns = {
        "jpg": list(map(raw, COLOURS)),
        "number": [1, 2, 3],
        "prompts": [[text, "别的"] for text in COLOURS.values()],
    }
    a_table(columns, None).to_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def saved(folder):
    columns = {"image": [{"bytes": raw(c), "path": None} for c in COLOURS], "text": list(COLOURS.values())}
    a_table(columns).save_to_disk(folder / "saved")
    return folder / "saved"


def saved_in_splits(folder):
    import datasets

    columns = {"image": [{"bytes": raw(c), "path": None} for c in COLOURS], "text": list(COLOURS.values())}
    table = a_table(columns)
    datasets.DatasetDict({"test": table.select([0]), "train": table}).save_to_disk(folder / "splits")
    return folder / "splits"


MAKERS = [in_tar, in_parquet, bare_parquet, saved, saved_in_splits]


@pytest.mark.parametrize("make", MAKERS)
def test_a_packed_set_is_a_set(make, tmp_path):
    (tmp_path / "set").mkdir()
    path = make(tmp_path / "set")
    for place in {path, path if path.is_dir() else path.parent}:
        data = CaptionFolder(place, 64)
        assert [data.image(i, 64).getpixel((30, 30)) for i in range(3)] == [(255, 0, 0), (0, 0, 255), (0, 255, 0)]
        assert [data.caption(i) for i in range(3)] == list(COLOURS.values()) and len(data.fingerprint) == 64
        assert len(data.captions(0)) == (2 if make is bare_parquet else 1)
        report = audit(place, captions=True)
        assert (report.pictures, report.good, report.faults) == (3, 3, [])
        left_out = [hint.where for hint in report.hints if hint.kind == "left_out"]
        assert left_out == [name for name, _ in data.left_out]
        assert left_out == (["test/data-00000-of-00001.arrow"] if make is saved_in_splits else [])
    refused(["no file to point to"], lambda: curate(place, keep="width > 0"))


@pytest.mark.parametrize("make", [in_tar, saved])
def test_training_on_it(make, tmp_path, tiny):
    data = CaptionFolder(make(tmp_path), 64)
    assert len(list(train(LoRA(tiny, rank=1), data, steps=2, output=tmp_path / "out"))) == 2
    assert len(list(train(LoRA(tiny, rank=1), data, steps=3, output=tmp_path / "out"))) == 1  # it went on


def test_what_is_wrong_in_a_tar_is_named(tmp_path):
    files = {"0.jpg": raw("red"), "0.txt": "猫", "0.other.jpg": raw("blue"), "._0.jpg": "apple", "1.png": raw("red")}
    files |= {"2.txt": "猫", "3.png": b"no picture", "3.txt": "猫", "4.png": raw("red"), "4.json": "{", "5.heic": "x"}
    path = a_tar(tmp_path / "a.tar", files)
    report = audit(path)
    assert {(fault.kind, fault.where) for fault in report.faults} == {
        ("empty_caption", "a.tar:1"),
        ("missing", "a.tar:2"),
        ("unreadable", "a.tar:3.png"),
        ("line", "a.tar:4"),
        ("missing", "a.tar:5"),
    }
    left_out = {hint.where for hint in report.hints if hint.kind == "left_out"}
    assert left_out == {"a.tar:0.other.jpg", "a.tar:._0.jpg", "a.tar:5.heic"}
    data = CaptionFolder(path, skip_faults=True)
    assert len(data) == 1 and {name for name, _ in data.left_out} == left_out
    refused(["a.tar:1", "paidiff audit"], lambda: CaptionFolder(path))
    whole = path.read_bytes()
    for damaged in (whole[:1300], whole[:1100], whole[:700], whole + whole, gzip.compress(whole)):
        path.write_bytes(damaged)
        assert ("truncated", "a.tar") in {(fault.kind, fault.where) for fault in audit(path).faults}


def test_what_is_wrong_in_a_table_is_named(tmp_path):
    columns = {
        "image": [{"bytes": raw("red"), "path": None}, None, {"bytes": b"x", "path": None}],
        "text": ["猫", "狗", ""],
    }
    a_table(columns).to_parquet(tmp_path / "a.parquet")
    found = {(fault.kind, fault.where) for fault in audit(tmp_path).faults}
    assert found == {("unreadable", "a.parquet:2"), ("empty_caption", "a.parquet:3"), ("unreadable", "a.parquet:3")}
    refused(["no column", "picture"], lambda: CaptionFolder(tmp_path, image_column="picture"))
    refused(["no column", "words"], lambda: CaptionFolder(tmp_path, caption_column="words"))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    assert [(fault.kind, fault.where) for fault in audit(tmp_path).faults] == [("unreadable", "a.parquet")]


def test_columns_of_ones_own_and_conditions(tmp_path, tiny):
    two = {name: [{"bytes": raw(colour), "path": None}] * 2 for name, colour in (("picture", "red"), ("edges", "blue"))}
    a_table({**two, "words": ["猫", "狗"], "text": ["", ""]}, None).to_parquet(tmp_path / "a.parquet")
    files = {
        f"{i}.{part}.png": raw(colour) for i in range(2) for part, colour in (("picture", "red"), ("edges", "blue"))
    }
    files |= {f"{i}.json": json.dumps({"words": "猫狗"[i], "text": ""}) for i in range(2)}
    for path in (tmp_path / "a.parquet", a_tar(tmp_path / "a.tar", files)):
        columns = {"image_column": "picture", "caption_column": "words", "conditioning_image_column": "edges"}
        data = CaptionFolder(path, 64, **columns)
        assert data.caption(1) == "狗" and data.image(1, 64).getpixel((9, 9)) == (255, 0, 0)
        assert data.has_conditions and data.condition(1, 64).getpixel((9, 9)) == (0, 0, 255)
        assert len(list(train(ControlNet(tiny), data, steps=1))) == 1


def test_loose_pictures_or_a_list_are_the_set_and_the_pack_is_named(tmp_path):
    in_tar(tmp_path)
    assert len(CaptionFolder(tmp_path)) == 3
    Image.new("RGB", (64, 64)).save(tmp_path / "mine.png")
    (tmp_path / "mine.txt").write_text("猫", encoding="utf-8")
    data = CaptionFolder(tmp_path)
    assert [item.name for item in data.items] == ["mine.png"] and [name for name, _ in data.left_out] == ["00000.tar"]


def test_class_pictures_are_not_drawn_beside_a_pack(tmp_path, tiny):
    path = in_tar(tmp_path)
    class_pictures(tiny, "一只猫", tmp_path, 3)
    refused(["packed", "1 missing"], lambda: class_pictures(tiny, "一只猫", tmp_path, 4))
    assert list(tmp_path.iterdir()) == [path]


def test_without_the_library_one_line(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(["a.parquet", "pip install datasets"], lambda: CaptionFolder(tmp_path))
    in_tar(tmp_path / "..")  # needs nothing
    assert len(CaptionFolder(tmp_path / "../00000.tar")) == 3


def test_the_library_is_imported_only_for_such_data(run_python, tmp_path):
    in_tar(tmp_path)
    code = f"import sys, paidiff_lib; paidiff_lib.CaptionFolder({str(tmp_path)!r}); print('datasets' in sys.modules)"
    assert run_python(code).stdout == "False\n"
