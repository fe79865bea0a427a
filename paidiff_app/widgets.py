"""A place to try things in a notebook: `paidiff.playground()` shows fields, a button, and every picture that was drawn.

paidiff.playground()                              # the small model
paidiff.playground(pipe)                          # a pipeline of the lesson, with the LoRAs that are in it
paidiff.playground("mini", loras="../out")        # and those in a folder
"""

import html
import io
import threading

from paidiff_lib.errors import PaidiffError
from paidiff_lib.generate import STEPS

from .engine import Studio, Wish, opened
from .infotext import png

NONE = "不用 · none"
TASKS = {
    "文生图 · text to image": "text2img",
    "图生图 · image to image": "img2img",
    "沿轮廓 · ControlNet": "controlnet",
}
PLAIN = (
    "这里没有 ipywidgets,用一行也能画 · no ipywidgets here; one line draws as well:\n"
    '  picture = paidiff.draw(pipe, "雪地里的两只企鹅", seed=1, steps=20)\n'
    "装上它就有界面 · for the fields: pip install -c constraints.txt ipywidgets"
)
SIDE = "180px"  # of a picture in the history
KEPT = 60  # pictures in the history
MAX_STEPS, MAX_PICTURES = 100, 8


def playground(model=None, loras=None):
    """Show the playground in a notebook and return it; without ipywidgets print how to draw, and return None.

    model: a name, a folder, or a pipeline. loras: a folder of LoRAs and Textual Inversions. Raises PaidiffError.
    """
    try:
        import ipywidgets  # noqa: F401
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(PLAIN)
        return None
    if get_ipython() is None:
        print(PLAIN)
        return None
    room = Playground(model, loras)
    display(room.view)
    return room


class Playground:
    """The fields and what they do. view: the widget to show; history: [(picture, text, Wish, what it began from)].

    Drawing goes on in a thread of its own, so that the notebook stays free; wait() waits for it.
    """

    def __init__(self, model=None, loras=None):
        import ipywidgets as w

        self.studio = Studio(model, loras)
        side, guidance = self.studio.suits()
        self._raw = None
        self.history, self._thread, self._stop = [], None, threading.Event()
        wide = w.Layout(width="98%")
        style = {"description_width": "92px"}

        def half():  # one for each field: who hides one would hide all that share it
            return w.Layout(width="98%", min_width="0")

        def field(kind, label, value, **more):
            return kind(value=value, description=label, style=style, layout=half(), **more)

        self.prompt = w.Textarea(
            value="雪地里的两只企鹅", description="提示词 prompt", rows=2, style=style, layout=wide
        )
        self.negative = field(w.Text, "不要 negative", "")
        self.model = field(w.Dropdown, "模型 model", self.studio.models[0], options=self.studio.models)
        self.lora = field(w.Dropdown, "LoRA", NONE, options=[NONE, *self.studio.loras()])
        self.scale = field(w.FloatSlider, "强度 scale", 1.0, min=-2, max=2, step=0.05, readout_format=".2f")
        words = [(f"{name} · {token}" if token else name, name) for name, token in self.studio.words().items()]
        self.words = w.SelectMultiple(
            options=words, description="词 words", rows=max(1, min(3, len(words))), style=style, layout=half()
        )
        self.seed = field(w.BoundedIntText, "种子 seed", 0, min=0, max=2**53 - 1)
        self.steps = field(w.IntSlider, "步数 steps", STEPS, min=1, max=MAX_STEPS)
        self.guidance = field(w.FloatSlider, "引导 guidance", guidance, min=0, max=20, step=0.5)
        self.width = field(w.BoundedIntText, "宽 width", side, min=64, max=2048, step=8)
        self.height = field(w.BoundedIntText, "高 height", side, min=64, max=2048, step=8)
        self.n = field(w.BoundedIntText, "张数 pictures", 1, min=1, max=MAX_PICTURES)
        self.task = field(w.Dropdown, "做什么 task", "text2img", options=TASKS)
        self.upload = w.FileUpload(accept=".png,.jpg,.jpeg,.webp", description="放一张图 · picture", layout=half())
        self.strength = field(w.FloatSlider, "改动 strength", 0.75, min=0.05, max=1, step=0.05)
        self.control = field(w.FloatSlider, "轮廓 edges", 1.0, min=0, max=2, step=0.05)
        self.draw = w.Button(description="画 · Draw", button_style="success", layout=w.Layout(width="48%"))
        self.stop = w.Button(
            description="停 · Interrupt", button_style="danger", disabled=True, layout=w.Layout(width="48%")
        )
        self.bar = w.IntProgress(value=0, max=1, layout=wide)
        self.line = w.HTML(layout=wide)
        self.easel = w.Image(value=_file(_blank()), format="png", layout=w.Layout(width="256px", align_self="center"))
        self.shelf = w.HBox(layout=w.Layout(flex_flow="row wrap"))
        self._brought = w.VBox([self.upload, self.strength, self.control])
        self.task.observe(self._show_task, "value")
        self.model.observe(self._suit, "value")
        self.draw.on_click(lambda _: self.start())
        self.stop.on_click(lambda _: self._stop.set())
        size = w.HBox([self.width, self.height])
        left = [self.prompt, self.negative, self.task, self._brought, self.model, self.lora, self.scale]
        left += [self.words] if words else []
        left += [self.seed, self.n, self.steps, self.guidance, size]
        right = [w.HBox([self.draw, self.stop]), self.bar, self.line, self.easel]
        panel = {"flex": "1 1 320px", "min_width": "0"}
        both = w.HBox(
            [w.VBox(left, layout=w.Layout(**panel)), w.VBox(right, layout=w.Layout(**panel))],
            layout=w.Layout(flex_flow="row wrap", width="100%"),
        )
        self.view = w.VBox([both, self.shelf])
        self._show_task()

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

    def wish(self):
        """What the fields say."""
        return Wish(
            prompt=self.prompt.value,
            negative=self.negative.value,
            task=self.task.value,
            model=self.model.value,
            lora=None if self.lora.value == NONE else self.lora.value,
            scale=self.scale.value,
            words=tuple(self.words.value),
            seed=self.seed.value,
            steps=self.steps.value,
            guidance=self.guidance.value,
            size=(self.width.value, self.height.value),
            n=self.n.value,
            strength=self.strength.value if self.task.value == "img2img" else None,
            control=self.control.value,
        )

    def take_back(self, index):
        """Put the settings of a picture in the history into the fields again."""
        _, _, wish, raw = self.history[index]
        # the model first: it sets size and guidance
        for name in ("model", "prompt", "negative", "task", "scale", "words", "seed", "steps", "guidance", "control"):
            getattr(self, name).value = getattr(wish, name)
        self.lora.value = wish.lora or NONE
        self.strength.value = wish.strength or self.strength.value
        self.n.value, (self.width.value, self.height.value) = 1, wish.size
        self._raw = raw
        self._say(f"第 {index + 1} 张的设置取回来了 · settings of picture {index + 1} taken back")

    def _draw(self):
        wish, raw = self.wish(), self._picture()
        try:
            picture = opened(raw) if raw and wish.task != "text2img" else None
            for frame in self.studio.draw(wish, picture, stop=self._stop):
                self._show(frame)
                if frame.text is not None:
                    self._keep(frame, wish, raw)
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
        if frame.picture is not None:
            self.easel.value = _file(frame.picture)

    def _keep(self, frame, wish, raw):
        """Put a picture into the history, under it a button that takes its settings back."""
        import dataclasses

        import ipywidgets as w

        index = len(self.history)
        self.history.append((frame.picture, frame.text, dataclasses.replace(wish, seed=frame.seed, n=1), raw))
        image = w.Image(value=png(frame.picture, frame.text), format="png", layout=w.Layout(width=SIDE))
        told = w.HTML(f'<div style="width: {SIDE}; line-height: 1.3; font-size: 12px">{_lines(frame.text)}</div>')
        back = w.Button(description="取回设置 · Take back", layout=w.Layout(width=SIDE))
        back.on_click(lambda _: self.take_back(index))
        card = w.VBox([image, back, told], layout=w.Layout(margin="4px"))
        self.shelf.children = (card, *self.shelf.children)[:KEPT]

    def _picture(self):
        """The bytes that were uploaded last, else those of the picture whose settings were taken back."""
        return bytes(self.upload.value[-1]["content"]) if self.upload.value else self._raw

    def _show_task(self, _=None):
        task = self.task.value
        self._brought.layout.display = "none" if task == "text2img" else "flex"
        self.strength.layout.display = "flex" if task == "img2img" else "none"
        self.control.layout.display = "flex" if task == "controlnet" else "none"

    def _suit(self, _=None):
        try:
            side, self.guidance.value = self.studio.suits(self.model.value)
            self.width.value = self.height.value = side
        except PaidiffError as error:
            self._say(str(error), wrong=True)

    def _say(self, text, hints=(), wrong=False):
        colour = ' style="color: #b91c1c; font-weight: 600"' if wrong else ""
        below = "".join(f"<div>{html.escape(hint)}</div>" for hint in hints)
        self.line.value = f"<div{colour}>{html.escape(text)}</div>{below}"


def _lines(text):
    return html.escape(text).replace("\n", "<br>")


def _file(picture):
    data = io.BytesIO()
    picture.convert("RGB").save(data, "PNG")
    return data.getvalue()


def _blank():
    from PIL import Image

    return Image.new("RGB", (8, 8), "#eeeeee")
