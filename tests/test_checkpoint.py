import os
import signal

import pytest
import torch

from paidiff_lib import PaidiffError
from paidiff_lib.files import atomic_folder
from paidiff_lib.models.save import require_finite
from paidiff_lib.training import checkpoint
from paidiff_lib.training.checkpoint import Store, verifies


def save(store, step, text="weights"):
    return store.save(step, lambda folder: (folder / "weights.txt").write_text(f"{text} {step}"))


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_newest_few_are_kept(tmp_path):
    store = Store(tmp_path, keep=2)
    assert store.newest() is None and store.names() == []
    for step in (5, 10, 100):
        assert verifies(save(store, step))
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-100"]
    assert store.newest().name == "checkpoint-100"


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "no manifest", "empty manifest"])
def test_a_damaged_one_is_passed_over_and_never_kept_for_a_good_one(tmp_path, damage):
    store = Store(tmp_path, keep=2)
    save(store, 1), save(store, 2)
    file, manifest = tmp_path / "checkpoint-2/weights.txt", tmp_path / "checkpoint-2/manifest.json"
    {
        "flip": lambda: file.write_text("weightz 2"),
        "cut": lambda: file.write_text(""),
        "missing": lambda: file.unlink(),
        "no manifest": lambda: manifest.unlink(),
        "empty manifest": lambda: manifest.write_text(""),
    }[damage]()
    assert store.newest().name == "checkpoint-1"
    with pytest.raises(PaidiffError, match="no intact checkpoint checkpoint-2"):
        store.find("checkpoint-2")
    save(store, 3)
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-3"]


def test_the_same_step_again(tmp_path):
    store = Store(tmp_path)
    save(store, 4, "old"), save(store, 4, "new")
    assert (store.newest() / "weights.txt").read_text() == "new 4" and names(tmp_path) == ["checkpoint-4"]


def test_an_older_step_saved_later_is_not_deleted_at_once(tmp_path):
    store = Store(tmp_path, keep=1)
    save(store, 9), save(store, 4)
    assert names(tmp_path) == ["checkpoint-4"]


def test_a_failing_save_keeps_the_one_before(tmp_path):
    store = Store(tmp_path, keep=1)
    save(store, 1)

    def full(folder):
        (folder / "weights.txt").write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(PaidiffError, match="not saved.*No space left"):
        store.save(2, full)
    assert names(tmp_path) == ["checkpoint-1"] and store.newest().name == "checkpoint-1"


def killed_at(step_of_the_disk, folder):
    """A child process saves checkpoint 2 and is killed at the n-th call that touches the disk. False if it got through."""
    child = os.fork()
    if not child:
        left = [step_of_the_disk]

        def deadly(call):
            def wrapped(*arguments, **keywords):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **keywords)

            return wrapped

        for name in ("fsync", "replace", "open"):
            setattr(os, name, deadly(getattr(os, name)))
        checkpoint.shutil.rmtree = deadly(checkpoint.shutil.rmtree)
        save(Store(folder, keep=1), 2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_kill_at_any_call_of_a_save_loses_nothing(tmp_path):
    for moment in range(100):
        folder = tmp_path / str(moment)
        save(Store(folder, keep=1), 1)
        killed = killed_at(moment, folder)
        newest = Store(folder).newest()
        assert newest and (newest / "weights.txt").read_text() == f"weights {newest.name[11:]}"
        save(Store(folder, keep=1), 3)  # and the next save tidies up
        assert names(folder) == ["checkpoint-3"]
        if not killed:
            break
    assert 5 < moment < 99 and newest.name == "checkpoint-2"


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out/lora"
    with atomic_folder(target) as staging:
        (staging / "part").mkdir()
        (staging / "part/a.txt").write_text("1")
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as staging:
        (staging / "b.txt").write_text("2")
        1 / 0
    assert (target / "part/a.txt").read_text() == "1" and names(target) == ["part"]
    assert names(tmp_path / "out") == ["lora"]


def test_what_is_not_finite_is_refused():
    require_finite({"a": torch.ones(3)})
    for bad in (float("nan"), float("inf")):
        with pytest.raises(PaidiffError, match="not saved: b"):
            require_finite({"a": torch.ones(3), "b": torch.tensor([1.0, bad])})
