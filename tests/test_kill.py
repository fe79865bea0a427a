"""A few kills here; `python tests/kill_resume.py MODEL PICTURES` does twenty."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).with_name("kill_resume.py")


@pytest.mark.parametrize("method", ["lora", "textual_inversion", "full", "dreambooth", "controlnet"])
def test_killed_again_and_again_it_ends_with_the_same_weights(tiny_folder, tmp_path, method):
    for i, colour in enumerate(["red", "blue", "green"]):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text("一只{}在雪地", encoding="utf-8")
    options = ["--kills", "2", "--steps", "8", "--method", method]
    command = [sys.executable, str(SCRIPT), str(tiny_folder), str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "1 kills in a save, 1 elsewhere" in done.stdout, done.stderr


def test_either_of_two_machines_killed_ends_the_other_and_both_go_on(tiny_folder, tmp_path):
    for i, colour in enumerate(["red", "blue", "green", "white"]):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text("一只猫", encoding="utf-8")
    script = SCRIPT.with_name("kill_node.py")
    command = [sys.executable, str(script), str(tiny_folder), str(tmp_path), "--kills", "2", "--steps", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and "2 kills: nobody hangs" in done.stdout, done.stderr
