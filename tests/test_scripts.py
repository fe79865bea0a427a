"""The article's commands, flag by flag, on the tiny model; only steps, sizes and learning rates are scaled."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

import paidiff_lib
from paidiff_app import train_cli
from paidiff_app.train import save_lora
from paidiff_lib.methods.controlnet import draw_along
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.methods.textual_inversion import load_embedding

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = [str(Path(sys.executable).with_name("accelerate")), "launch", "--num_processes=1"]
LORA = ["--resolution=64", "--center_crop", "--random_flip", "--train_batch_size=1", "--gradient_accumulation_steps=4"]
LORA += [
    "--max_train_steps=4",
    "--learning_rate=1e-01",
    "--max_grad_norm=1",
    "--lr_scheduler=cosine",
    "--lr_warmup_steps=0",
]
WORD = ["--learnable_property=object", "--placeholder_token=<小奶猫>", "--initializer_token=猫", "--resolution=64"]
WORD += ["--train_batch_size=1", "--gradient_accumulation_steps=4", "--max_train_steps=4", "--learning_rate=5.0e-02"]
WORD += ["--scale_lr", "--lr_scheduler=constant", "--lr_warmup_steps=0"]
FULL = [
    "--use_ema",
    "--resolution=64",
    "--center_crop",
    "--random_flip",
    "--train_batch_size=1",
    "--gradient_accumulation_steps=4",
]
FULL += [
    "--gradient_checkpointing",
    "--max_train_steps=4",
    "--learning_rate=1e-02",
    "--max_grad_norm=1",
    "--lr_scheduler=constant",
]


@pytest.fixture
def script(warm):
    """script(name, flags, ...): the finished process of a script. launcher: what starts it, in a process of its own."""

    def run(name, *flags, launcher=(), **environment):
        command = [str(ROOT / "scripts" / f"{name}.py"), *map(str, flags)]
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        if not launcher:
            return warm(*command, **environment)
        return subprocess.run([*launcher, *command], capture_output=True, text=True, env={**os.environ, **environment})

    return run


def picture(pipe, prompt):
    return paidiff_lib.draw(pipe, prompt, steps=2).tobytes()


def opened(done):
    """The pipeline that the last two lines of a finished script open: what its user pastes."""
    names: dict = {}
    exec("\n".join(done.stdout.strip().splitlines()[-2:]), names)
    return names["pipe"]


@pytest.fixture
def places(tiny_folder, tmp_path):
    """The flags that name the model, the pictures and the output."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = []
    for i, colour in enumerate(["red", "blue", "green"]):
        Image.new("RGB", (70, 64), colour).save(folder / f"{i}.png")
        rows.append(json.dumps({"file_name": f"{i}.png", "text": "一只猫"}, ensure_ascii=False))
    (folder / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    out = tmp_path / "out"
    return out, ["--pretrained_model_name_or_path", tiny_folder, "--train_data_dir", folder, "--output_dir", out]


def test_lora_as_in_the_article(script, places, tiny_folder):
    out, flags = places
    extra = [
        "--rank=2",
        "--checkpointing_steps=2",
        "--validation_prompt=猫",
        "--validation_steps=3",
        "--seed=1",
        "--also_bin",
    ]
    done = script("train_text_to_image_lora", *flags, *LORA, *extra, launcher=LAUNCH)
    assert done.returncode == 0, done.stderr
    assert f"written to {out}" in done.stdout and "4/4" in done.stderr
    assert sorted(p.name for p in (out / "validation").glob("*.png")) == ["step-3.png", "step-4.png"]
    before, drawn = picture(paidiff_lib.load(tiny_folder), "一只猫"), {}
    for folder in (out, out / "checkpoint-2", out / "checkpoint-4"):  # what the article's snippet is after
        pipe = paidiff_lib.load(tiny_folder)
        pipe.load_lora_weights(str(folder))
        drawn[folder.name] = picture(pipe, "一只猫")
    assert len({before, *drawn.values()}) == 3 and drawn["out"] == drawn["checkpoint-4"] == picture(
        opened(done), "一只猫"
    )
    for file in (
        out / "checkpoint-4/pytorch_model.bin",
        out / "pai-webui/pytorch_lora_weights.bin",
    ):  # the article's own
        assert all(".processor.to_" in key for key in torch.load(file, weights_only=True))
        paidiff_lib.load_lora(pipe := paidiff_lib.load(tiny_folder), file)
        assert picture(pipe, "一只猫") == drawn["out"]
    again = script("train_text_to_image_lora", *flags, *LORA, "--max_train_steps=6", *extra[:1], *extra[-2:])
    assert again.returncode == 0 and (out / "checkpoint-6").is_dir(), again.stderr  # it went on from step 4


def test_a_wide_lora_stands_beside_the_convolutions(script, places):
    out, flags = places
    for wide in ([], ["--wide"]):
        target = out / str(len(wide))
        done = script("train_text_to_image_lora", *flags[:-1], target, "--resolution=64", "--max_train_steps=1", *wide)
        assert done.returncode == 0, done.stderr
        with safe_open(target / "pytorch_lora_weights.safetensors", "pt") as file:
            assert any("conv1" in key for key in file.keys()) == bool(wide)


def test_what_the_old_layout_cannot_hold_is_refused_before_training(script, places):
    _, flags = places
    instances = ["--instance_data_dir" if flag == "--train_data_dir" else flag for flag in flags]
    for name, given in (
        ("train_text_to_image_lora", [*flags, "--wide"]),
        ("train_text_to_image_lora", [*flags, "--train_text_encoder"]),
        ("train_dreambooth", [*instances, "--rank=2"]),
    ):
        refused = script(name, *given, "--also_bin")
        assert refused.returncode == 1 and "takes a LoRA of the UNet's attention only" in refused.stderr


def test_textual_inversion_as_in_the_article(script, places, tiny_folder):
    out, flags = places
    done = script("textual_inversion", *flags, *WORD)
    assert done.returncode == 0, done.stderr
    pipe, plain = opened(done), paidiff_lib.load(tiny_folder)
    for place in ("草地", "沙发"):
        assert picture(pipe, f"一只<小奶猫>在{place}上") != picture(plain, f"一只猫在{place}上")
        assert picture(pipe, f"一只猫在{place}上") == picture(plain, f"一只猫在{place}上")
    load_embedding(plain, out)
    assert picture(plain, "一只<小奶猫>在草地上") == picture(pipe, "一只<小奶猫>在草地上")
    assert json.loads((out / "checkpoint-4/run.json").read_text())["settings"]["learning_rate"] == pytest.approx(
        0.2
    )  # --scale_lr


def test_full_fine_tuning_as_in_the_tutorial(script, places, tiny_folder):
    out, flags = places
    done = script("train_text_to_image", *flags, *FULL)
    assert done.returncode == 0, done.stderr
    before = picture(paidiff_lib.load(tiny_folder), "一只猫")
    assert picture(opened(done), "一只猫") != before
    if not torch.cuda.is_available():
        half = script("train_text_to_image", *flags[:-1], out / "half", *FULL, "--mixed_precision=fp16")
        assert half.returncode == 0 and "single precision in its place" in half.stdout, half.stderr


@pytest.mark.parametrize("rank", [None, 2])
def test_dreambooth(script, places, tiny_folder, rank, tmp_path):
    out, (*flags, _, _) = places
    flags = [*flags[:2], "--instance_data_dir", flags[3], "--output_dir", out, *(["--rank", rank] if rank else [])]
    flags += ["--resolution=64", "--max_train_steps=2", "--learning_rate=1e-2", "--train_batch_size=2"]
    flags += [
        "--instance_prompt=一只红猫",
        "--with_prior_preservation",
        "--class_prompt=一只猫",
        "--num_class_images=2",
        "--train_text_encoder",
    ]
    assert "needs --class_prompt, --class_data_dir" in script("train_dreambooth", *flags).stderr
    done = script("train_dreambooth", *flags, "--class_data_dir", tmp_path / "class")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "class").glob("*.png"))) == 2
    assert picture(opened(done), "一只红猫") != picture(paidiff_lib.load(tiny_folder), "一只红猫")


def test_controlnet(script, places, tiny_folder, tmp_path):
    out, flags = places
    few = ["--resolution=64", "--max_train_steps=2", "--learning_rate=1e-2", "--validation_prompt=猫"]
    done = script("train_controlnet", *flags, *few)
    assert done.returncode == 0, done.stderr
    assert (out / "validation/step-2.png").is_file()
    edges = Image.new("RGB", (64, 64), "white")
    pipe = opened(done)
    drawn = [draw_along(pipe, "一只猫", edges, steps=2, scale=scale).tobytes() for scale in (0.0, 1.0)]
    assert drawn[0] != drawn[1]
    again = [*flags[:-1], tmp_path / "again", "--controlnet_model_name_or_path", out]
    assert script("train_controlnet", *again, *few).returncode == 0


AT_EXIT = """
import atexit, runpy, sys, torch
atexit.register(lambda: print("in a group" if torch.distributed.is_initialized() else "parted", flush=True))
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_two_processes_share_a_run_and_part(script, places, tmp_path):
    out, flags = places
    (tmp_path / "at_exit.py").write_text(AT_EXIT)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        f"--master_port={port}",
        tmp_path / "at_exit.py",
    ]
    done = script(
        "train_text_to_image_lora", *flags, *LORA, "--max_train_steps=2", launcher=launcher, CUDA_VISIBLE_DEVICES=""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to") == 1
    assert done.stdout.count("parted") == 2  # a process that ends in its group may abort
    assert json.loads((out / "checkpoint-2/run.json").read_text())["processes"] == 2


def listen():
    """For a child: a shell starts what runs in the background with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_same_command_goes_on(places, tmp_path, number, code):
    out, flags = places
    command = [sys.executable, str(ROOT / "scripts/train_text_to_image_lora.py"), *map(str, flags), *LORA]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command += ["--max_train_steps=100000", "--checkpointing_steps=3"]
    printed = tmp_path / "printed.txt"
    with open(printed, "w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment, preexec_fn=listen)
    try:
        latest = time.monotonic() + 300  # of a process that does nothing at all
        while not list(out.glob("checkpoint-*")) and process.poll() is None and time.monotonic() < latest:
            time.sleep(0.05)
        assert list(out.glob("checkpoint-*")), printed.read_text(encoding="utf-8")
        process.send_signal(number)
        assert process.wait(300) == code, printed.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()
    said = printed.read_text(encoding="utf-8")
    assert "run it again to go on" in said and "Traceback" not in said


def test_as_a_module_under_the_same_five_names(warm, places, tiny_folder):
    out, flags = places
    few = ["--resolution=64", "--max_train_steps=1", "--rank=1"]
    run = lambda *arguments: warm("-m", "paidiff_app.train", *map(str, arguments), PYTHONPATH=str(ROOT))
    done = run("text_to_image_lora", *flags, *few)
    assert done.returncode == 0, done.stderr
    assert (out / "pytorch_lora_weights.safetensors").is_file()
    for script in (ROOT / "scripts").glob("*.py"):
        help_text = run(script.stem, "--help")
        assert help_text.returncode == 0 and "学习率" in help_text.stdout and "learning rate" in help_text.stdout
    refused = run("text_to_image_lara", *flags)
    assert refused.returncode == 2 and "did you mean: text_to_image_lora" in refused.stderr
    assert run().returncode == 2 and run("--help").returncode == 0 and "dreambooth" in run("--help").stdout


def test_garbage_is_collected_while_training_but_not_while_importing(places, monkeypatch):
    out, flags = places
    seen, disable = [], gc.disable
    monkeypatch.setattr(gc, "disable", lambda: (disable(), seen.append(gc.isenabled())))
    monkeypatch.setattr(sys, "argv", ["script", *map(str, flags), *LORA])
    before = signal.getsignal(signal.SIGTERM)
    try:
        train_cli.main(train_cli.Flags, lambda pipe, flags: (seen.append(gc.isenabled()), LoRA(pipe, 2))[1], save_lora)
    finally:
        signal.signal(signal.SIGTERM, before)
        gc.unfreeze()
    assert seen == [False, True] and (out / "pytorch_lora_weights.safetensors").is_file()


SCRIPTS = [
    "train_text_to_image_lora",
    "textual_inversion",
    "train_text_to_image",
    "train_controlnet",
    "train_dreambooth",
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_refusals(script, places, name, tmp_path):
    out, flags = places
    refused = script(name, *flags, "--train_data_dir", tmp_path / "no")
    assert refused.returncode == 1 and "no such folder" in refused.stderr and "Traceback" not in refused.stderr
    assert script(name, *flags, "--no_such_flag=1").returncode == 2
    help_text = script(name, "--help")
    assert help_text.returncode == 0 and "学习率" in help_text.stdout and "(default: 0.0001)" in help_text.stdout
