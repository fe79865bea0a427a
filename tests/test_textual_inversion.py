import random
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import paidiff_lib
from paidiff_lib import PaidiffError
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.files import LISTING
from paidiff_lib.generate import GUIDANCE
from paidiff_lib.methods.textual_inversion import OBJECT, STYLE, TextualInversion, load_embedding
from paidiff_lib.training.api import train

PROMPT = "一只<小奶猫>在草地上"


def picture(pipe, prompt=PROMPT):
    return paidiff_lib.draw(pipe, prompt, steps=2).tobytes()


def ids(pipe, prompt):
    """The ids that the text encoder gets."""
    return pipe.tokenizer(pipe.maybe_convert_prompt(prompt, pipe.tokenizer), add_special_tokens=False)["input_ids"]


def learnt(pipe, **shape):
    """A word that has been taught something, every vector another."""
    word = TextualInversion(pipe, **shape)
    torch.manual_seed(4)
    word.vectors.data.normal_()
    word.after_step()
    return word


@pytest.fixture
def kitten(tmp_path):
    folder = tmp_path / "kitten"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (64, 64), (200, 20 * i, 90)).save(folder / f"{i}.png")
    return CaptionFolder(folder, captions=False)


@pytest.mark.parametrize("token", ["<小奶猫>", "<MyCat>", "<cat-toy>", "小奶猫"])
@pytest.mark.parametrize("vectors", [1, 3])
def test_every_vector_is_in_the_prompt(tiny, token, vectors):
    word = learnt(tiny, token=token, vectors=vectors)
    size = len(tiny.tokenizer)
    assert word.ids == list(range(size - vectors, size))
    for prompt in (f"一只{token}在", f"一只 {token} 在"):
        assert [i for i in ids(tiny, prompt) if i >= size - vectors] == word.ids
    before = picture(tiny, f"一只{token}在")
    word.vectors.data[-1] *= -1  # the last vector counts
    word.after_step()
    assert picture(tiny, f"一只{token}在") != before


def test_it_starts_as_its_initializer_and_disturbs_nothing(tiny):
    cat, dog = picture(tiny, "一只猫在草地上"), picture(tiny, "一只狗")
    TextualInversion(tiny, "<小奶猫>", "猫")
    assert picture(tiny) == picture(tiny, "一只猫在草地上") == cat and picture(tiny, "一只狗") == dog


def test_training_changes_the_word_and_nothing_else(tiny, kitten):
    cat, before = picture(tiny, "一只猫在草地上"), tiny.text_encoder.state_dict()
    before = {name: weight.clone() for name, weight in before.items()}
    word = TextualInversion(tiny, "<小奶猫>", "猫", vectors=2)
    list(train(word, kitten, steps=4, learning_rate=5e-2, caption_dropout=0.5))
    assert picture(tiny, "一只猫在草地上") == cat != picture(tiny)
    after = tiny.text_encoder.state_dict()
    assert all(torch.equal(after[name][: len(weight)], weight) for name, weight in before.items())
    assert not torch.equal(word.vectors[0], word.vectors[1])


def test_exact_resume(tiny_folder, kitten, tmp_path):
    ends = []
    for stops in ([None], [3, None]):
        for stop in stops:
            word = TextualInversion(paidiff_lib.load(tiny_folder), vectors=2)
            settings = {"batch_size": 2, "ema": 0.9, "output": tmp_path / str(len(stops))}
            for step in train(word, kitten, steps=6, learning_rate=1e-2, **settings):
                if step.index == stop:
                    break
        ends.append(word.vectors.detach().clone())
    assert torch.equal(*ends)


def test_captions(tiny):
    word = TextualInversion(tiny)
    assert word.caption("一只{}在草地上") == word.caption(PROMPT) == PROMPT
    random.seed(0)
    assert {word.caption("") for _ in range(200)} == {t.format("<小奶猫>") for t in OBJECT}
    style = TextualInversion(tiny, "<青花>", learnable="style")
    assert {style.caption("不相干") for _ in range(200)} == {t.format("<青花>") for t in STYLE}


@pytest.mark.parametrize("vectors", [1, 3])
def test_the_small_file(tiny, tiny_folder, tmp_path, vectors):
    learnt(tiny, vectors=vectors).save(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"learned_embeds.safetensors", LISTING}
    assert load_file(tmp_path / "learned_embeds.safetensors")["<小奶猫>"].shape == (vectors, 16)
    fresh = paidiff_lib.load(tiny_folder)
    assert load_embedding(fresh, tmp_path) == "<小奶猫>" and picture(fresh) == picture(tiny)
    renamed = paidiff_lib.load(tiny_folder)
    load_embedding(renamed, tmp_path, token="<Cat>")
    assert picture(renamed, "一只<Cat>在草地上") == picture(tiny)


def test_plain_diffusers_loads_the_small_file(tiny, tiny_folder, tmp_path):
    learnt(tiny).save(tmp_path)
    fresh = paidiff_lib.load(tiny_folder)
    fresh.load_textual_inversion(str(tmp_path))
    assert picture(fresh) == picture(tiny)


PLAIN = """
import sys, torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1], local_files_only=True)
pipe.set_progress_bar_config(disable=True)
out = pipe(sys.argv[3], num_inference_steps=2, guidance_scale=float(sys.argv[4]), generator=[torch.Generator().manual_seed(0)]).images[0]
out.save(sys.argv[2])
assert not [m for m in sys.modules if m.startswith("paidiff")]
"""


@pytest.mark.parametrize("vectors", [1, 2])
def test_plain_diffusers_opens_the_whole_model(tiny, tmp_path, vectors):
    learnt(tiny, vectors=vectors).save_model(tmp_path / "model")
    folder = tmp_path / "model"
    assert {p.name for p in folder.iterdir()} >= {
        "model_index.json",
        "learned_embeds.safetensors",
        "words.json",
        "unet",
    }
    assert all(key.startswith("text_model.") for key in load_file(folder / "text_encoder/model.safetensors"))
    assert not list(tmp_path.glob(".*"))
    again = paidiff_lib.load(folder)
    assert ids(again, PROMPT) == ids(tiny, PROMPT) and picture(again) == picture(tiny)
    command = [sys.executable, "-c", PLAIN, str(folder), str(tmp_path / "x.png"), PROMPT, str(GUIDANCE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "x.png").tobytes() == picture(tiny)


def test_files_of_other_programs(tiny, tiny_folder, tmp_path):
    word = learnt(tiny, vectors=2)
    save_file({"emb_params": word.vectors.detach()}, tmp_path / "kohya.safetensors")
    web = {"name": "<小奶猫>", "string_to_param": {"*": word.vectors.detach()}}
    torch.save(web, tmp_path / "webui.pt")
    torch.save({"<小奶猫>": word.vectors.detach()[0]}, tmp_path / "old.bin")
    for name, token in [("kohya.safetensors", "<小奶猫>"), ("webui.pt", None)]:
        fresh = paidiff_lib.load(tiny_folder)
        load_embedding(fresh, tmp_path / name, token)
        assert picture(fresh) == picture(tiny)
    assert load_embedding(paidiff_lib.load(tiny_folder), tmp_path / "old.bin") == "<小奶猫>"
    with pytest.raises(PaidiffError, match="give token="):
        load_embedding(paidiff_lib.load(tiny_folder), tmp_path / "kohya.safetensors")
    save_file({"<小猫>": torch.zeros(1, 7)}, tmp_path / "narrow.safetensors")
    with pytest.raises(PaidiffError, match="width 7, this model needs 16"):
        load_embedding(tiny, tmp_path / "narrow.safetensors")
    for name in ("no.safetensors", "."):
        with pytest.raises(PaidiffError, match="cannot read the embedding"):
            load_embedding(tiny, tmp_path / name)


REFUSED = [
    ({"initializer": "小猫"}, "is 2; take one of them: 小 猫"),
    ({"initializer": "鑫"}, "not in the vocabulary"),
    ({"initializer": ""}, "not in the vocabulary"),
    ({"token": "猫"}, "猫 is in the vocabulary already"),
    ({"token": "小 猫"}, "spaces"),
    ({"token": ""}, "empty"),
    ({"vectors": 0}, "from 1 to 13"),
    ({"vectors": 14}, "from 1 to 13"),
    ({"learnable": "thing"}, "object, style"),
]


@pytest.mark.parametrize("vectors", [1, 2, 4])
def test_a_word_can_be_taught_again(tiny, tmp_path, capsys, vectors):
    """A learner changes the number of vectors and runs the cell again."""
    words = "the word <小奶猫> was trained and not saved"
    other = learnt(tiny, token="<小狗>", vectors=2)
    dog, cat = picture(tiny, "<小狗>"), picture(tiny, "一只猫在草地上")
    TextualInversion(tiny, vectors=3)
    first = learnt(tiny, vectors=3)
    assert words not in capsys.readouterr().out  # the one before had learnt nothing
    second = TextualInversion(tiny, vectors=vectors)
    assert capsys.readouterr().out.count(words) == 1
    assert ids(tiny, "<小奶猫>") == second.ids and len(second.ids) == vectors == len(set(second.ids))
    if vectors == 1:
        assert picture(tiny) == cat  # it begins anew
    assert picture(tiny, "<小狗>") == dog and ids(tiny, "<小狗>") == other.ids
    with pytest.raises(PaidiffError, match="no longer in the model.*: <小奶猫>$"):
        first.parameters()
    again = learnt(tiny, vectors=vectors)
    again.save_model(tmp_path / "model")
    reloaded = paidiff_lib.load(tmp_path / "model")
    assert [picture(reloaded), picture(reloaded, "<小狗>")] == [picture(tiny), dog]


def test_a_word_that_is_in_a_file_is_replaced_without_a_line(tiny, tmp_path, capsys):
    learnt(tiny, vectors=2).save(tmp_path)
    kept = picture(tiny)
    TextualInversion(tiny)
    for _ in range(2):
        load_embedding(tiny, tmp_path)
    assert picture(tiny) == kept and capsys.readouterr().out == ""
    with pytest.raises(PaidiffError, match="<小奶猫>_1 is in the vocabulary already"):
        TextualInversion(tiny, "<小奶猫>_1")


@pytest.mark.parametrize("shape, words", REFUSED)
def test_impossible_words_are_refused_in_one_line(tiny, shape, words):
    size = len(tiny.tokenizer)
    with pytest.raises(PaidiffError, match=words) as caught:
        TextualInversion(tiny, **shape)
    assert "\n" not in str(caught.value) and len(tiny.tokenizer) == size


def test_what_is_not_finite_is_not_saved(tiny, tmp_path):
    word = TextualInversion(tiny)
    word.vectors.data[0, 0] = float("nan")
    with pytest.raises(PaidiffError, match="not finite, not saved"):
        word.save_model(tmp_path / "out")
    assert not (tmp_path / "out").exists()
