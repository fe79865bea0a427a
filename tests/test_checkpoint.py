import os
import signal

import pytest
import torch

from paidiff_lib import PaidiffError
from paidiff_lib.files import atomic_folder, output_folder
from paidiff_lib.models.save import require_finite
from paidiff_lib.training import checkpoint
from paidiff_lib.training.checkpoint import Store, verifies
from paidiff_lib.training.config import TrainingConfig


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
    save(store, 3), save(store, 4)
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-3", "checkpoint-4"]  # kept: perhaps not ours


# --- what is not ours, or no longer as we wrote it -------------------------------------------------------------


def foreign(folder, step, **files):
    """A checkpoint of another trainer; returns {path: bytes} of it."""
    place = folder / f"checkpoint-{step}"
    place.mkdir(parents=True)
    for name, text in (files or {"pytorch_model.bin": f"weights {step}"}).items():
        (place / name).write_text(text)
    return contents(place)


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


MANIFESTS = {"none": None, "a list": "[1]", "other values": '{"a.bin": 3}', "not JSON": "{", "names": '{"a": "b"}'}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_another_trainers_checkpoints_stay_below_at_and_above_our_own(tmp_path, manifest):
    before = {}
    for step in (1, 3, 500):
        before |= foreign(tmp_path, step)
        if MANIFESTS[manifest] is not None:
            (tmp_path / f"checkpoint-{step}/manifest.json").write_text(MANIFESTS[manifest])
    before |= contents(tmp_path)
    store = Store(tmp_path, keep=1)
    assert [save(store, step).name for step in (2, 3, 4)] == ["checkpoint-2", "checkpoint-03", "checkpoint-4"]
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-3", "checkpoint-4", "checkpoint-500"]
    assert store.newest().name == "checkpoint-4" and before.items() <= contents(tmp_path).items()


def test_a_checkpoint_of_ours_that_somebody_has_put_something_into_stays(tmp_path):
    store = Store(tmp_path, keep=1)
    save(store, 1)
    (tmp_path / "checkpoint-1/my notes.txt").write_text("the best one")
    before = contents(tmp_path)
    save(store, 2), save(store, 1)
    assert names(tmp_path) == ["checkpoint-01", "checkpoint-1"] and before.items() <= contents(tmp_path).items()


def test_folders_that_only_look_like_leftovers_stay(tmp_path):
    for name in (".staging-area", "my.staging-1", "checkpoint-5.old", "checkpoint-²"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("mine")
    before = contents(tmp_path)
    save(Store(tmp_path, keep=1), 1), save(Store(tmp_path, keep=1), 2)
    assert before.items() <= contents(tmp_path).items()


REACHED = [  # foreign steps, ours there, settings, the one that is named or None
    ([3], [], dict(steps=3), 3),
    ([500], [], dict(steps=600), 500),
    ([500], [], dict(steps=600, save_every=499), None),
    ([4], [], dict(steps=3), None),
    ([2], [3], dict(steps=6, save_every=1), None),
    ([4], [3], dict(steps=6, save_every=2), 4),
    ([4], [6], dict(steps=6, save_every=2, resume="checkpoint-2"), 4),
]


@pytest.mark.parametrize("there, ours, settings, named", REACHED)
def test_one_that_the_run_would_reach_is_refused(tmp_path, there, ours, settings, named):
    for step in ours:
        save(Store(tmp_path), step)
    for step in there:
        foreign(tmp_path, step)
    check = lambda: Store(tmp_path).check(TrainingConfig(**settings))
    if named is None:
        return check()
    with pytest.raises(PaidiffError, match=f"checkpoint-{named} .* is not of paidiff.*choose another output folder"):
        check()


def test_those_that_latest_cannot_continue_are_named(tmp_path, capsys):
    store = Store(tmp_path, keep=9)
    foreign(tmp_path, 1), save(store, 2), save(store, 3), foreign(tmp_path, 4)
    (tmp_path / "checkpoint-3/weights.txt").write_text("cut")
    assert store.to_resume(True).name == "checkpoint-2"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "checkpoint-4" in lines[0] and "not of paidiff" in lines[0]
    assert "checkpoint-3" in lines[1] and "damaged" in lines[1]


def test_a_checkpoint_by_its_path(tmp_path, monkeypatch):
    save(Store(tmp_path / "out/a"), 2)
    monkeypatch.chdir(tmp_path)
    for name in ("checkpoint-2", "out/a/checkpoint-2", tmp_path / "out/a/checkpoint-2"):
        assert Store("out/a").to_resume(str(name)).resolve() == tmp_path / "out/a/checkpoint-2"
        assert Store("out/b").folder.exists() is False


def test_results_of_others_are_not_overwritten(tmp_path):
    (tmp_path / "weights.txt").write_text("of another trainer")
    (tmp_path / "sub").mkdir()
    with pytest.raises(PaidiffError, match="weights.txt.*choose another folder"), output_folder(tmp_path) as staging:
        (staging / "sub").mkdir()
        (staging / "sub/a.txt").write_text("new")
        (staging / "weights.txt").write_text("new")
    assert contents(tmp_path) == {str(tmp_path / "weights.txt"): b"of another trainer"}
    (tmp_path / "weights.txt").unlink()
    for text in ("1", "2"):  # our own are replaced
        with output_folder(tmp_path) as staging:
            (staging / "weights.txt").write_text(text)
        assert (tmp_path / "weights.txt").read_text() == text
    (tmp_path / "weights.txt").write_text("of another trainer, later")
    with pytest.raises(PaidiffError, match="weights.txt"), output_folder(tmp_path) as staging:
        (staging / "weights.txt").write_text("3")


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
