import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import paidiff_lib
from paidiff_lib import PaidiffError
from paidiff_lib.files import LISTING
from paidiff_lib.methods import lora_files
from paidiff_lib.methods.adapters import merge, scales, set_scales
from paidiff_lib.methods.lora import ATTENTION, WIDE, LoRA
from paidiff_lib.methods.lora_files import deltas, export_kohya, load_lora

LAYERS = {"attention": ATTENTION, "wide": WIDE}


def picture(pipe, prompt="猫"):
    return paidiff_lib.draw(pipe, prompt, steps=2).tobytes()


def made(pipe, strength=0.3, **shape):
    """A LoRA that has learnt something: its second matrices are no longer zero."""
    method = LoRA(pipe, **shape)
    torch.manual_seed(3)
    for name, parameter in method.parameters().items():
        if "lora_B" in name:
            parameter.data.normal_(std=strength)
    return method


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("text_encoder", [False, True])
@pytest.mark.parametrize("alpha", [None, 1, 6])
def test_plain_diffusers_draws_the_same_picture(tiny, tiny_folder, tmp_path, layers, text_encoder, alpha):
    plain = picture(tiny)
    method = made(tiny, rank=2, alpha=alpha, layers=LAYERS[layers], text_encoder=text_encoder)
    method.save(tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"pytorch_lora_weights.safetensors", LISTING}
    fresh = paidiff_lib.load(tiny_folder)
    fresh.load_lora_weights(str(tmp_path / "out"))
    assert plain != picture(tiny) == picture(fresh)


def test_a_new_lora_changes_nothing_yet(tiny):
    plain = picture(tiny)
    method = LoRA(tiny)
    assert picture(tiny) == plain and method.parameters()


def test_the_start_depends_on_the_seed_only(tiny_folder):
    first, again, other = (LoRA(paidiff_lib.load(tiny_folder), seed=seed).parameters() for seed in (1, 1, 2))
    assert all(torch.equal(first[n], again[n]) for n in first) and not all(
        torch.equal(first[n], other[n]) for n in first
    )


def test_the_file_tells_nothing_about_this_machine(tiny, tiny_folder, tmp_path):
    made(tiny).save(tmp_path)
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", "pt") as file:
        notes = file.metadata()
    assert str(tiny_folder) not in json.dumps(notes) and "lora_alpha" in json.dumps(notes)


def test_the_scale(tiny, tiny_folder, tmp_path):
    plain = picture(tiny)
    made(tiny).save(tmp_path)
    pipe = paidiff_lib.load(tiny_folder)
    load_lora(pipe, tmp_path, "cat", scale=0.5)
    half = picture(pipe)
    assert scales(pipe) == {"cat": 0.5}
    set_scales(pipe, {"cat": 1})
    assert picture(pipe) == picture(tiny) != half != plain
    for off in ({"cat": 0}, {}):
        set_scales(pipe, off)
        assert picture(pipe) == plain
    with pytest.raises(PaidiffError, match="no such LoRA: dog; .* cat"):
        set_scales(pipe, {"dog": 1})


def test_two_at_once(tiny, tiny_folder, tmp_path):
    made(tiny, name="a").save(tmp_path / "a")
    other = paidiff_lib.load(tiny_folder)
    made(other, strength=0.2, name="b", rank=3, alpha=1, text_encoder=True).save(tmp_path / "b")
    pipe = paidiff_lib.load(tiny_folder)
    load_lora(pipe, tmp_path / "a", "a")
    load_lora(pipe, tmp_path / "b", "b", 0.5)
    assert scales(pipe) == {"a": 1.0, "b": 0.5}
    both = picture(pipe)
    set_scales(pipe, {"a": 1})
    assert picture(pipe) == picture(tiny) != both
    set_scales(pipe, {"b": 1})
    assert picture(pipe) == picture(other) != both


def test_merging_keeps_the_picture_and_the_pipeline_is_plain_again(tiny, tiny_folder, tmp_path):
    plain = picture(tiny)
    made(tiny, alpha=6, text_encoder=True).save(tmp_path / "lora")
    pipe = paidiff_lib.load(tiny_folder)
    load_lora(pipe, tmp_path / "lora", "cat", scale=0.7)
    before = torch.frombuffer(bytearray(picture(pipe)), dtype=torch.uint8).int()
    merge(pipe)
    after = torch.frombuffer(bytearray(picture(pipe)), dtype=torch.uint8).int()
    assert (before - after).abs().max() <= 1 and picture(pipe) != plain
    assert not scales(pipe) and not [n for n in pipe.unet.state_dict() if "lora" in n or "base_layer" in n]
    pipe.save_pretrained(tmp_path / "model")
    assert picture(paidiff_lib.load(tmp_path / "model")) == picture(pipe)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("text_encoder", [False, True])
def test_kohya_export_has_the_same_deltas_and_the_same_picture(tiny, tiny_folder, tmp_path, layers, text_encoder):
    method = made(tiny, rank=2, alpha=5, layers=LAYERS[layers], text_encoder=text_encoder)
    method.export(tmp_path / "cat.safetensors")
    keys = load_file(tmp_path / "cat.safetensors")
    assert {k.split(".", 1)[1] for k in keys} == {"lora_down.weight", "lora_up.weight", "alpha"}
    assert {k for k in keys if k.startswith("lora_te_")} == {
        f"lora_te_text_model_encoder_layers_0_self_attn_{part}_proj.{end}"
        for part in ("q", "k", "v", "out")
        for end in ("lora_down.weight", "lora_up.weight", "alpha")
        if text_encoder
    }
    assert keys["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0.alpha"] == 5
    fresh = paidiff_lib.load(tiny_folder)
    load_lora(fresh, tmp_path / "cat.safetensors")
    before, after = deltas(tiny), deltas(fresh)
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)
    assert picture(fresh) == picture(tiny)


def test_an_export_that_reads_back_differently_is_refused(tiny, tmp_path, monkeypatch):
    made(tiny)
    monkeypatch.setattr(lora_files, "_kohya_key", lambda place: "lora_unet_mid_block_attentions_0_proj_in")
    with pytest.raises(PaidiffError, match="reads back differently"):
        export_kohya(tiny, tmp_path / "cat.safetensors")
    assert list(tmp_path.iterdir()) == []


OLD_FILES = ["old/pytorch_lora_weights.safetensors", "old/pytorch_lora_weights.bin", "checkpoint-500/pytorch_model.bin"]


@pytest.mark.parametrize("name", OLD_FILES)
def test_the_hubs_old_files_take_effect(tiny, tiny_folder, tmp_path, name):
    """Their keys lack `unet.`: diffusers' own loader says nothing and changes nothing."""
    plain = picture(tiny)
    made(tiny).save(tmp_path)
    state = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    old = {
        k.removeprefix("unet.").replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up."): v
        for k, v in state.items()
    }
    old = {
        k.replace(".to_", ".processor.to_").replace("to_out.0", "to_out").replace(".lora.", "_lora."): v
        for k, v in old.items()
    }
    assert "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight" in old
    path = tmp_path / name
    path.parent.mkdir()
    save_file(old, path) if path.suffix == ".safetensors" else torch.save(old, path)
    for source in (path, path.parent):
        pipe = paidiff_lib.load(tiny_folder)
        load_lora(pipe, source)
        assert plain != picture(pipe) == picture(tiny)


def test_a_published_lora_equals_itself_in_todays_layout(skeletons, tmp_path):
    """The same weights once as the hub has them, once renamed by hand for plain diffusers."""
    pipe, plain = (paidiff_lib.load(skeletons / "artist") for _ in range(2))
    before = picture(pipe)
    old = torch.load(skeletons / "poem/pytorch_lora_weights.bin", weights_only=True)
    new = {
        f"unet.{k}".replace(".processor.to_out_lora", ".to_out.0_lora").replace(".processor", ""): v
        for k, v in old.items()
    }
    new = {k.replace("_lora.down", ".lora_A").replace("_lora.up", ".lora_B"): v.contiguous() for k, v in new.items()}
    assert "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_A.weight" in new
    save_file(new, tmp_path / "poem.safetensors")
    plain.load_lora_weights(str(tmp_path), weight_name="poem.safetensors")
    load_lora(pipe, skeletons / "poem", "poem")
    assert before != picture(pipe) == picture(plain)


def test_a_lora_of_another_model_is_refused_and_leaves_nothing(tiny, skeletons, tmp_path, capfd):
    plain = picture(tiny)
    capfd.readouterr()
    with pytest.raises(PaidiffError, match=r"for another model: \S+: \S+ \[.*\] \[.*\]$") as caught:
        load_lora(tiny, skeletons / "poem")
    assert "\n" not in str(caught.value) and picture(tiny) == plain and not scales(tiny)
    assert capfd.readouterr().err == ""  # diffusers would list every layer
    made(paidiff_lib.load(skeletons / "artist"), rank=2).save(tmp_path)
    state = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    extra = {k.replace("down_blocks.0", "down_blocks.7"): v.clone() for k, v in state.items() if "down_blocks.0" in k}
    save_file(
        state | extra, tmp_path / "pytorch_lora_weights.safetensors"
    )  # a deeper model's: diffusers takes what fits
    pipe = paidiff_lib.load(skeletons / "artist")
    plain = picture(pipe)
    with pytest.raises(PaidiffError, match="belongs to another one: .*128 / 144 .*down_blocks.7"):
        load_lora(pipe, tmp_path)
    assert picture(pipe) == plain and not scales(pipe)


def test_a_lora_that_never_learnt_anything_is_refused(tiny, tiny_folder, tmp_path):
    LoRA(tiny).save(tmp_path)
    with pytest.raises(PaidiffError, match="changes nothing"):
        load_lora(paidiff_lib.load(tiny_folder), tmp_path)


def test_a_pickle_that_would_run_code_is_refused(tiny, tmp_path):
    class Bad:
        def __reduce__(self):
            return exec, ("raise SystemExit('ran')",)

    torch.save({"unet.x.lora_A.weight": Bad()}, tmp_path / "pytorch_lora_weights.bin")
    with pytest.raises(PaidiffError, match="holds code"):
        load_lora(tiny, tmp_path)


def test_what_is_no_lora_is_refused_in_one_line(tiny, tmp_path):
    with pytest.raises(PaidiffError, match="no LoRA in"):
        load_lora(tiny, tmp_path)
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(PaidiffError, match="cut short or damaged") as caught:
        load_lora(tiny, tmp_path)
    assert "\n" not in str(caught.value)
    save_file({"unet.nowhere.lora_A.weight": torch.zeros(2, 2), "unet.nowhere.lora_B.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(PaidiffError):
        load_lora(tiny, tmp_path)
    assert not scales(tiny)


REFUSED = [
    ({"rank": 0}, "rank"),
    ({"layers": ["to_x"]}, "no such layers: to_x; .*conv1.*to_q"),
    ({"layers": ["to_q", "to_x"]}, "no such layers: to_x; "),  # peft takes the one and says nothing of the other
    ({"layers": ["norm1"]}, "no such layers: norm1; "),
    ({"layers": []}, "no such layers: ; "),
    *[({"alpha": alpha}, "alpha must be a number above 0") for alpha in (0, -1, float("nan"), "4")],
    *[({"dropout": dropout}, "dropout must be") for dropout in (1, -0.1, float("nan"))],
]


@pytest.mark.parametrize("shape, words", REFUSED)
def test_impossible_shapes_are_refused(tiny, shape, words):
    with pytest.raises(PaidiffError, match=words):
        LoRA(tiny, **shape)


def test_what_is_not_finite_is_not_saved(tiny, tmp_path):
    method = made(tiny)
    next(iter(method.parameters().values())).data[0, 0] = float("nan")
    with pytest.raises(PaidiffError, match="not finite, not saved"):
        method.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_says_what_it_is_in_kohyas_words(tiny, tiny_folder, tmp_path, monkeypatch):
    """In the current folder too, whose parent may be read-only; the name of the model, not its place."""
    made(tiny, rank=2, alpha=5)
    monkeypatch.chdir(tmp_path)
    LoRA.export(made(tiny, rank=2, alpha=5, name="cat"), "cat.safetensors")
    with safe_open("cat.safetensors", "pt") as file:
        notes = file.metadata()
    assert notes == {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "2",
        "ss_network_alpha": "5.0",
        "ss_sd_model_name": tiny_folder.name,
        "ss_output_name": "cat",
    }
    next(lora_files.adapter_layers(tiny, "cat"))[1].lora_alpha["cat"] = 1.0
    export_kohya(tiny, "cat.safetensors", "cat")
    with safe_open("cat.safetensors", "pt") as file:
        assert file.metadata()["ss_network_alpha"] == "Dynamic"
    with pytest.raises(PaidiffError, match=r"must end in \.safetensors: cat"):
        export_kohya(tiny, "cat", "cat")


def test_a_loras_name_can_be_taken_again(tiny, tmp_path, capsys):
    """A learner changes the rank and runs the cell again."""
    words = "the LoRA lora was trained and not saved"
    plain = picture(tiny)
    LoRA(tiny)  # has learnt nothing
    first = made(tiny, rank=2)
    assert words not in capsys.readouterr().out
    with pytest.raises(PaidiffError, match="no such layers"):
        LoRA(tiny, layers=["to_x"])
    assert scales(tiny) == {"lora": 1.0} and picture(tiny) != plain  # and nothing is lost
    second = LoRA(tiny, rank=3, text_encoder=True)
    assert capsys.readouterr().out.count(words) == 1 and picture(tiny) == plain
    for use in (first.parameters, lambda: first.save(tmp_path), lambda: first.export(tmp_path / "x.safetensors")):
        with pytest.raises(PaidiffError, match="no longer in the model.*: lora$"):
            use()  # it would be the second one's
    assert not list(tmp_path.iterdir()) and {p.shape[0] for n, p in second.parameters().items() if "lora_A" in n} == {3}


@pytest.mark.parametrize("how", ["save", "export", "load"])
def test_a_lora_that_is_in_a_file_is_replaced_without_a_word(tiny, tmp_path, capsys, how):
    method = made(tiny)
    method.export(tmp_path / "x.safetensors") if how == "export" else method.save(tmp_path)
    capsys.readouterr()
    if how == "load":
        tiny.unload_lora_weights()
        load_lora(tiny, tmp_path)
    LoRA(tiny)
    assert capsys.readouterr().out == ""
    if how == "save":  # and then trained on
        method = made(tiny)
        method.save(tmp_path)
        next(iter(method.parameters().values())).data += 1
        LoRA(tiny)
        assert "trained and not saved" in capsys.readouterr().out


def test_a_loaded_loras_name_can_be_taken_again(tiny, tmp_path, capsys):
    """A cell that loads is run again; and perhaps with another file."""
    words, other = "takes the place of the one that was named lora", tmp_path / "other"
    made(tiny, strength=0.1).save(other)
    made(tiny).save(tmp_path / "one")
    for _ in range(2):
        load_lora(tiny, tmp_path / "one")
    kept = picture(tiny)
    assert capsys.readouterr().out == "" and scales(tiny) == {"lora": 1.0}
    with pytest.raises(PaidiffError, match="no LoRA in"):
        load_lora(tiny, tmp_path / "none")
    assert picture(tiny) == kept  # nothing is lost
    load_lora(tiny, other)
    assert capsys.readouterr().out.count(words) == 1 and picture(tiny) != kept
    made(tiny)
    load_lora(tiny, other)
    out = capsys.readouterr().out
    assert out.count("trained and not saved") == 1 and words not in out


def test_merging_twice_is_refused(tiny, tmp_path, capsys):
    """A cell that loads and merges is run again: the LoRA would count twice."""
    made(tiny).save(tmp_path)
    merge(tiny)
    once = picture(tiny)
    load_lora(tiny, tmp_path, "again", scale=0.5)
    with pytest.raises(PaidiffError, match="already merged into this model.*: again$"):
        merge(tiny)
    set_scales(tiny, {})
    assert picture(tiny) == once and capsys.readouterr().out == ""
    merge(tiny)
    assert "nothing was merged" in capsys.readouterr().out and picture(tiny) == once and not scales(tiny)
    made(tiny, strength=0.1)  # another one may
    merge(tiny)
    assert picture(tiny) != once
