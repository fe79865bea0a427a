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
def room(tiny_folder, loras):
    room = Playground(str(tiny_folder), loras)
    room.steps.value = 2
    room.prompt.value = "雪地里的企鹅"
    return room


def press(room):
    room.draw.click()
    room.wait()
    return room.history[-1][0] if room.history else None


def test_a_click_draws_what_the_library_draws(room, tiny):
    room.seed.value = 5
    assert press(room).tobytes() == paidiff.draw(tiny, "雪地里的企鹅", seed=5, steps=2).tobytes()
    written = Image.open(io.BytesIO(room.shelf.children[0].children[0].value))
    assert settings_in(written)["Seed"] == "5"
    assert room.draw.disabled is False and room.bar.value == room.bar.max


def test_only_what_the_task_does_not_need_is_hidden(room):
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
        room.task.value = task
        shown = {name: getattr(room, name).layout.display for name in (*fields, "strength", "control")}
        assert {name for name, display in shown.items() if display == "none"} == hidden


def test_a_lora_is_worn_and_taken_off_again(room):
    plain = press(room)
    room.lora.value = "porcelain"
    assert press(room).tobytes() != plain.tobytes() and "<lora:porcelain:1>" in room.history[-1][1]
    room.lora.value = NONE
    assert press(room).tobytes() == plain.tobytes()


def test_words_of_the_folder_are_learnt_and_forgotten(room):
    room.prompt.value = "<kitten>"
    plain = press(room)
    room.words.value = ("kitten",)
    assert press(room).tobytes() != plain.tobytes() and "TI: kitten" in room.history[-1][1]
    room.words.value = ()
    assert press(room).tobytes() == plain.tobytes()


def test_interrupt_stops_within_a_step_and_keeps_the_picture(room, monkeypatch):
    room.steps.value, room.n.value = 50, 3
    show = room._show

    def stop_at_three(frame):
        show(frame)
        if frame.index == 1 and frame.step == 3:
            room.stop.click()

    monkeypatch.setattr(room, "_show", stop_at_three)
    press(room)
    assert len(room.history) == 2 and "Stopped at" not in room.history[0][1]
    assert 3 <= int(settings_of(room)["Stopped at"]) < 50
    assert room.history[1][0].size == (64, 64)


def settings_of(room):
    from paidiff_app.infotext import parse

    return parse(room.history[-1][1])


def test_settings_are_taken_back_by_a_click(room):
    room.seed.value, room.negative.value, room.lora.value = 7, "模糊", "porcelain"
    first = press(room)
    room.seed.value, room.negative.value, room.lora.value, room.prompt.value = 1, "", NONE, "猫"
    press(room)
    room.shelf.children[1].children[1].click()
    assert (room.seed.value, room.negative.value, room.lora.value) == (7, "模糊", "porcelain")
    assert press(room).tobytes() == first.tobytes()


def test_image_to_image_needs_a_picture_and_then_draws(room, tmp_path):
    room.task.value = "img2img"
    assert press(room) is None and "先放一张图" in room.line.value and room._brought.layout.display == "flex"
    data = io.BytesIO()
    Image.new("RGB", (90, 70), "red").save(data, "PNG")
    file = {"name": "a.png", "type": "image/png", "size": 1, "last_modified": datetime.now()}
    room.upload.value = ({**file, "content": data.getvalue()},)
    room.strength.value = 1
    assert press(room).size == (64, 64)
    room.upload.value = ({**file, "content": b"no picture"},)
    press(room)
    assert len(room.history) == 1 and "图片读不出来" in room.line.value


def test_a_loaded_pipeline_is_used_with_its_own_loras_and_left_as_it_was(tiny, loras):
    paidiff.load_lora(tiny, loras / "porcelain", "mine", scale=0.5)
    before = paidiff.draw(tiny, "猫", steps=2).tobytes()
    room = Playground(tiny)
    room.prompt.value, room.steps.value = "猫", 2
    assert "mine" in room.lora.options
    plain = press(room)
    room.lora.value, room.scale.value = "mine", 0.5
    assert press(room).tobytes() == before != plain.tobytes()
    room.lora.value = NONE
    press(room)
    assert paidiff.draw(tiny, "猫", steps=2).tobytes() == before


def test_without_widgets_it_says_how_to_draw(monkeypatch, capsys):
    real = builtins.__import__
    missing = lambda name, *rest: (
        (_ for _ in ()).throw(ImportError(name)) if name == "ipywidgets" else real(name, *rest)
    )
    monkeypatch.setattr(builtins, "__import__", missing)
    assert paidiff_app.playground() is None
    assert "paidiff.draw(" in capsys.readouterr().out


def test_the_view_is_one_widget(room):
    assert isinstance(room.view, ipywidgets.VBox)
