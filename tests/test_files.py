"""Where the models lie, and files and folders that are written whole or not at all."""

import os
import sys

import pytest
import torch
from conftest import refused
from safetensors.torch import save_file

from paidiff_lib import data_folder, files
from paidiff_lib.files import atomic_file, atomic_folder, new_folder


def a_place(folder):
    (folder / "models").mkdir(parents=True)
    return folder


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The checkout, the wheel, the cache and the working directory, all of them elsewhere and still empty."""
    monkeypatch.delenv("PAIDIFF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "__file__", str(tmp_path / "checkout/paidiff_lib/files.py"))
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "here"), str(tmp_path / "site-packages"), *sys.path])
    wheel = tmp_path / "site-packages" / files.PACKAGE
    wheel.mkdir(parents=True)
    (wheel / "__init__.py").write_text("raise ImportError('it is only looked for')")
    a_place(tmp_path / "here/data")
    a_place(tmp_path / "here" / files.PACKAGE / "data")
    monkeypatch.chdir(tmp_path / "here")
    return {"checkout": tmp_path / "checkout/data", "wheel": wheel / "data", "cache": tmp_path / "cache/paidiff/data"}


def test_the_nearest_place_wins(places, tmp_path, monkeypatch):
    for place in ("cache", "wheel", "checkout"):
        assert a_place(places[place]) == data_folder()
    monkeypatch.setenv("PAIDIFF_DATA", str(a_place(tmp_path / "named")))
    assert data_folder() == tmp_path / "named"


def test_without_any_one_line_says_what_to_do(places, tmp_path, monkeypatch):
    """The working directory is never looked at: a stranger may have written there."""
    said = refused(["pip install paidiff-mini-zh", "PAIDIFF_DATA", *map(str, places.values())], data_folder)
    assert str(tmp_path / "here") not in said
    monkeypatch.setenv("PAIDIFF_DATA", str(tmp_path / "no"))
    a_place(places["checkout"])  # who names a folder means it
    assert str(places["checkout"]) not in refused(["PAIDIFF_DATA", str(tmp_path / "no")], data_folder)


def test_the_checkout_has_them():
    assert (data_folder() / "models/paidiff-mini-zh/model_index.json").is_file()


def test_data_is_below_it_and_still_a_function_when_the_sets_are_imported():
    import paidiff_lib

    assert paidiff_lib.CaptionFolder(paidiff_lib.data("porcelain")) and paidiff_lib.data() == data_folder()
    refused(["not in the course's data", "no-such-set"], lambda: paidiff_lib.data("no-such-set"))


class Stopped(Exception):
    pass


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("first", "second"):
        with atomic_file(path) as staging:
            staging.write_text(text)
            assert not path.exists() or path.read_text() == "first"
    with pytest.raises(Stopped), atomic_file(path) as staging:
        staging.write_text("third")
        raise Stopped
    assert path.read_text() == "second" and os.listdir(tmp_path) == ["a.txt"]
    with pytest.raises(FileNotFoundError), atomic_file(path):
        pass  # nothing was written
    assert path.read_text() == "second" and os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_keeps_what_the_block_does_not_write(tmp_path):
    folder = tmp_path / "lora"
    (folder / "deep").mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    with atomic_folder(folder) as staging:
        (staging / "deep").mkdir()
        (staging / "deep/new.txt").write_text("new")
    assert (folder / "deep/new.txt").read_text() == "new" and (folder / "mine.txt").read_text() == "mine"
    with pytest.raises(Stopped), atomic_folder(folder) as staging:
        (staging / "mine.txt").write_text("yours")
        raise Stopped
    assert (folder / "mine.txt").read_text() == "mine" and os.listdir(tmp_path) == ["lora"]


def test_a_new_folder(tmp_path, monkeypatch):
    folder = tmp_path / "new"
    with new_folder(folder, 1) as staging:
        (staging / "a.txt").write_text("a")
        assert not folder.exists()
    assert (folder / "a.txt").read_text() == "a"
    refused(["already holds something"], lambda: new_folder(folder, 1).__enter__())
    refused(["the disk is too full"], lambda: new_folder(tmp_path / "large", 1e18).__enter__())
    for error, words in (OSError(28, "No space left"), "No space left"), (RuntimeError(""), "RuntimeError"):

        def fail(error=error):
            with new_folder(tmp_path / "other", 1) as staging:
                (staging / "a.txt").write_text("a")
                raise error

        refused(["cannot write it", words], fail)
    assert os.listdir(tmp_path) == ["new"]


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_what_is_saved_can_be_read_by_others_where_the_umask_lets_them(tmp_path, umask):
    """safetensors 0.8 writes 0600: a service under another account then cannot open its model."""

    def write(folder):
        save_file({"a": torch.zeros(1)}, folder / "a.safetensors")

    before = os.umask(umask)
    try:
        with files.atomic_folder(tmp_path / "atomic") as staging:
            write(staging)
        with files.new_folder(tmp_path / "new", 1) as staging:
            (staging / "deep").mkdir()
            write(staging / "deep")
        with files.atomic_file(tmp_path / "file.safetensors") as staging:
            save_file({"a": torch.zeros(1)}, staging)
        (tmp_path / "sealed").mkdir()
        write(tmp_path / "sealed")
        files.replace_folder(tmp_path / "sealed", tmp_path / "folder")
    finally:
        os.umask(before)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["atomic/a.safetensors", "file.safetensors", "folder/a.safetensors", "new/deep/a.safetensors"]
    assert {mode(tmp_path / name) for name in found} == {0o666 & ~umask}


def test_only_the_folder_itself_is_written(tmp_path):
    """It may be a mounted disk, in a folder that is another's: nothing is made beside it."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    with files.atomic_folder(folder) as staging:
        (staging / "a").write_text("a")
        assert staging.parent == folder and [p.name for p in tmp_path.iterdir()] == ["mounted"]
    assert [p.name for p in folder.iterdir()] == ["a"]
