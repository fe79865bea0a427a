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
from paidiff_lib import drawable


@pytest.fixture
def board(tiny_folder, loras):
    board = Playground(str(tiny_folder), loras)
    board.steps.value = 2
    board.prompt.value = "雪地里的企鹅"
    yield board
    board.engine.close()


def press(board):
    board.draw.click()
    board.wait()
    return board.history[-1][0] if board.history else None


def test_a_click_draws_what_the_library_draws(board, tiny):
    board.seed.value = 5
    assert press(board).tobytes() == paidiff.draw(tiny, "雪地里的企鹅", seed=5, steps=2).tobytes()
    written = Image.open(io.BytesIO(board.shelf.children[0].children[0].value))
    assert settings_in(written)["Seed"] == "5"
    assert board.draw.disabled is False and board.bar.value == board.bar.max


def test_only_what_the_task_does_not_need_is_hidden(board):
    fields = (
        "negative_prompt",
        "model",
        "lora",
        "lora_scale",
        "embeddings",
        "seed",
        "n",
        "steps",
        "guidance",
        "width",
        "height",
        "task",
    )
    for task, hidden in (
        ("text2img", {"strength", "control_scale"}),
        ("img2img", {"control_scale"}),
        ("controlnet", {"strength"}),
    ):
        board.task.value = task
        shown = {name: getattr(board, name).layout.display for name in (*fields, "strength", "control_scale")}
        assert {name for name, display in shown.items() if display == "none"} == hidden


def test_a_lora_is_worn_and_taken_off_again(board):
    plain = press(board)
    board.lora.value = "porcelain"
    assert press(board).tobytes() != plain.tobytes() and "<lora:porcelain:1>" in board.history[-1][1]
    board.lora.value = NONE
    assert press(board).tobytes() == plain.tobytes()


def test_words_of_the_folder_are_learnt_and_forgotten(board):
    board.prompt.value = "<kitten>"
    plain = press(board)
    board.embeddings.value = ("kitten",)
    assert press(board).tobytes() != plain.tobytes() and "TI: kitten" in board.history[-1][1]
    board.embeddings.value = ()
    assert press(board).tobytes() == plain.tobytes()


def test_interrupt_stops_within_a_step_and_keeps_the_picture(board, monkeypatch):
    board.steps.value, board.n.value = 50, 3
    show = board._show

    def stop_at_three(frame):
        show(frame)
        if frame.index == 1 and frame.step == 3:
            board.stop.click()

    monkeypatch.setattr(board, "_show", stop_at_three)
    press(board)
    assert len(board.history) == 2 and "Stopped at" not in board.history[0][1]
    assert 3 <= int(settings_of(board)["Stopped at"]) < 50
    assert board.history[1][0].size == (64, 64)


def settings_of(board):
    from paidiff_app.infotext import parse

    return parse(board.history[-1][1])


def test_settings_are_taken_back_by_a_click(board):
    board.seed.value, board.negative_prompt.value, board.lora.value = 7, "模糊", "porcelain"
    first = press(board)
    board.seed.value, board.negative_prompt.value, board.lora.value, board.prompt.value = 1, "", NONE, "猫"
    press(board)
    board.shelf.children[1].children[1].click()
    assert (board.seed.value, board.negative_prompt.value, board.lora.value) == (7, "模糊", "porcelain")
    assert press(board).tobytes() == first.tobytes()


def test_image_to_image_needs_a_picture_and_then_draws(board, tmp_path):
    board.task.value = "img2img"
    assert press(board) is None and "先放一张图" in board.line.value and board._brought.layout.display == "flex"
    data = io.BytesIO()
    Image.new("RGB", (90, 70), "red").save(data, "PNG")
    file = {"name": "a.png", "type": "image/png", "size": 1, "last_modified": datetime.now()}
    board.upload.value = ({**file, "content": data.getvalue()},)
    board.strength.value = 1
    assert press(board).size == (64, 64)
    board.upload.value = ({**file, "content": b"no picture"},)
    press(board)
    assert len(board.history) == 1 and "图片读不出来" in board.line.value


def test_a_loaded_pipeline_is_used_with_its_own_loras_and_left_as_it_was(tiny, loras):
    paidiff.load_lora(tiny, loras / "porcelain", "mine", scale=0.5)
    before = paidiff.draw(tiny, "猫", steps=2).tobytes()
    board = Playground(tiny)
    board.prompt.value, board.steps.value = "猫", 2
    assert "mine" in board.lora.options
    plain = press(board)
    board.lora.value, board.lora_scale.value = "mine", 0.5
    assert press(board).tobytes() == before != plain.tobytes()
    board.lora.value = NONE
    press(board)
    assert paidiff.draw(tiny, "猫", steps=2).tobytes() == before


def test_without_widgets_it_says_how_to_draw(monkeypatch, capsys):
    real = builtins.__import__
    missing = lambda name, *rest: (
        (_ for _ in ()).throw(ImportError(name)) if name == "ipywidgets" else real(name, *rest)
    )
    monkeypatch.setattr(builtins, "__import__", missing)
    assert paidiff_app.playground() is None
    assert "paidiff.draw(" in capsys.readouterr().out


def test_chips_and_a_dice_write_the_prompt(board, monkeypatch):
    assert board.chips.value == "企鹅" and board.part.value == "subject"
    board.chips.value = "小猫"
    assert board.prompt.value == "雪地里的小猫"
    board.part.value = "background"
    assert board.chips.value == "雪地" and "企鹅" not in dict(board.chips.options)
    board.chips.value = "草地"
    assert board.prompt.value == "草地里的小猫"
    board.prompt.value = "狗,雪地"  # by hand
    assert board.chips.value == "雪地"
    board.chips.value = None
    assert board.prompt.value == "小狗"
    board.dice.click()
    assert drawable(board.engine._models._pipe, [board.prompt.value]) == [True]
    monkeypatch.setattr(board.engine, "words", lambda model: {})
    board.prompt.value = "变形金刚"
    assert board._words.layout.display == "none"


def test_hints_can_be_read_and_say_what_may_be_meant(board):
    board.prompt.value = "变形金刚,草地"
    press(board)
    assert "没学过" in board.line.value and "background: #fef3c7" in board.line.value


def test_the_view_is_one_widget(board):
    assert isinstance(board.view, ipywidgets.VBox)
