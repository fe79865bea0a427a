"""The playground, its widgets driven by code."""

import builtins
import io
from datetime import datetime

import ipywidgets
import pytest
from PIL import Image

import paidiff_app
import paidiff_lib as paidiff
from paidiff_app.infotext import settings_in
from paidiff_app.widgets import NONE, Playground


@pytest.fixture
def playground(tiny_folder, loras):
    playground = Playground(str(tiny_folder), loras)
    playground.steps.value = 2
    playground.prompt.value = "雪地里的企鹅"
    return playground


def press(playground):
    playground.draw.click()
    playground.wait()
    return playground.history[-1][0] if playground.history else None


def test_a_click_draws_what_the_library_draws(playground, tiny):
    playground.seed.value = 5
    assert press(playground).tobytes() == paidiff.draw(tiny, "雪地里的企鹅", seed=5, steps=2).tobytes()
    written = Image.open(io.BytesIO(playground.shelf.children[0].children[0].value))
    assert settings_in(written)["Seed"] == "5"
    assert playground.draw.disabled is False and playground.bar.value == playground.bar.max


def test_only_what_the_task_does_not_need_is_hidden(playground):
    fields = (
        "negative",
        "model",
        "lora",
        "scale",
        "words",
        "seed",
        "n",
        "steps",
        "guidance",
        "width",
        "height",
        "task",
    )
    for task, hidden in (("text2img", {"strength", "control"}), ("img2img", {"control"}), ("controlnet", {"strength"})):
        playground.task.value = task
        shown = {name: getattr(playground, name).layout.display for name in (*fields, "strength", "control")}
        assert {name for name, display in shown.items() if display == "none"} == hidden


def test_a_lora_is_worn_and_taken_off_again(playground):
    plain = press(playground)
    playground.lora.value = "porcelain"
    assert press(playground).tobytes() != plain.tobytes() and "<lora:porcelain:1>" in playground.history[-1][1]
    playground.lora.value = NONE
    assert press(playground).tobytes() == plain.tobytes()


def test_words_of_the_folder_are_learnt_and_forgotten(playground):
    playground.prompt.value = "<kitten>"
    plain = press(playground)
    playground.words.value = ("kitten",)
    assert press(playground).tobytes() != plain.tobytes() and "TI: kitten" in playground.history[-1][1]
    playground.words.value = ()
    assert press(playground).tobytes() == plain.tobytes()


def test_interrupt_stops_within_a_step_and_keeps_the_picture(playground, monkeypatch):
    playground.steps.value, playground.n.value = 50, 3
    show = playground._show

    def stop_at_three(frame):
        show(frame)
        if frame.index == 1 and frame.step == 3:
            playground.stop.click()

    monkeypatch.setattr(playground, "_show", stop_at_three)
    press(playground)
    assert len(playground.history) == 2 and "Stopped at" not in playground.history[0][1]
    assert 3 <= int(settings_of(playground)["Stopped at"]) < 50
    assert playground.history[1][0].size == (64, 64)


def settings_of(playground):
    from paidiff_app.infotext import parse

    return parse(playground.history[-1][1])


def test_settings_are_taken_back_by_a_click(playground):
    playground.seed.value, playground.negative.value, playground.lora.value = 7, "模糊", "porcelain"
    first = press(playground)
    playground.seed.value, playground.negative.value, playground.lora.value, playground.prompt.value = 1, "", NONE, "猫"
    press(playground)
    playground.shelf.children[1].children[1].click()
    assert (playground.seed.value, playground.negative.value, playground.lora.value) == (7, "模糊", "porcelain")
    assert press(playground).tobytes() == first.tobytes()


def test_image_to_image_needs_a_picture_and_then_draws(playground, tmp_path):
    playground.task.value = "img2img"
    assert (
        press(playground) is None
        and "先放一张图" in playground.line.value
        and playground._brought.layout.display == "flex"
    )
    data = io.BytesIO()
    Image.new("RGB", (90, 70), "red").save(data, "PNG")
    file = {"name": "a.png", "type": "image/png", "size": 1, "last_modified": datetime.now()}
    playground.upload.value = ({**file, "content": data.getvalue()},)
    playground.strength.value = 1
    assert press(playground).size == (64, 64)
    playground.upload.value = ({**file, "content": b"no picture"},)
    press(playground)
    assert len(playground.history) == 1 and "图片读不出来" in playground.line.value


def test_a_loaded_pipeline_is_used_with_its_own_loras_and_left_as_it_was(tiny, loras):
    paidiff.load_lora(tiny, loras / "porcelain", "mine", scale=0.5)
    before = paidiff.draw(tiny, "猫", steps=2).tobytes()
    playground = Playground(tiny)
    playground.prompt.value, playground.steps.value = "猫", 2
    assert "mine" in playground.lora.options
    plain = press(playground)
    playground.lora.value, playground.scale.value = "mine", 0.5
    assert press(playground).tobytes() == before != plain.tobytes()
    playground.lora.value = NONE
    press(playground)
    assert paidiff.draw(tiny, "猫", steps=2).tobytes() == before


def test_without_widgets_it_says_how_to_draw(monkeypatch, capsys):
    real = builtins.__import__
    missing = lambda name, *rest: (
        (_ for _ in ()).throw(ImportError(name)) if name == "ipywidgets" else real(name, *rest)
    )
    monkeypatch.setattr(builtins, "__import__", missing)
    assert paidiff_app.playground() is None
    assert "paidiff.draw(" in capsys.readouterr().out


def test_the_view_is_one_widget(playground):
    assert isinstance(playground.view, ipywidgets.VBox)
