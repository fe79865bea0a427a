import os

import pytest
from PIL import Image

PROMPT = "雪地里的两只企鹅"


def assert_one_clear_line(done, code=1):
    assert done.returncode == code, done
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr and done.stderr.startswith("paidiff: ")


def test_draw_writes_a_picture_with_its_settings(paidiff, tiny_folder, tmp_path):
    target = tmp_path / "p.png"
    done = paidiff(
        "draw",
        PROMPT,
        "--negative",
        "模糊",
        "--seed",
        7,
        "--steps",
        3,
        "--guidance",
        5,
        "--size",
        "72x64",
        "--model",
        tiny_folder,
        "-o",
        target,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "72x64" in done.stdout and "seed 7" in done.stdout and done.stdout.count("\n") == 1
    picture = Image.open(target)
    assert picture.size == (72, 64)
    last = "Steps: 3, CFG scale: 5, Seed: 7, Size: 72x64, Model: model"
    # as the WebUI writes it; no key `prompt`, which ComfyUI reads as its graph; the model's name, not where it lies
    assert picture.text == {"parameters": f"{PROMPT}\nNegative prompt: 模糊\n{last}"}
    assert os.listdir(tmp_path) == ["p.png"]  # nothing left of the staging file


def test_the_same_command_twice_and_paidiff_model(warm_paidiff, tiny_folder, tmp_path):
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    for target in (one, two):
        done = warm_paidiff("draw", PROMPT, "--steps", 2, "-o", target, PAIDIFF_MODEL=str(tiny_folder))
        assert done.returncode == 0, done.stderr
    assert one.read_bytes() == two.read_bytes()


def test_doubtful_prompts_draw_with_hints_on_stderr(warm_paidiff, tiny_folder, tmp_path):
    prompt = "猫cat😀变形金刚" + "企鹅" * 150  # more than is read even in parts
    done = warm_paidiff("draw", prompt, "--steps", 1, "--model", tiny_folder, "-o", tmp_path / "p.png")
    assert done.returncode == 0 and (tmp_path / "p.png").is_file()
    for word in ("丢掉了", "😀", "cat", "变形金刚"):
        assert word in done.stderr


REFUSED = [
    ((" ",), "prompt is empty"),
    ((PROMPT, "--size", "100x64"), "96x64"),
    (("猫<lora:porcelain:0.8>",), "--lora"),
    ((PROMPT, "--size", "large"), "WxH"),
    ((PROMPT, "--steps", "0"), "steps"),
    ((PROMPT, "--guidance", "nan"), "guidance"),
    ((PROMPT, "--seed", "-1"), "seed"),
    ((PROMPT, "--model", "no-such"), "mini, artist-large"),
    ((PROMPT, "--lora", "no-such"), "LoRA"),
]


# `paidiff`, which fails as soon as something imports torch: that takes seconds
LIGHTLY = """
import sys
for name in ("torch", "diffusers", "transformers"):
    sys.modules[name] = None
sys.argv = ["paidiff", *{arguments!r}]
from paidiff_app.cli import main
main()
"""


@pytest.mark.parametrize("arguments, words", REFUSED)
def test_refused_input_is_one_line_and_needs_no_torch(run_python, tmp_path, arguments, words):
    done = run_python(LIGHTLY.format(arguments=["draw", *arguments, "-o", str(tmp_path / "p.png")]))
    assert_one_clear_line(done)
    assert words in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["no/such/folder/p.png", "folder.png", "p.jpg", "file.png/p.png"])
def test_an_unwritable_output_is_refused_before_the_model_loads(paidiff, tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.png").write_text("")
    done = paidiff("draw", PROMPT, "--model", "no-such", "-o", tmp_path / name)
    assert_one_clear_line(done)
    assert "no-such" not in done.stderr.replace(str(tmp_path), "")


WRONG = [(), ("draw",), ("draw", PROMPT), ("draw", PROMPT, "--steps", "many", "-o", "p.png"), ("paint",)]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_is_2(paidiff, arguments):
    done = paidiff(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_doctor_says_what_is_missing_and_what_to_do(paidiff, tmp_path):
    done = paidiff("doctor", PAIDIFF_MODEL="no-such")
    assert done.returncode == 1 and done.stderr == ""
    for word in ("torch", "device", "memory", "disk", "font", "✗ 没有找到模型 no-such", "→ 改 PAIDIFF_MODEL"):
        assert word in done.stdout, word


@pytest.mark.parametrize("name", ["draw", "export", "audit", "web", "serve"])
def test_without_a_data_folder_one_line_says_what_to_do(warm_paidiff, tmp_path, name):
    rest = {
        "draw": ("draw", "猫", "-o", tmp_path / "p.png"),
        "export": ("export", "mini", "-o", tmp_path / "out"),
        "audit": ("audit", tmp_path, "--model", "mini"),
    }
    done = warm_paidiff(*rest.get(name, (name, "--port", 0)), PAIDIFF_DATA=str(tmp_path / "none"), PAIDIFF_MODEL="mini")
    starting = name in ("web", "serve") and "loading libraries" in done.stderr  # said at once, before the imports
    assert starting or name not in ("web", "serve")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 + starting, done.stderr
    assert "Traceback" not in done.stderr and ("PAIDIFF_DATA" in done.stderr or name == "audit")


def test_doctor_without_a_data_folder_and_outside_a_checkout(monkeypatch, tmp_path):
    from paidiff_app import doctor

    monkeypatch.setenv("PAIDIFF_DATA", str(tmp_path / "none"))
    monkeypatch.delenv("PAIDIFF_MODEL", raising=False)
    monkeypatch.setattr("paidiff_app.install.CHECKOUT", tmp_path)
    found = [finding for finding in doctor.examine() if finding.fault and "mini" in finding.text]
    assert found and all("git" not in finding.line() and "PAIDIFF_DATA" in finding.advice for finding in found)
    monkeypatch.setattr(doctor, "FONT", tmp_path / "none.otf")
    assert "git" not in doctor._font().advice and "pip install" in doctor._font().advice


def test_doctor_on_old_and_missing_packages(monkeypatch):
    from paidiff_app import doctor

    monkeypatch.setattr(doctor, "version", lambda name: "2.9.1+cu128")
    assert doctor._package("torch").fault and "2.10" in doctor._package("torch").text
    monkeypatch.setattr(doctor, "version", lambda name: "2.10.0")
    assert not doctor._package("torch").fault
    assert doctor._package("transformers").fault is True
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "PACKAGES", ["no-such-package"])
    assert any(finding.fault and "no-such-package" in finding.text for finding in doctor._versions())


def test_doctor_notices_a_missing_font(monkeypatch, tmp_path):
    from paidiff_app import doctor

    assert not doctor._font().fault
    monkeypatch.setattr(doctor, "FONT", tmp_path / "none.otf")
    assert doctor._font().fault


LIGHT = """
import sys, paidiff_lib, paidiff_app.cli
print([m for m in ("torch", "diffusers", "transformers", "matplotlib", "IPython", "numpy", "PIL") if m in sys.modules])
"""


UNTOUCHED = """
import logging, os, sys
before = dict(os.environ), logging.root.level, logging.root.manager.disable, list(sys.path), len(sys.meta_path)
import paidiff_lib
paidiff_lib.__all__, dir(paidiff_lib)
after = dict(os.environ), logging.root.level, logging.root.manager.disable, list(sys.path), len(sys.meta_path)
print(before == after, sorted(name for name in sys.modules if name.startswith("paidiff_lib")))
"""


def test_importing_the_package_is_light_and_changes_nothing(run_python):
    assert run_python(LIGHT).stdout == "[]\n"
    assert run_python(UNTOUCHED).stdout == "True ['paidiff_lib']\n"
