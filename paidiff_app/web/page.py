"""The page: its fields by name, where they stand, and which handler each event calls."""

from inspect import isgeneratorfunction, signature
from pathlib import Path

import gradio as gr

from paidiff_lib.generate import STEPS
from paidiff_lib.schedulers import SAMPLERS

from ..labels import ACTIONS, ANY, CHIPS, DICE, DRAW, LABELS, NONE, OPENING, STOP, TASKS, embedding_choices
from ..server.schemas import MAX_PICTURES, MAX_PROMPT, MAX_STEPS
from .brush import brush_bar, take_paint
from .handlers import EMPTY, LORAS, WRITTEN, Handlers, as_line

STYLE = Path(__file__).with_name("style.css")
DAY = 86400
FONTS = ["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "sans-serif"]
HEAD = """<h1>paidiff · 中文文生图</h1>
<p>提示词写中文,点 <b>画</b>,或按 Ctrl+Enter · Write a prompt in Chinese, press <b>Draw</b> or Ctrl+Enter</p>"""
# Ctrl+Enter presses the button of the tab that is seen
KEYS = """document.addEventListener('keydown', event => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
  event.preventDefault();
  [...document.querySelectorAll('[id^=draw-]')].find(button => button.offsetParent)?.click()
})"""
GALLERY = "画廊的 36 条提示词,点一条就取来,✓ 这个模型画得出 · The gallery's 36 prompts, ✓ this model can draw"
# What every drawing is asked with, in the order of the API, and what a task adds to it.
SHARED = (*WRITTEN, "model", "lora", "lora_scale", "embeddings", "sampler")
SHARED += ("seed", "steps", "guidance", "width", "height", "n", *(name for pair in LORAS[1:] for name in pair))
OWN = {
    "text2img": ("hires",),
    "img2img": ("img2img_image", "img2img_strength"),
    "inpaint": ("inpaint_image", "inpaint_strength", "feather", "paint"),
    "controlnet": ("controlnet_image", "control_scale"),
}
API = {"text2img": "txt2img"}  # the WebUI's name
BESIDE = ("compare", "differs")
SHOWN = ("easel", "gallery", "infotext", "stop", "history", *BESIDE)
RESTORED = (*SHARED, "tabs", "img2img_strength", "inpaint_strength", "control_scale", "feather", "hires", "report")
QUIET = {"show_progress": "hidden", "api_visibility": "private"}


def make_page(engine, output=None):
    """(the gr.Blocks, what mount_gradio_app must be told about its looks). output: the folder that keeps every picture."""
    looks = {"title": "paidiff · 中文文生图", "analytics_enabled": False, "fill_width": True}
    with gr.Blocks(delete_cache=(DAY, DAY), **looks) as page:
        handlers = Handlers(engine, output)
        form = Form(engine, handlers)
        gr.HTML(HEAD, elem_id="head", js_on_load=KEYS)
        with gr.Row(elem_id="top"):
            with gr.Column(elem_id="ask"):
                form.show("prompt")
                _chips(form)
                form.show("negative_prompt", ("model", *LORAS[0]), *LORAS[1:])
                _tabs(form)
            with gr.Column(elem_id="see"):
                form.show("stop", "easel", "gallery", tuple(ACTIONS), "infotext", "dropped", "report")
            with gr.Column(elem_id="how"):
                form.show(("seed", "n"), "steps", "guidance", ("width", "height"), ("sampler", "embeddings"), "again")
        form.show(*BESIDE, "history")
        with gr.Accordion(GALLERY, elem_id="prompts"):
            form.show("gallery_prompts")
        _connect(page, form, handlers)
    return page, {"theme": _theme(), "css": STYLE.read_text(encoding="utf-8")}


def _theme():
    """Gradio's own, its colours dark enough for white letters, its grey letters for a white page (WCAG AA)."""
    theme = gr.themes.Default(primary_hue="teal", font=FONTS, font_mono=["ui-monospace", "monospace"])
    primary, stop = {"": "*primary_700", "_hover": "*primary_800"}, {"": "#b91c1c", "_hover": "#991b1b"}
    colours = {"button_primary_background_fill": primary, "button_cancel_background_fill": stop}
    shades = {
        f"{name}{on}{dark}": c for name, one in colours.items() for on, c in one.items() for dark in ("", "_dark")
    }
    return theme.set(body_text_color_subdued="*neutral_600", **shades)


class Form(dict):
    """The page's components by name: {name: component}.

    They are made before they are shown: gradio counts them, and hands a set of them to the API in that order.
    """

    def __init__(self, engine, handlers):
        side, guidance = engine.suits()
        text, number = {"max_length": MAX_PROMPT}, {"precision": 0, "min_width": 100}
        self["dice"] = gr.Button(DICE, elem_id="dice", render=False)
        self._add(gr.Textbox, "prompt", value=OPENING, lines=2, buttons=[self["dice"]], **text)
        self._add(gr.Textbox, "negative_prompt", lines=1, **text)
        self._add(gr.Dropdown, "model", choices=engine.models, value=engine.models[0])
        self._add(gr.Dropdown, "lora", choices=[NONE, *engine.loras()], value=NONE)
        self._add(gr.Slider, "lora_scale", scale=2, minimum=-2, maximum=2, value=1.0, step=0.05)
        self._add(gr.Dropdown, "embeddings", choices=embedding_choices(engine), value=[], multiselect=True)
        self._add(gr.Dropdown, "sampler", choices=[ANY, *SAMPLERS], value=ANY)
        self._add(gr.Number, "seed", value=-1, **number)
        self._add(gr.Slider, "steps", minimum=1, maximum=MAX_STEPS, value=STEPS, step=1)
        self._add(gr.Slider, "guidance", minimum=0, maximum=20, value=guidance, step=0.5)
        self._add(gr.Number, "width", value=side, **number)
        self._add(gr.Number, "height", value=side, **number)
        self._add(gr.Slider, "n", minimum=1, maximum=MAX_PICTURES, value=1, step=1, min_width=120)
        for name, scale in LORAS[1:]:
            self._add(gr.Dropdown, name, "lora", choices=self["lora"].choices, value=NONE, visible=False)
            self._add(gr.Slider, scale, "lora_scale", minimum=-2, maximum=2, value=1.0, step=0.05, visible=False)
        self._add(gr.Checkbox, "hires", value=False)
        self._add_own()
        self._add_shown()
        self._add_choices(handlers)

    def _add_own(self):
        """What belongs to one tab."""
        self._upload("img2img_image", "image", height=260, min_width=140)
        self._add(gr.Slider, "img2img_strength", "strength", minimum=0.05, maximum=1, value=0.75, step=0.05)
        # no label: it would lie over a corner of what is to be painted
        self._upload("inpaint_image", None, height=340)
        self._add(gr.Slider, "inpaint_strength", "strength", minimum=0.05, maximum=1, value=1, step=0.05)
        self._add(gr.Slider, "feather", minimum=0, maximum=16, value=4, step=1)
        self._add(gr.Textbox, "paint", None, visible=False)
        self._upload("controlnet_image", "control_image", height=260, min_width=140)
        self._add(gr.Slider, "control_scale", minimum=0, maximum=2, value=1, step=0.05)
        drawn = {"interactive": False, "format": "png"}
        self._add(gr.Image, "edges", height=260, buttons=[], min_width=140, **drawn)
        for task in TASKS:
            self[f"draw_{task}"] = gr.Button(DRAW, variant="primary", elem_id=f"draw-{task}", render=False)

    def _add_shown(self):
        """What a drawing is seen in, and what is not asked with it."""
        self["stop"] = gr.Button(STOP, variant="stop", elem_id="stop", visible=False, render=False)
        self._add(gr.HTML, "easel", None, value=as_line(EMPTY))
        looks = {"columns": 2, "height": 420, "object_fit": "contain", "buttons": ["download", "fullscreen"]}
        self._add(gr.Gallery, "gallery", interactive=False, format="png", **looks)
        self._add(gr.Textbox, "infotext", lines=3, buttons=["copy"])
        for name, label in ACTIONS.items():
            self[name] = gr.Button(label, size="sm", min_width=88, elem_id=name, render=False)
        looks = {"interactive": False, "format": "png", "object_fit": "contain", "buttons": []}
        self._add(gr.Gallery, "compare", columns=2, fit_columns=False, allow_preview=False, visible=False, **looks)
        self._add(gr.HTML, "differs", None)
        self._add(gr.Gallery, "history", columns=8, height=240, fit_columns=False, allow_preview=False, **looks)
        self["again"] = gr.Button("再看一遍文件夹 · Look again", size="sm", elem_id="again", render=False)
        self._upload("dropped", "dropped", height=150)
        hint = "拖进画过的图,取回它的设置 · drop a picture to take its settings back"
        self._add(gr.HTML, "report", None, value=as_line(hint))

    def _add_choices(self, handlers):
        """Words and whole prompts to choose from."""
        there, now = handlers.known(OPENING)
        self.has_chips = bool(there)
        for part, label in CHIPS.items():
            looks = {"show_label": False, "container": False, "elem_classes": "chips", "render": False}
            self[f"chip_{part}"] = gr.Radio(there.get(part, []), value=now.get(part, ""), label=label, **looks)
        samples, looks = [[one["prompt"]] for one in handlers.prompts], {"layout": "gallery", "show_label": False}
        looks |= {"type": "index", "samples_per_page": len(samples), "sample_labels": handlers.marks()}
        self["gallery_prompts"] = gr.Dataset(components=["textbox"], samples=samples, render=False, **looks)

    def _add(self, kind, name, label="", **settings):
        """label: of the table, by another name than the field's; None: no label."""
        settings |= {} if label is None else {"label": LABELS[label or name][0]}
        elem_id = name.replace("_image", "_picture").replace("_", "-")
        self[name] = kind(**settings, elem_id=elem_id, render=False)

    def _upload(self, name, label, **settings):
        """A gr.Image that hands the file's bytes on as sent: the settings stay in, a broken one gives our own line.

        Not a subclass: for each of those gradio writes a .pyi file beside this one.
        """
        settings |= {"show_label": False} if label is None else {}
        self._add(gr.Image, name, label, sources=["upload", "clipboard"], buttons=[], **settings)
        # a full screen would hide the page
        self[name].preprocess = lambda sent: Path(sent.path).read_bytes() if sent and sent.path else None

    def show(self, *names):
        """Put components where the page is being laid out; a tuple of names stands in one row."""
        for name in names:
            if isinstance(name, tuple):
                with gr.Row():
                    self.show(*name)
            else:
                self[name].render()

    def some(self, names):
        return [self[name] for name in names]

    def by_name(self, handler):
        """A handler of {name: value} and the session, that gives {name: value}, as gradio calls it: by components."""
        names = {component: name for name, component in self.items()}

        def given(values):
            return {names[component]: value for component, value in values.items()}

        def found(values):
            return {self[name]: value for name, value in values.items()}

        def one(values, request: gr.Request):
            return found(handler(given(values), request.session_hash))

        def many(values, request: gr.Request):
            yield from map(found, handler(given(values), request.session_hash))

        def picked(values, chosen: gr.SelectData, request: gr.Request):
            return found(handler(given(values), request.session_hash, chosen.index))

        if "index" in signature(handler).parameters:
            return picked
        return many if isgeneratorfunction(handler) else one


def _chips(form):
    with gr.Tabs(elem_id="chips", visible=form.has_chips) as form["chips"]:
        for part, label in CHIPS.items():
            with gr.Tab(label, id=part):
                form.show(f"chip_{part}")


def _tabs(form):
    with gr.Tabs(selected="text2img") as form["tabs"]:
        with gr.Tab(TASKS["text2img"][0], id="text2img"):
            form.show("hires", "draw_text2img")
        with gr.Tab(TASKS["img2img"][0], id="img2img"):
            form.show("img2img_image", "img2img_strength", "draw_img2img")
        with gr.Tab(TASKS["inpaint"][0], id="inpaint"):
            form.show("inpaint_image")
            brush_bar("inpaint-picture")
            form.show("paint", ("inpaint_strength", "feather"), "draw_inpaint")
        with gr.Tab(TASKS["controlnet"][0], id="controlnet"):
            form.show(("controlnet_image", "edges"), "control_scale", "draw_controlnet")


def _connect(page, form, handlers):
    """Every event and what it calls."""

    def on(event, handler, inputs, outputs, **settings):
        return event(form.by_name(handler), set(form.some(inputs)), form.some(outputs), **settings)

    for task, own in OWN.items():
        asked = SHARED + own
        pressed = on(form[f"draw_{task}"].click, handlers.ready, (), ("easel", "stop"), queue=False, **QUIET)
        settings = {"show_progress": "hidden", "concurrency_limit": 1, "concurrency_id": "engine"}
        settings["js"] = take_paint("inpaint-picture", len(asked) - 1) if task == "inpaint" else None
        on(pressed.then, handlers.draw(task), asked, SHOWN, api_name=API.get(task, task), **settings)
    form["stop"].click(handlers.stop, None, None, queue=False, **QUIET)
    page.unload(handlers.close)
    _connect_pictures(form, handlers, on)
    shown = ("chips", *(f"chip_{part}" for part in CHIPS))
    quick = {"queue": False, "trigger_mode": "always_last", **QUIET}
    on(form["prompt"].change, handlers.chips, ("prompt", "model"), shown, **quick)
    for part in CHIPS:
        chip = f"chip_{part}"
        on(form[chip].input, handlers.write(part), ("prompt", "model", chip), ("prompt",), queue=False, **QUIET)
    on(form["dice"].click, handlers.throw, ("model",), WRITTEN, queue=False, **QUIET)
    chosen, take = form["gallery_prompts"], lambda index: [handlers.prompts[index][name] for name in WRITTEN]
    chosen.click(take, chosen, form.some(WRITTEN), queue=False, **QUIET)
    shelf = (*(name for name, _ in LORAS), "embeddings")
    on(form["again"].click, handlers.look_again, shelf, shelf, queue=False, **QUIET)
    on(page.load, handlers.open, shelf, (*shelf, "history"), queue=False, **QUIET)
    for name, _ in LORAS[:2]:
        offered = tuple(name for pair in LORAS[1:] for name in pair)
        on(form[name].change, handlers.offer_loras, tuple(name for name, _ in LORAS), offered, queue=False, **QUIET)
    on(form["tabs"].select, handlers.leave, ("easel",), ("easel",), queue=False, **QUIET)
    suited = ("guidance", "width", "height", "easel", "gallery_prompts", *shown)
    on(form["model"].input, handlers.suit, ("model", "prompt"), suited, **QUIET)
    traced, change = ("controlnet_image", "width", "height"), form["controlnet_image"].change
    on(change, handlers.edges, traced, ("edges", "easel"), **QUIET)
    on(form["dropped"].upload, handlers.restore, ("dropped",), RESTORED, api_name="settings", show_progress="hidden")


def _connect_pictures(form, handlers, on):
    """What can be done with a picture that was drawn."""
    quick, said = {"queue": False, **QUIET}, ("easel", *BESIDE)
    on(form["gallery"].select, handlers.choose, (), ("infotext", *BESIDE), **quick)
    on(form["history"].select, handlers.take, (), (*RESTORED, "easel", "gallery", "infotext", *BESIDE), **quick)
    on(form["reuse"].click, handlers.reuse, (), ("seed", "easel"), **quick)
    on(form["pin"].click, handlers.pin, (), said, **quick)
    for task in ("img2img", "inpaint", "controlnet"):
        on(form[task].click, handlers.send(task), (), (f"{task}_image", "tabs", "easel"), **quick)
