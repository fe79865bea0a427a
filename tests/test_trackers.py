"""--report_to: each tracker writes its files below --logging_dir, sample pictures too."""

import json
from pathlib import Path

import pytest
from conftest import refused
from PIL import Image

from paidiff_app import trackers
from paidiff_app.trackers import PACKAGES, check_trackers

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "tensorboard": "**/events.out.tfevents.*",
    "wandb": "wandb/offline-run-*/run-*.wandb",
    "swanlab": "run-*/run-*.swanlab",
}
OFFLINE = {"WANDB_MODE": "offline", "SWANLAB_MODE": "offline"}


@pytest.fixture
def flags(tiny_folder, tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "pictures/0.png")
    row = {"file_name": "0.png", "text": "一只猫"}
    (tmp_path / "pictures/metadata.jsonl").write_text(json.dumps(row), encoding="utf-8")
    out = [
        "--output_dir",
        tmp_path / "out",
        "--train_data_dir",
        tmp_path / "pictures",
        "--rank=1",
        "--max_train_steps=2",
    ]
    return [*out, "--pretrained_model_name_or_path", tiny_folder, "--validation_prompt=猫", "--validation_steps=1"]


@pytest.mark.parametrize("name", FILES)
def test_a_tracker_writes_its_files(name, flags, warm, tmp_path):
    """TensorBoard is installed with the tests; the others are tried where they are."""
    pytest.importorskip(name)
    (tmp_path / "here").mkdir()
    words = [*flags, f"--report_to={name}", "--logging_dir=records", "--num_validation_images=2"]
    script = ROOT / "scripts/train_text_to_image_lora.py"
    done = warm(script, *words, cwd=tmp_path / "here", PYTHONPATH=str(ROOT), **OFFLINE)
    assert done.returncode == 0, done.stderr
    records = tmp_path / "out/records"
    written = [path for path in records.glob(FILES[name]) if path.stat().st_size]
    assert written and not list((tmp_path / "here").iterdir())
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(records / "paidiff")).Reload()
        assert [event.step for event in found.Scalars("loss")] == [1, 2]
        assert [event.step for event in found.Images("validation")] == [1, 2]
    else:
        assert len(list(records.rglob("*.png"))) == 4


def test_a_tracker_that_cannot_start_is_one_line(flags, warm):
    code = "import sys, accelerate; accelerate.Accelerator.init_trackers = lambda *_: 1 / 0; "
    code += "from paidiff_app.train import main; main('text_to_image_lora', sys.argv[1:])"
    done = warm("-c", code, *flags, "--report_to=tensorboard", PYTHONPATH=str(ROOT))
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "cannot start: division by zero" in done.stderr and "WANDB_MODE=offline" in done.stderr


def test_a_tracker_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    for name in PACKAGES:
        refused([f"{name} is not installed", f"pip install {name}"], lambda name=name: check_trackers(name))
    refused(["none of them", "pip install tensorboard"], lambda: check_trackers("all"))
    check_trackers(None), check_trackers("none")
    monkeypatch.setattr(trackers, "find_spec", lambda name: name == "wandb")
    check_trackers("wandb"), check_trackers("all")
