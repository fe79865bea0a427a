"""A place to try things in a notebook: fields, a button, and every picture that was drawn.

paidiff_app.playground()                              # the small model
paidiff_app.playground(pipe)                          # a pipeline of the lesson, with the LoRAs that are in it
paidiff_app.playground("mini", loras="../out")        # and those in a folder
"""

import dataclasses
import html
import threading

import ipywidgets as w
from PIL import Image

from paidiff_lib.errors import PaidiffError
from paidiff_lib.generate import STEPS
from paidiff_lib.known_words import random_prompt

from .chips import chips, chosen, with_word
from .engine import Engine, GenerationRequest, open_image
from .infotext import png
from .labels import CHIPS, DICE, DRAW, LABELS, NO_WORD, NONE, OPENING, STOP, TASKS, embedding_choices

SIDE = "180px"  # of a picture in the history
KEPT = 60  # pictures in the history
MAX_STEPS, MAX_PICTURES = 100, 8
FILES = ".png,.jpg,.jpeg,.webp"
STYLE = {"description_width": "92px"}
HINT = "margin: 4px 0; padding: 4px 10px; border-left: 4px solid #d97706; background: #fef3c7; color: #451a03"
# Fields that are a setting of a request by the same name; the model first: it sets size and guidance.
SAME = ("model", "prompt", "negative_prompt", "task", "lora_scale", "embeddings", "seed", "steps", "guidance")
SAME += ("control_scale",)


class Playground:
    """The fields and what they do. view: the widget to show; history: [(picture, text, its request, uploaded bytes)].

    Drawing goes on in a thread of its own, so that the notebook stays free; wait() waits for it.
    """

    def __init__(self, model=None, loras=None):
        self.engine = Engine(model, loras)
        self._raw, self.history, self._thread, self._stop = None, [], None, threading.Event()
        self._make_fields(*self.engine.suits())
        self._make_easel()
        self._make_chips()
        self._lay_out()
        self.task.observe(self._show_task, "value")
        self.model.observe(self._suit, "value")
        self.draw.on_click(lambda _: self.start())
        self.stop.on_click(lambda _: self._stop.set())
        self._show_task()

    def _make_fields(self, side, guidance):
        embeddings = embedding_choices(self.engine)
        self.prompt = _field(w.Textarea, "prompt", OPENING, rows=2)
        self.negative_prompt = _field(w.Text, "negative_prompt", "")
        self.model = _field(w.Dropdown, "model", self.engine.models[0], options=self.engine.models)
        self.lora = _field(w.Dropdown, "lora", NONE, options=[NONE, *self.engine.loras()])
        self.lora_scale = _field(w.FloatSlider, "lora_scale", 1.0, min=-2, max=2, step=0.05, readout_format=".2f")
        rows = max(1, min(3, len(embeddings)))
        self.embeddings = _field(w.SelectMultiple, "embeddings", (), options=embeddings, rows=rows)
        self.seed = _field(w.BoundedIntText, "seed", 0, min=0, max=2**53 - 1)
        self.steps = _field(w.IntSlider, "steps", STEPS, min=1, max=MAX_STEPS)
        self.guidance = _field(w.FloatSlider, "guidance", guidance, min=0, max=20, step=0.5)
        self.width = _field(w.BoundedIntText, "width", side, min=64, max=2048, step=8)
        self.height = _field(w.BoundedIntText, "height", side, min=64, max=2048, step=8)
        self.n = _field(w.BoundedIntText, "n", 1, min=1, max=MAX_PICTURES)
        tasks = {label: task for task, (_, label) in TASKS.items() if label}
        self.task = _field(w.Dropdown, "task", "text2img", options=tasks)
        self.upload = w.FileUpload(accept=FILES, description=LABELS["image"][1], layout=_layout())
        self.strength = _field(w.FloatSlider, "strength", 0.75, min=0.05, max=1, step=0.05)
        self.control_scale = _field(w.FloatSlider, "control_scale", 1.0, min=0, max=2, step=0.05)

    def _make_easel(self):
        """What a drawing is started with and seen in."""
        half, wide = {"layout": w.Layout(width="48%")}, w.Layout(width="98%")
        self.draw = w.Button(description=DRAW, button_style="success", **half)
        self.stop = w.Button(description=STOP, button_style="danger", disabled=True, **half)
        self.bar = w.IntProgress(value=0, max=1, layout=wide)
        self.line = w.HTML(layout=wide)
        blank = png(Image.new("RGB", (8, 8), "#eeeeee"))
        self.easel = w.Image(value=blank, format="png", layout=w.Layout(width="256px", align_self="center"))
        self.shelf = w.HBox(layout=w.Layout(flex_flow="row wrap"))

    def _make_chips(self):
        """The words that the model knows, one kind at a time, and a dice that throws some of them."""
        self.dice = w.Button(description=DICE, layout=w.Layout(width="130px"))
        self.part = w.Dropdown(options={label: part for part, label in CHIPS.items()}, layout=w.Layout(width="150px"))
        self.chips = w.ToggleButtons(
            style={"button_width": "auto"}, layout=w.Layout(max_height="120px", overflow="auto")
        )
        self._words = w.VBox([w.HBox([self.part, self.dice]), self.chips], layout=w.Layout(margin="0 0 0 100px"))
        self.dice.on_click(lambda _: setattr(self.prompt, "value", random_prompt(self.known)))
        for field in (self.part, self.prompt, self.model):
            field.observe(self._show_chips, "value")
        self.chips.observe(self._write, "value")
        self._show_chips()

    def _show_chips(self, _=None):
        """The words of the kind; that of the prompt is chosen, which writes nothing."""
        self.known, part = self.engine.words(self.model.value), self.part.value
        self._words.layout.display = "flex" if self.known else "none"
        options = ((NO_WORD, None), *((word, word) for word in chips(self.known).get(part, ())))
        if self.chips.options != options:
            self._chosen = None  # as new options have it
            self.chips.options = options
        self._chosen = chosen(self.prompt.value, self.known).get(part)
        self.chips.value = self._chosen

    def _write(self, change):
        if change["new"] != self._chosen:
            self.prompt.value = with_word(self.prompt.value, self.part.value, change["new"], self.known)

    def _lay_out(self):
        self._brought = w.VBox([self.upload, self.strength, self.control_scale])
        left = [
            self.prompt,
            self._words,
            self.negative_prompt,
            self.task,
            self._brought,
            self.model,
            self.lora,
            self.lora_scale,
        ]
        left += [self.embeddings] if self.embeddings.options else []
        left += [self.seed, self.n, self.steps, self.guidance, w.HBox([self.width, self.height])]
        right = [w.HBox([self.draw, self.stop]), self.bar, self.line, self.easel]
        panel = {"flex": "1 1 320px", "min_width": "0"}
        panels = [w.VBox(side, layout=w.Layout(**panel)) for side in (left, right)]
        self.view = w.VBox([w.HBox(panels, layout=w.Layout(flex_flow="row wrap", width="100%")), self.shelf])

    def _ipython_display_(self):
        """Nothing: playground() has shown the view already, and at the end of a cell the notebook asks once more."""

    def start(self):
        """As the button: begin to draw what the fields say."""
        if self._thread and self._thread.is_alive():
            return
        self._stop = threading.Event()
        self.draw.disabled, self.stop.disabled = True, False
        self._thread = threading.Thread(target=self._draw, name="paidiff-playground", daemon=True)
        self._thread.start()

    def wait(self):
        """Wait until nothing is being drawn."""
        if self._thread:
            self._thread.join()

    def request(self):
        """What the fields say."""
        return GenerationRequest(
            **{name: getattr(self, name).value for name in SAME},
            lora=None if self.lora.value == NONE else self.lora.value,
            size=(self.width.value, self.height.value),
            n=self.n.value,
            strength=self.strength.value if self.task.value == "img2img" else None,
        )

    def take_back(self, index):
        """Put the settings of a picture in the history into the fields again."""
        _, _, request, self._raw = self.history[index]
        for name in SAME:
            getattr(self, name).value = getattr(request, name)
        self.lora.value = request.lora or NONE
        self.strength.value = request.strength or self.strength.value
        self.n.value, (self.width.value, self.height.value) = 1, request.size
        self._say(f"第 {index + 1} 张的设置取回来了 · settings of picture {index + 1} taken back")

    def _draw(self):
        request, raw = self.request(), self._uploaded()
        try:
            image = open_image(raw) if raw and request.task != "text2img" else None
            for frame in self.engine.draw(dataclasses.replace(request, image=image), self._stop):
                self._show(frame)
                if frame.text is not None:
                    self._keep(frame, request, raw)
        except PaidiffError as error:
            self._say(str(error), wrong=True)
        except Exception as error:  # a thread's traceback would be seen by nobody
            self._say(f"画的时候出错了 · drawing failed: {type(error).__name__}: {error}", wrong=True)
        finally:
            self.draw.disabled, self.stop.disabled = False, True

    def _show(self, frame):
        self.bar.max, self.bar.value = frame.steps * frame.n, frame.index * frame.steps + frame.step
        what = "停在 stopped at" if frame.stopped else "步 step"
        which = f"第 {frame.index + 1} / {frame.n} 张"
        self._say(f"{which} · {what} {frame.step} / {frame.steps} · seed {frame.seed}", frame.hints)
        if frame.image is not None:
            self.easel.value = png(frame.image.convert("RGB"))

    def _keep(self, frame, request, raw):
        """Put a picture into the history, under it a button that takes its settings back."""
        index, narrow = len(self.history), w.Layout(width=SIDE)
        self.history.append((frame.image, frame.text, dataclasses.replace(request, seed=frame.seed, n=1), raw))
        image = w.Image(value=png(frame.image, frame.text), format="png", layout=narrow)
        lines = html.escape(frame.text).replace("\n", "<br>")
        text = w.HTML(f'<div style="width: {SIDE}; line-height: 1.3; font-size: 12px">{lines}</div>')
        back = w.Button(description=LABELS["dropped"][1], layout=narrow)
        back.on_click(lambda _: self.take_back(index))
        card = w.VBox([image, back, text], layout=w.Layout(margin="4px"))
        self.shelf.children = (card, *self.shelf.children)[:KEPT]

    def _uploaded(self):
        """The bytes that were uploaded last, else those of the picture whose settings were taken back."""
        return bytes(self.upload.value[-1]["content"]) if self.upload.value else self._raw

    def _show_task(self, _=None):
        task = self.task.value
        self._brought.layout.display = "none" if task == "text2img" else "flex"
        self.strength.layout.display = "flex" if task == "img2img" else "none"
        self.control_scale.layout.display = "flex" if task == "controlnet" else "none"

    def _suit(self, _=None):
        try:
            side, self.guidance.value = self.engine.suits(self.model.value)
            self.width.value = self.height.value = side
        except PaidiffError as error:
            self._say(str(error), wrong=True)

    def _say(self, text, hints=(), wrong=False):
        colour = ' style="color: #b91c1c; font-weight: 600"' if wrong else ""
        below = "".join(f'<div style="{HINT}">{html.escape(hint)}</div>' for hint in hints)
        self.line.value = f"<div{colour}>{html.escape(text)}</div>{below}"


def _field(kind, name, value, **settings):
    """A widget with the label of `name`. A layout for each: who hides one would hide all that share it."""
    return kind(value=value, description=LABELS[name][1], style=STYLE, layout=_layout(), **settings)


def _layout():
    return w.Layout(width="98%", min_width="0")
