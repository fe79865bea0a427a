"""`paidiff draw` for many pictures: prompts of a file, wildcards, LoRAs with scales, pictures to begin with."""

import os

import numpy as np
import pytest
from PIL import Image

from paidiff_app import drawing
from paidiff_app.prompt_list import name_and_scale, read_prompts
from paidiff_lib.prompts import expand_wildcards

PROMPT = "雪地里的两只企鹅"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("out/porcelain", ("out/porcelain", 1.0)),
        ("out/porcelain:0.8", ("out/porcelain", 0.8)),
        ("a:-1", ("a", -1.0)),
        ("C:\\loras\\x", ("C:\\loras\\x", 1.0)),
        ("C:\\loras\\x:0.4", ("C:\\loras\\x", 0.4)),
        ("C:7", ("C", 7.0)),
        ("a:b", ("a:b", 1.0)),
        (":0.8", (":0.8", 1.0)),
    ],
)
def test_only_a_last_number_is_a_scale(text, expected):
    assert name_and_scale(text) == expected


def test_wildcards_follow_the_seed():
    drawn = [expand_wildcards("{猫|狗|},{草地|{雪地|沙滩}}", seed) for seed in range(40)]
    assert set("".join(drawn)) == set("猫狗草地雪沙滩,") and drawn[5] == expand_wildcards(
        "{猫|狗|},{草地|{雪地|沙滩}}", 5
    )
    assert expand_wildcards("{猫},a|b,{", 1) == "{猫},a|b,{"


def test_a_file_of_prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff猫\r\n\n  狗,草地 \n".encode() + "一只熊猫".encode("gb18030") + b"\n")
    found = read_prompts(path)
    assert [number for number, _ in found] == [1, 3, 4] and [prompt for _, prompt in found][:2] == ["猫", "狗,草地"]
    assert "not UTF-8: 一只熊猫" in str(found[2][1])


def draw(warm_paidiff, folder, *arguments):
    return warm_paidiff("draw", *arguments, "--steps", 1, "--model", folder)


def texts(folder):
    return {name: Image.open(folder / name).text["parameters"] for name in sorted(os.listdir(folder))}


def test_many_pictures_of_a_file_and_a_bad_line(warm_paidiff, tiny_folder, tmp_path, monkeypatch):
    (tmp_path / "p.txt").write_text("猫\n狗<lora:x:1>\n企鹅,{雪地|草地}\n", encoding="utf-8")
    done = draw(
        warm_paidiff, tiny_folder, "--prompts", tmp_path / "p.txt", "-n", 2, "--seed", 7, "-o", tmp_path / "out"
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "paidiff: 第 2 行:" in done.stderr and "line 2" in done.stderr and "<lora:x:1>" in done.stderr
    found = texts(tmp_path / "out")
    assert list(found) == ["0001-7.png", "0002-8.png", "0003-7.png", "0004-8.png"]
    assert found["0001-7.png"].startswith("猫\n") and "Seed: 8" in found["0002-8.png"]
    assert found["0003-7.png"].split("\n")[0] in ("企鹅,雪地", "企鹅,草地")
    assert "4 张图 pictures" in done.stdout.splitlines()[-1] and done.stdout.count("\n") == 5
    before = (tmp_path / "out/0001-7.png").read_bytes()
    again = draw(warm_paidiff, tiny_folder, "猫", "-n", 2, "-o", tmp_path / "out")  # nothing is written over
    assert (
        again.returncode == 0 and "0005-0.png" in again.stdout and (tmp_path / "out/0001-7.png").read_bytes() == before
    )
    alone = draw(warm_paidiff, tiny_folder, "猫", "--seed", 7, "-o", tmp_path / "alone.png")
    assert alone.returncode == 0
    assert (
        np.abs(np.asarray(Image.open(tmp_path / "alone.png"), int) - Image.open(tmp_path / "out/0001-7.png")).max() <= 2
    )


def test_loras_with_scales_and_words(warm_paidiff, tiny_folder, loras, tmp_path):
    pictures = {}
    for scale in (0, 1):
        lora = ("--lora", f"{loras / 'porcelain'}:{scale}", "--lora", f"{loras / 'porcelain'}:{scale / 2}")
        word = ("--embedding", loras / "kitten")
        done = draw(
            warm_paidiff, tiny_folder, "<kitten>", *lora, *word, "--sampler", "Euler", "-o", tmp_path / f"{scale}.png"
        )
        assert done.returncode == 0, done.stderr
        pictures[scale] = Image.open(tmp_path / f"{scale}.png")
    assert not np.array_equal(pictures[0], pictures[1])
    text = pictures[1].text["parameters"]
    assert text.startswith("<kitten> <lora:porcelain:1> <lora:porcelain:0.5>\n")
    assert "Sampler: Euler" in text and "TI: kitten" in text and str(loras) not in text


def test_pictures_to_begin_with(warm_paidiff, tiny_folder, tmp_path):
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 255, (64, 64, 3), np.uint8))
    noise.save(tmp_path / "in.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 64))
    mask.save(tmp_path / "mask.png")
    init = ("--init", tmp_path / "in.png")
    done = warm_paidiff(
        "draw", "猫", *init, "--strength", 0.5, "--steps", 4, "--model", tiny_folder, "-o", tmp_path / "1.png"
    )
    assert done.returncode == 0, done.stderr
    text = Image.open(tmp_path / "1.png").text["parameters"]
    assert "Task: img2img" in text and "Denoising strength: 0.5" in text
    done = draw(warm_paidiff, tiny_folder, "猫", *init, "--mask", tmp_path / "mask.png", "-o", tmp_path / "2.png")
    assert done.returncode == 0, done.stderr
    left = np.asarray(Image.open(tmp_path / "2.png"))[:, :32]
    assert np.array_equal(left, np.asarray(noise)[:, :32])


def test_along_edges(warm_paidiff, skeletons, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "in.png")
    done = draw(warm_paidiff, skeletons / "artist", "猫", "--control", tmp_path / "in.png", "-o", tmp_path / "p.png")
    assert done.returncode == 0 and "Task: controlnet" in Image.open(tmp_path / "p.png").text["parameters"], done.stderr


def test_hires_and_a_square_size(warm_paidiff, tiny_folder, tmp_path):
    done = warm_paidiff(
        "draw", "猫", "--size", 128, "--hires", "--steps", 4, "--model", tiny_folder, "-o", tmp_path / "p.png"
    )
    assert done.returncode == 0 and "128x128" in done.stdout, done.stderr
    text = Image.open(tmp_path / "p.png").text["parameters"]
    assert "Hires resize: 128x128" in text and "Denoising strength: 0.3" in text


REFUSED = [
    (("猫", "--mask", "{in}"), "--mask"),
    (("猫", "--init", "{in}", "--control", "{in}"), "--control"),
    (("猫", "--strength", "0.5"), "--init"),
    (("猫", "--init", "{in}", "--strength", "2"), "strength"),
    (("猫", "--init", "no-such.png"), "no-such.png"),
    (("猫", "--hires"), "size"),
    (("猫", "--sampler", "Euler b"), "Euler a"),
    (("猫", "--embedding", "no-such"), "no-such"),
    (("--prompts", "no-such.txt"), "no-such.txt"),
    (("--prompts", "{empty}"), "no prompts"),
    (("猫", "-n", "0"), "n must be"),
    (("猫", "-n", "2", "-o", "{in}"), "folder"),
]


@pytest.mark.parametrize("arguments, words", REFUSED)
def test_refused_before_the_model_loads(warm_paidiff, tmp_path, arguments, words):
    places = {"in": tmp_path / "in.png", "empty": tmp_path / "empty.txt"}
    Image.new("RGB", (64, 64)).save(places["in"])
    places["empty"].write_text("\n\n")
    given = [argument.format(**places) for argument in arguments]
    done = warm_paidiff("draw", "-o", tmp_path / "p.png", *given, "--model", "no-such")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    assert "no model" not in done.stderr and not (tmp_path / "p.png").exists()


@pytest.mark.parametrize("arguments", [(), ("猫", "--prompts", "p.txt")])
def test_a_prompt_or_a_file_of_them(warm_paidiff, tmp_path, arguments):
    done = warm_paidiff("draw", *arguments, "-o", tmp_path / "p.png")
    assert done.returncode == 2 and "--prompts FILE" in done.stderr


def test_every_step_is_told_as_a_share_of_an_image(tiny):
    from paidiff_app.request import GenerationRequest

    for extra in ({}, {"hires": True, "size": (128, 128)}):
        shares, request = [], GenerationRequest("猫", steps=4, **extra)
        drawn = [*drawing.draw_all(tiny, request, [request] * 2, shares.append)]
        assert len(drawn) == 2 and sum(shares) == pytest.approx(2) and len(shares) == (5 if extra else 4)


def test_a_sweep_is_one_picture_with_names(warm_paidiff, tiny_folder, tmp_path):
    lists = ("--guidance", "1,3,7.5", "--seed", "1,2", "--steps", "1")
    done = warm_paidiff("sweep", "猫", *lists, "--model", tiny_folder, "-o", tmp_path / "s.png")
    assert done.returncode == 0 and Image.open(tmp_path / "s.png").size > (2 * 64, 3 * 64), done.stderr
    done = warm_paidiff(
        "sweep", "猫", "狗", "--size", "64,128x64", "--steps", 1, "--model", tiny_folder, "-o", tmp_path / "t.png"
    )
    assert done.returncode == 0 and (tmp_path / "t.png").is_file(), done.stderr


@pytest.mark.parametrize("wrong, words", [("1,x", "1,3,7"), ("1;2", "1,3,7")])
def test_a_list_that_is_none_is_refused_before_the_model_loads(warm_paidiff, tmp_path, wrong, words):
    done = warm_paidiff("sweep", "猫", "--seed", wrong, "--model", "no-such", "-o", tmp_path / "s.png")
    assert done.returncode == 1 and words in done.stderr and "no-such" not in done.stderr
