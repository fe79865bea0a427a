"""Every flag of the scripts that people copy commands from works, says that it has no effect, or is refused."""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from paidiff_app.flags import NO_EFFECT, PLAIN, REFUSED, sort_out
from paidiff_app.train import COMMANDS
from paidiff_lib.errors import PaidiffError, Refused

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import flags_page  # noqa: E402

ALL = [(command, name) for command, names in flags_page.UPSTREAM.items() for name in names]


@pytest.mark.parametrize("command, name", ALL)
def test_every_flag_of_the_scripts_has_a_state(command, name):
    kind, note = flags_page.state(command, name)
    assert kind in flags_page.STATES and re.search("[\u4e00-\u9fff].* · ", note)
    ours = {one.name for one in fields(COMMANDS[command][0])}
    assert (kind == "works") == (name in ours | {"instance_data_dir"})


def test_a_flag_is_of_one_kind_and_somebodys():
    upstream = {name for _, name in ALL}
    assert not NO_EFFECT.keys() & REFUSED.keys() and NO_EFFECT.keys() | REFUSED.keys() <= upstream
    assert PLAIN.keys() <= REFUSED.keys() and len(ALL) > 250
    works = {name for _, flags in COMMANDS.items() for name in {one.name for one in fields(flags[0])}}
    assert not works & (NO_EFFECT.keys() | REFUSED.keys())


@pytest.mark.parametrize("name", flags_page.HEADS)
def test_the_page_is_what_the_code_says(name):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == flags_page.page(name)


def test_no_effect_is_said(capsys):
    assert sort_out(["--use_8bit_adam", "--dataloader_num_workers=4", "--local-rank", "-1"], []) == []
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and all("no effect here" in line and "没有作用" in line for line in said)


def test_refusals_say_what_to_use(capsys):
    for name in REFUSED:
        with pytest.raises(Refused, match=f"--{name} .*is not supported: "):
            sort_out([f"--{name}", "other"], [])
    for name, value in PLAIN.items():
        assert sort_out([f"--{name}={value}"], []) == []
    assert sort_out(["--input_perturbation", "0.0"], []) == []


def test_an_unknown_flag_is_answered_with_the_nearest():
    assert sort_out(["--rnk=2"], ["rank"]) == ["--rnk (是不是 did you mean: --rank)"]
    assert sort_out(["--zzz", "1", "--use_8bit_adm"], ["rank"]) == [
        "--zzz",
        "--use_8bit_adm (是不是 did you mean: --use_8bit_adam)",
    ]


def flags_of(name="text_to_image_lora", **settings):
    return COMMANDS[name][0](**{"train_data_dir": "a", "output_dir": "b", **settings})


WRONG = [
    ("text_to_image_lora", dict(rank=0), "rank"),
    ("text_to_image_lora", dict(alpha=0.0), "alpha"),
    ("text_to_image_lora", dict(alpha=float("nan")), "alpha"),
    ("text_to_image_lora", dict(resolution=100), "multiple of 8"),
    ("text_to_image_lora", dict(resolution=0), "multiple of 8"),
    ("text_to_image_lora", dict(seed=-1), "seed"),
    ("text_to_image_lora", dict(learning_rate=0.0), "learning_rate"),
    ("text_to_image_lora", dict(report_to="wandbb"), "did you mean: wandb"),
    ("text_to_image_lora", dict(report_to="swanlab"), "pip install swanlab"),
    ("text_to_image_lora", dict(num_train_epochs=0), "num_train_epochs"),
    ("text_to_image_lora", dict(max_train_samples=0), "max_train_samples"),
    ("text_to_image_lora", dict(adam_beta1=1.0), "adam_beta1"),
    ("text_to_image_lora", dict(adam_epsilon=-1.0), "adam_epsilon"),
    ("text_to_image_lora", dict(noise_offset=float("nan")), "noise_offset"),
    ("text_to_image_lora", dict(prediction_type="sample"), "v_prediction"),
    ("text_to_image_lora", dict(train_data_dir=None), "--train_data_dir"),
    ("text_to_image_lora", dict(train_data_dir=None, dataset_name="someone/pictures"), "download it"),
    ("textual_inversion", dict(num_vectors=0), "num_vectors"),
    ("text_to_image_lora", dict(dataset_name="."), "two places"),
    ("text_to_image_lora", dict(snr_gamma=0.0), "snr_gamma"),
    ("text_to_image_lora", dict(alpha=1e9), "alpha"),
    ("text_to_image_lora", dict(resolution=8 * 10**6), "resolution"),
    ("text_to_image_lora", dict(max_train_samples=10**40), "max_train_samples"),
    *[("dreambooth", dict(lora_dropout=value), "lora_dropout") for value in (-0.1, 1.0, float("nan"))],
    ("dreambooth", dict(prior_loss_weight=1e300), "prior_loss_weight"),
    ("dreambooth", dict(num_class_images=0), "num_class_images"),
    ("dreambooth", dict(prior_loss_weight=0.0), "prior_loss_weight"),
]


@pytest.mark.parametrize("command, settings, words", WRONG)
def test_what_cannot_work_is_refused(command, settings, words):
    with pytest.raises(PaidiffError, match=words) as refused:
        flags_of(command, **settings).check()
    assert "\n" not in str(refused.value)


BESIDE = [
    (dict(num_validation_images=2, validation_epochs=2, validation_steps=7), "without --validation_prompt"),
    (dict(logging_dir="x", tracker_project_name="y", report_to="none"), "without --report_to"),
    (dict(num_train_epochs=3, max_train_steps=2), "beside --max_train_steps"),
    (dict(validation_prompts=["a"], validation_prompt="b"), "beside --validation_prompts"),
    (dict(class_prompt="c", class_data_dir="d", num_class_images=3, prior_loss_weight=0.5), "with_prior_preservation"),
    (dict(lora_dropout=0.1), "without --rank"),
]


@pytest.mark.parametrize("settings, why", BESIDE)
def test_flags_that_need_another_say_so(settings, why, capsys):
    flags = flags_of("dreambooth", **settings)
    flags.say_without_effect()
    said = capsys.readouterr().out.splitlines()
    kept = {"report_to", "max_train_steps", "validation_prompts"}
    assert [line.split(":")[0] for line in said] == [f"--{name}" for name in settings if name not in kept]
    assert all(why in line and "没有作用" in line and "no effect" in line for line in said)


def test_flags_that_have_what_they_need_say_nothing(capsys):
    settings = dict(num_validation_images=2, validation_prompt="b", lora_dropout=0.1, rank=2, num_train_epochs=2)
    flags_of("dreambooth", **settings, with_prior_preservation=True, class_prompt="c").say_without_effect()
    assert capsys.readouterr().out == ""


def test_settings_are_checked_before_torch_is_imported(tmp_path):
    import subprocess

    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); from paidiff_app.train import main; "
    code += f"main('text_to_image_lora', ['--train_data_dir', {str(tmp_path)!r}, '--output_dir', 'out', '--rank', '0'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and done.stdout == "False\n" and done.stderr.count("\n") == 1 and "rank" in done.stderr


def test_epochs_in_steps(capsys):
    flags = flags_of(num_train_epochs=3, train_batch_size=2, gradient_accumulation_steps=2, validation_epochs=2)
    flags.plan(range(10))
    assert (flags.max_train_steps, flags.validation_steps) == (9, 6) and flags.settings()["steps"] == 9
    assert "9 步" in capsys.readouterr().out
    first = flags_of(num_train_epochs=3, max_train_steps=2)
    first.plan(range(10))
    assert first.settings()["steps"] == 2 and flags_of().settings()["steps"] == 1000
    words = flags_of("textual_inversion", num_train_epochs=1, repeats=100)
    words.plan(range(5))
    assert words.max_train_steps == 500


def test_resume_by_any_of_its_names():
    for word, meant in {
        "latest": True,
        "True": True,
        "none": False,
        "out/a/checkpoint-2": "out/a/checkpoint-2",
    }.items():
        assert flags_of(resume_from_checkpoint=word).settings()["resume"] == meant


@pytest.fixture
def pictures(tmp_path):
    """PAI's layout: train/metadata.jsonl."""
    folder = tmp_path / "pictures/train"
    folder.mkdir(parents=True)
    rows = []
    for i, colour in enumerate(["red", "blue", "green"]):
        Image.new("RGB", (70, 64), colour).save(folder / f"{i}.jpg")
        rows.append(json.dumps({"file_name": f"{i}.jpg", "text": "一只猫"}, ensure_ascii=False))
    (folder / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder.parent


# As printed by PAI (alibaba/EasyNLP, diffusion/README.md; the article's LoRA command is the same) and by the article,
# but for the model, the places, the size (512) and the steps.
PRINTED = {
    "train_text_to_image": "--use_ema --resolution=128 --center_crop --random_flip --train_batch_size=1 "
    "--gradient_accumulation_steps=4 --gradient_checkpointing --mixed_precision=fp16 --learning_rate=1e-05 "
    "--max_grad_norm=1 --lr_scheduler=constant --lr_warmup_steps=0",
    "train_text_to_image_lora": "--resolution=128 --center_crop --random_flip --train_batch_size=1 "
    "--gradient_accumulation_steps=4 --learning_rate=1e-04 --max_grad_norm=1 --lr_scheduler=cosine --lr_warmup_steps=0",
    "textual_inversion": "--learnable_property=object --placeholder_token=<小奶猫> --initializer_token=猫 --resolution=128 "
    "--train_batch_size=1 --gradient_accumulation_steps=4 --learning_rate=5.0e-04 --scale_lr --lr_scheduler=constant "
    "--lr_warmup_steps=0",
}


@pytest.mark.parametrize("name", PRINTED)
def test_pais_own_commands_run_as_printed(warm, pictures, skeletons, tmp_path, name):
    out, model = tmp_path / "out", skeletons / "artist"
    places = ["--pretrained_model_name_or_path", model, "--train_data_dir", pictures, "--output_dir", out]
    script = ROOT / f"scripts/{name}.py"
    done = warm(script, *places, *PRINTED[name].split(), "--max_train_steps=1", PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "written to" in done.stdout and (out / "checkpoint-1/run.json").is_file()
    assert "no effect" not in done.stdout


def test_the_flags_of_a_tutorial_act(warm, pictures, tiny_folder, tmp_path):
    out = tmp_path / "out"
    (out / "validation").mkdir(parents=True)
    (out / "validation/step-2.png").write_text("mine")
    for step in (1, 500):
        (out / f"checkpoint-{step}").mkdir()
        (out / f"checkpoint-{step}/pytorch_model.bin").write_text("of another trainer")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    flags = ["--resolution=64", "--num_train_epochs=1", "--max_train_samples=2", "--validation_prompt=猫", "--rank=1"]
    flags += [
        "--num_validation_images=2",
        "--validation_epochs=1",
        "--noise_offset=0.1",
        "--adam_beta1=0.8",
        "--allow_tf32",
    ]
    flags += [
        "--image_column=image",
        "--caption_column=text",
        "--report_to=none",
        "--use_8bit_adam",
        "--lr_num_cycles=2",
    ]
    flags += ["--train_data_dir", pictures, "--output_dir", out, "--pretrained_model_name_or_path", tiny_folder]
    script = ROOT / "scripts/train_text_to_image_lora.py"
    done = warm(script, *flags, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "2 of 3 pictures used" in done.stdout and "no effect here" in done.stdout and "checkpoint-500" in done.stdout
    assert {path.name for path in (out / "validation").glob("*.png")} == {
        "step-2.png",
        "step-2-new1.png",
        "step-2-2.png",
    }
    pair = [(out / "validation" / name).read_bytes() for name in ("step-2-new1.png", "step-2-2.png")]
    assert pair[0] != pair[1]
    assert before.items() <= {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}.items()
    settings = json.loads((out / "checkpoint-2/run.json").read_text())["settings"]
    assert (settings["noise_offset"], settings["adam_beta1"], settings["lr_cycles"]) == (0.1, 0.8, 2)
    (out / "checkpoint-4").mkdir()
    refused = warm(script, *flags, "--max_train_steps=4", PYTHONPATH=str(ROOT))
    assert refused.returncode == 1 and "checkpoint-4" in refused.stderr and "choose another" in refused.stderr
    (out / "checkpoint-4").rmdir()
    (out / "pytorch_lora_weights.safetensors").write_bytes(b"of another trainer")
    refused = warm(script, *flags, PYTHONPATH=str(ROOT))
    assert refused.returncode == 1 and "pytorch_lora_weights" in refused.stderr
