"""`paidiff web`: the models' own WebUI as a page that works on a laptop without a network. Gradio.

The page only translates: what was filled in -> a studio.Wish, a studio.Frame -> what is shown.
"""

import base64
import html
import io
import json
import logging
import os
import secrets
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: it would ask its makers for news

import gradio as gr  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from PIL import Image  # noqa: E402

from paidiff_lib.errors import (
    PaidiffError,  # noqa: E402
    one_line,  # noqa: E402
)
from paidiff_lib.files import ASSETS  # noqa: E402
from paidiff_lib.generate import STEPS  # noqa: E402
from paidiff_lib.metrics import canny  # noqa: E402
from paidiff_lib.schedulers import SAMPLERS  # noqa: E402

from ..engine import (
    FORMATS,  # noqa: E402
    PREVIEW_SECONDS,  # noqa: E402
    Studio,  # noqa: E402
    Wish,  # noqa: E402
    fit,  # noqa: E402
    opened,  # noqa: E402
)
from ..infotext import (
    png,  # noqa: E402
    settings_in,  # noqa: E402
)
from ..server.run import (
    LAST_SECONDS,  # noqa: E402
    check,  # noqa: E402
    listen,  # noqa: E402
)
from ..server.schemas import (
    MAX_PICTURES,  # noqa: E402
    MAX_PROMPT,  # noqa: E402
    MAX_SCALE,  # noqa: E402
    MAX_SEED,  # noqa: E402
    MAX_SIDE,  # noqa: E402
    MAX_STEPS,  # noqa: E402
    first_seed,  # noqa: E402
)
from ..server.security import (
    Guard,  # noqa: E402
    answer,  # noqa: E402
)
from .brush import CSS as BRUSH_CSS  # noqa: E402
from .brush import brush, mask_of, take

PROMPTS = ASSETS / "prompts/gallery_prompts.jsonl"
USER = "paidiff"  # who logs in; the password is the token
UPLOAD = "20mb"
WAITING = 64  # drawings that may wait
DAY = 86400
FONTS = ["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "sans-serif"]
NONE = "不用 · none"
ANY = "模型自己的 · the model's own"
TABS = {"text2img": "文生图", "img2img": "图生图", "inpaint": "局部重绘", "controlnet": "ControlNet"}
API = {"text2img": "txt2img", "img2img": "img2img", "inpaint": "inpaint", "controlnet": "controlnet"}
DRAW = "画 · Draw"
EMPTY = "图会画在这里 · pictures appear here"
CSS = """
footer { display: none !important; }
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
.tab-container button { padding-left: 12px !important; padding-right: 12px !important; }
#top { display: grid; grid-template: "ask see" auto "how see" 1fr / 6fr 5fr; }
#ask { grid-area: ask; } #see { grid-area: see; } #how { grid-area: how; }
#top > * { min-width: 0 !important; }
@media (max-width: 767px) {
  #top { display: flex; flex-direction: column; flex-wrap: nowrap; align-items: stretch; }
}
.gradio-container .fillable { padding-left: clamp(12px, 3vw, 32px) !important; }
.gradio-container .fillable { padding-right: clamp(12px, 3vw, 32px) !important; }
#head h1 { margin: 0; font-size: 1.5rem; }
#head p { margin: 0; opacity: .75; }
.easel { text-align: center; padding: 10px; }
.easel img { display: block; margin: 0 auto; width: 100%; max-width: 360px; aspect-ratio: var(--shape); }
.easel img { border-radius: 6px; }
.easel .bar { height: 8px; border-radius: 4px; overflow: hidden; margin: 8px 0; }
.easel .bar { background: var(--border-color-primary); }
.easel .bar div { height: 100%; background: var(--color-accent); }
.easel p { margin: 4px 0; overflow-wrap: anywhere; }
.easel .hint { color: var(--body-text-color-subdued); font-size: .95em; }
.easel .wrong { color: #b91c1c; font-weight: 600; font-size: 1.1em; }
.dark .easel .wrong { color: #fca5a5; }
"""


def run(host="127.0.0.1", port=7861, model=None, loras=None, token=None, say=print):
    """Serve the page until stopped. Raises PaidiffError on anything that keeps it from starting.

    token: needed to listen anywhere but on this machine; it is the password of the user "paidiff".
    """
    check(host, token, WAITING)
    with listen(host, port) as listening:  # before the model: a port in use is known at once
        studio = Studio(model, loras)
        app = make_app(studio, token)
        shown, chosen = listening.getsockname()[:2]
        shown = f"[{shown}]" if ":" in shown else shown
        who = f" · 用户 user {USER}, 密码是令牌 the token is the password" if token else ""
        say(f"模型 model {studio.models[0]} · http://{shown}:{chosen}{who} · Ctrl-C 停 stops")
        try:
            make_server(app).run(sockets=[listening])
        finally:
            studio.close()


def make_server(app):
    """A uvicorn server before the page; `run(sockets=[...])` starts it."""
    settings = {"log_level": "warning", "access_log": False, "server_header": False, "proxy_headers": False}
    return uvicorn.Server(uvicorn.Config(app, ws="none", timeout_graceful_shutdown=LAST_SECONDS, **settings))


def make_app(studio, token=None):
    """The page as an ASGI application, at "/"."""
    page, dressed = make_page(studio)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page.queue(max_size=WAITING),
        path="/",
        auth=(lambda user, password: _is_token(password, token)) if token else None,
        auth_message=f"用户 user: {USER} · 密码 password: 令牌 the token",
        max_file_size=UPLOAD,
        ssr_mode=False,
        footer_links=[],
        show_error=False,
        **dressed,
    )
    return app if token else Door(app)


class Door(Guard):
    """Without a token only this machine's own pages may ask. Of Guard's questions only this: uploads are no JSON."""

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            refusal = self._stranger(scope["path"], headers)
            if refusal:
                return await answer(send, *refusal)
        await self.app(scope, receive, send)


def upload_box(**settings):
    """A gr.Image that hands the file's bytes on as sent: the settings stay in, a broken one gives our own line.

    Not a subclass: for each of those gradio writes a .pyi file beside this one.
    """
    box = gr.Image(sources=["upload", "clipboard"], buttons=[], **settings)  # a full screen would hide the page
    box.preprocess = lambda sent: Path(sent.path).read_bytes() if sent and sent.path else None
    return box


def make_page(studio):
    """(the gr.Blocks, what mount_gradio_app must be told about its looks)."""
    side, guidance = studio.suits()
    hand = Hand(studio)
    theme = gr.themes.Default(primary_hue="teal", font=FONTS, font_mono=["ui-monospace", "monospace"])
    with gr.Blocks(
        title="paidiff · 中文文生图", analytics_enabled=False, fill_width=True, delete_cache=(DAY, DAY)
    ) as page:
        gr.Markdown(
            "# paidiff · 中文文生图\n提示词写中文,点 **画** · Write a prompt in Chinese, press **Draw**", elem_id="head"
        )
        with gr.Row(elem_id="top"):
            with gr.Column(elem_id="ask"):
                prompt = gr.Textbox(
                    "雪地里的两只企鹅", label="提示词 · Prompt", lines=2, max_length=MAX_PROMPT, elem_id="prompt"
                )
                negative = gr.Textbox(
                    label="反向提示词 · Negative prompt", lines=1, max_length=MAX_PROMPT, elem_id="negative"
                )
                with gr.Tabs(selected="text2img") as tabs:
                    own, buttons, edges = _tabs()
            with gr.Column(elem_id="see"):
                # above the picture: it must not move away while one is drawn
                stop = gr.Button("停 · Interrupt", variant="stop", elem_id="stop")
                easel = gr.HTML(_line(EMPTY), elem_id="easel")
                gallery = gr.Gallery(
                    label="图 · Pictures",
                    columns=2,
                    height=420,
                    object_fit="contain",
                    format="png",
                    elem_id="gallery",
                    buttons=["download", "fullscreen"],
                    interactive=False,
                )
                told = gr.Textbox(
                    label="这张图的设置,也在 PNG 里 · Its settings, in the PNG too",
                    lines=3,
                    buttons=["copy"],
                    elem_id="told",
                )
            with gr.Column(elem_id="how"):
                with gr.Row():
                    seed = gr.Number(
                        -1, precision=0, label="种子,-1 任意 · Seed, -1 any", min_width=120, elem_id="seed"
                    )
                    count = gr.Slider(
                        1, MAX_PICTURES, 1, step=1, label="张数 · Pictures", min_width=120, elem_id="count"
                    )
                steps = gr.Slider(1, MAX_STEPS, STEPS, step=1, label="步数 · Steps", elem_id="steps")
                strong = gr.Slider(0, 20, guidance, step=0.5, label="引导强度 · Guidance", elem_id="guidance")
                with gr.Row():
                    width = gr.Number(side, precision=0, label="宽 · Width", min_width=100, elem_id="width")
                    height = gr.Number(side, precision=0, label="高 · Height", min_width=100, elem_id="height")
                kind = gr.Dropdown([ANY, *SAMPLERS], value=ANY, label="采样器 · Sampler", elem_id="sampler")
        with gr.Row():
            with gr.Column(min_width=280):
                model = gr.Dropdown(studio.models, value=studio.models[0], label="模型 · Model", elem_id="model")
                lora = gr.Dropdown([NONE, *studio.loras()], value=NONE, label="LoRA", elem_id="lora")
                scale = gr.Slider(-2, 2, 1.0, step=0.05, label="LoRA 强度 · LoRA scale", elem_id="scale")
                words = gr.Dropdown(
                    _words(studio), value=[], multiselect=True, label="学来的词 · Textual Inversion", elem_id="words"
                )
                again = gr.Button("再看一遍文件夹 · Look again", size="sm", elem_id="again")
            with gr.Column(min_width=280):
                dropped = upload_box(label="取回设置 · Settings back", height=240, elem_id="dropped")
                report = gr.HTML(
                    _line("拖进画过的图,取回它的设置 · drop a picture to take its settings back"), elem_id="report"
                )
        with gr.Accordion(
            "画廊的 36 条提示词,点一条就取来 · The gallery's 36 prompts: click one to take it", elem_id="prompts"
        ):
            ready = _prompts()
            shelf = gr.Dataset(
                components=["textbox"],
                samples=[[one["prompt"]] for one in ready],
                type="index",
                samples_per_page=len(ready),
                layout="gallery",
                show_label=False,
            )

        shared = [prompt, negative, model, lora, scale, words, kind, seed, steps, strong, width, height, count]
        shows = [easel, gallery, told]
        hidden = {"show_progress": "hidden", "api_visibility": "private"}
        for task, button in buttons.items():
            asked = shared + own[task]
            painted = take("inpaint-picture", len(asked) - 1) if task == "inpaint" else None
            button.click(hand.ready, None, easel, queue=False, **hidden).then(
                hand.drawing(task),
                asked,
                shows,
                show_progress="hidden",
                concurrency_limit=1,
                concurrency_id="pipe",
                api_name=API[task],
                js=painted,
            )
        stop.click(hand.stop, None, None, queue=False, **hidden)
        page.unload(hand.stop)
        gallery.select(hand.choose, None, told, queue=False, **hidden)
        shelf.click(
            lambda index: (ready[index]["prompt"], ready[index]["negative_prompt"]),
            shelf,
            [prompt, negative],
            queue=False,
            **hidden,
        )
        for event in (again.click, page.load):
            event(hand.look, [lora, words], [lora, words], queue=False, **hidden)
        model.input(hand.suit, model, [strong, width, height, easel], **hidden)
        picture = own["controlnet"][0]
        picture.change(hand.edges, [picture, width, height], [edges, easel], **hidden)
        dropped.upload(
            hand.restore,
            dropped,
            [
                prompt,
                negative,
                model,
                lora,
                scale,
                words,
                kind,
                seed,
                steps,
                strong,
                width,
                height,
                count,
                tabs,
                own["img2img"][1],
                own["inpaint"][1],
                own["controlnet"][1],
                report,
            ],
            api_name="settings",
            show_progress="hidden",
        )
    return page, {"theme": theme, "css": CSS + BRUSH_CSS}


def _tabs():
    """({task: its own inputs}, {task: its button}, where ControlNet's edges are shown)."""
    own, buttons = {}, {}
    with gr.Tab(TABS["text2img"], id="text2img"):
        gr.Markdown("只凭提示词画 · Text to image: from the prompt alone")
        own["text2img"], buttons["text2img"] = [], gr.Button(DRAW, variant="primary", elem_id="draw-text2img")
    with gr.Tab(TABS["img2img"], id="img2img"):
        start = _upload("从这张图画起 · Begin with", "img2img")
        strength = gr.Slider(0.05, 1, 0.75, step=0.05, label="改动多少 · Strength", elem_id="img2img-strength")
        own["img2img"] = [start, strength]
        buttons["img2img"] = gr.Button(DRAW, variant="primary", elem_id="draw-img2img")
    with gr.Tab(TABS["inpaint"], id="inpaint"):
        # no label: it would lie over a corner of what is to be painted
        start = upload_box(show_label=False, height=340, elem_id="inpaint-picture")
        paint = brush("inpaint-picture")
        strength = gr.Slider(0.05, 1, 1, step=0.05, label="改动多少 · Strength", elem_id="inpaint-strength")
        own["inpaint"] = [start, strength, paint]
        buttons["inpaint"] = gr.Button(DRAW, variant="primary", elem_id="draw-inpaint")
    with gr.Tab(TABS["controlnet"], id="controlnet"):
        with gr.Row():
            start = _upload("原图 · Picture", "controlnet")
            edges = gr.Image(
                label="轮廓 · Edges",
                height=260,
                interactive=False,
                format="png",
                buttons=[],
                elem_id="edges",
                min_width=140,
            )
        control = gr.Slider(0, 2, 1, step=0.05, label="轮廓管多少 · How strongly", elem_id="control")
        own["controlnet"] = [start, control]
        buttons["controlnet"] = gr.Button(DRAW, variant="primary", elem_id="draw-controlnet")
    return own, buttons, edges


def _upload(label, task):
    return upload_box(label=label, height=260, elem_id=f"{task}-picture", min_width=140)


class Hand:
    """What the page's buttons do. stops: the running drawing of every open page, by its session."""

    def __init__(self, studio):
        self.studio, self.stops = studio, {}

    def ready(self, request: gr.Request):
        """The button was pressed: from now on it can be stopped, also while others are before it."""
        self.stops[request.session_hash] = threading.Event()
        return _line("排队…… · waiting for the others")

    def stop(self, request: gr.Request):
        if request.session_hash in self.stops:
            self.stops[request.session_hash].set()

    def drawing(self, task):
        """The function behind a tab's button: a generator of what the page shows."""

        def draw(request: gr.Request, *filled):
            stop = self.stops.setdefault(request.session_hash, threading.Event())
            try:
                yield from self._draw(task, stop, *filled)
            except PaidiffError as error:
                yield _wrong(str(error)), gr.skip(), gr.skip()
            except Exception:
                logging.getLogger(__name__).exception("画不出来 · a drawing failed")
                yield _wrong("画的时候出错了,看终端 · drawing failed, see the terminal"), gr.skip(), gr.skip()
            finally:
                if self.stops.get(request.session_hash) is stop:
                    del self.stops[request.session_hash]

        draw.__name__ = API[task]
        return draw

    def _draw(self, task, stop, *filled):
        wish, picture, mask = self._wish(task, *filled)
        begun, due, shown, texts, frame = time.monotonic(), 0, [], [], None
        with tempfile.TemporaryDirectory(prefix="paidiff-") as folder:
            for frame in self.studio.draw(wish, picture, mask, stop):
                if frame.text is None:
                    if time.monotonic() >= due:  # the browser answers every line with much work of its own
                        due = time.monotonic() + PREVIEW_SECONDS
                        yield _easel(frame), gr.skip(), gr.skip()
                    continue
                path = Path(folder) / f"paidiff-{frame.seed}{'-stopped' if frame.stopped else ''}.png"
                path.write_bytes(png(frame.picture, frame.text))
                shown.append((str(path), f"{'停在 stopped · ' if frame.stopped else ''}seed {frame.seed}"))
                texts.append(frame.text)
                yield _easel(frame), gr.Gallery(shown, selected_index=0 if wish.n == 1 else None), texts[0]
            seconds = time.monotonic() - begun
            whole = len(shown) == wish.n and not frame.stopped
            what = "画好了 · done:" if whole else "停了,留下 · stopped, kept"
            hints = frame.hints if frame else ()
            yield _line(f"{what} {len(shown)} 张 pictures · {seconds:.1f} s", hints), gr.skip(), gr.skip()

    def _wish(
        self, task, prompt, negative, model, lora, scale, words, kind, seed, steps, guidance, width, height, count, *own
    ):
        """(Wish, picture, mask). Raises PaidiffError on what only a page must refuse."""
        side, suits = self.studio.suits(model)
        size = (int(width or side), int(height or side))
        most = min(MAX_SIDE, MAX_SCALE * side)
        if max(size) > most:
            asked = f"{size[0]}x{size[1]}"
            raise PaidiffError(
                f"这个模型宽和高最多 {most} · width and height are at most {most} with this model: {asked}"
            )
        if max(len(prompt), len(negative)) > MAX_PROMPT:
            raise PaidiffError(f"提示词最多 {MAX_PROMPT} 字 · a prompt has at most {MAX_PROMPT} characters")
        if seed is not None and seed > MAX_SEED:
            raise PaidiffError(f"种子最大 {MAX_SEED} · a seed is at most {MAX_SEED}")
        start, strength, *paint = own or (None, None)
        picture = opened(start) if start else None
        mask = mask_of(paint[0], picture.size) if paint and picture else None
        wish = Wish(
            prompt,
            negative,
            task,
            model,
            None if lora in (None, NONE) else lora,
            scale,
            tuple(words or ()),
            None if kind in (None, ANY) else kind,
            first_seed(seed),
            int(steps),
            guidance,
            size,
            int(count),
        )
        more = {} if not own else {"control": strength} if task == "controlnet" else {"strength": strength}
        return replace(wish, **more), picture, mask

    def choose(self, chosen: gr.SelectData):
        """The settings of the picture that was clicked, from its file."""
        try:
            with Image.open(chosen.value["image"]["path"], formats=["PNG"]) as picture:
                return picture.info.get("parameters", "")
        except (OSError, KeyError, TypeError):
            return gr.skip()

    def look(self, lora, words):
        """What is in the folder now; what was chosen stays, if it is still there."""
        loras, there = [NONE, *self.studio.loras()], _words(self.studio)
        names = [name for _, name in there]
        return (
            gr.Dropdown(loras, value=lora if lora in loras else NONE),
            gr.Dropdown(there, value=[word for word in words or () if word in names]),
        )

    def suit(self, model):
        try:
            side, guidance = self.studio.suits(model)
        except PaidiffError as error:
            return gr.skip(), gr.skip(), gr.skip(), _wrong(str(error))
        return guidance, side, side, _line(f"{model} · {side}x{side}")

    def edges(self, raw, width, height):
        if raw is None:
            return None, gr.skip()
        try:
            size = tuple(min(max(int(side or 128), 8), MAX_SIDE) for side in (width, height))
            return canny(fit(opened(raw), size)), gr.skip()
        except PaidiffError as error:
            return None, _wrong(str(error))

    def restore(self, raw):
        """The settings in a picture -> every field of the page."""
        fields = 17
        if raw is None:
            return [gr.skip()] * fields + [""]
        try:
            found = _settings(raw)
            values, missed = self._fields(found)
        except PaidiffError as error:
            return [gr.skip()] * fields + [_wrong(str(error))]
        line = "设置取回来了 · settings taken back"
        return values + [_line(line, [f"这里没有 · not here: {', '.join(missed)}"] if missed else ())]

    def _fields(self, found):
        """(values of the fields in the order of the page, names that are not to be had here). Raises PaidiffError."""
        loras, words = self.studio.loras(), self.studio.words()
        lora, scale = next(iter(found["LoRA"]), (NONE, 1))
        wanted = [word for word in found.get("TI", "").split(" | ") if word]
        model, kind, task = found.get("Model"), found.get("Sampler", ANY), found.get("Task", "text2img")
        missed = [model] if model and model not in self.studio.models else []
        missed += [lora] if lora not in (NONE, *loras) else []
        missed += [word for word in wanted if word not in words]
        missed += [kind] if kind not in (ANY, *SAMPLERS) else []
        strength = _number(found, "Denoising strength", 0.75)
        task = "img2img" if task == "text2img" and "Denoising strength" in found else task
        size = found.get("Size", "x").split("x")
        values = [
            found.get("Prompt", ""),
            found.get("Negative prompt", ""),
            gr.skip() if model in missed or not model else model,
            NONE if lora in missed else lora,
            float(scale),
            [word for word in wanted if word in words],
            ANY if kind in missed else kind,
            _number(found, "Seed", -1, int),
            _number(found, "Steps", STEPS, int),
            _number(found, "CFG scale", gr.skip()),
            *(int(side) if side.isdecimal() else gr.skip() for side in size[:2]),
            1,
            gr.Tabs(selected=task if task in TABS else "text2img"),
            strength if task == "img2img" else gr.skip(),
            strength if task == "inpaint" else gr.skip(),
            _number(found, "Control scale", 1.0),
        ]
        return values, [one_line(name) for name in missed]


def _settings(raw):
    """Raises PaidiffError on a broken picture, and on one that says nothing."""
    opened(raw)
    with Image.open(io.BytesIO(raw), formats=FORMATS) as picture:
        picture.load()  # PNG texts may stand behind the pixels
        found = settings_in(picture)
    if not found:
        raise PaidiffError("这张图里没有设置 · there are no settings in this picture")
    return found


def _number(found, key, otherwise, kind=float):
    try:
        return kind(found[key])
    except (KeyError, ValueError, OverflowError):
        return otherwise


def _words(studio):
    return [(f"{name} · {token}" if token else name, name) for name, token in studio.words().items()]


def _prompts():
    return [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines() if line.strip()]


def _is_token(password, token):
    return secrets.compare_digest(password.encode(), token.encode())


def _easel(frame):
    """The picture as it is now, a bar, a line."""
    part = (frame.index + (frame.step / frame.steps if frame.steps else 0)) / frame.n
    line = f"第 {frame.index + 1} / {frame.n} 张 · 步 step {frame.step} / {frame.steps} · seed {frame.seed}"
    shown = ""
    if frame.picture is not None:
        data = io.BytesIO()
        frame.picture.convert("RGB").save(data, "JPEG", quality=85)
        source = base64.b64encode(data.getvalue()).decode()
        shape = f"{frame.picture.width} / {frame.picture.height}"
        shown = f'<img style="--shape: {shape}" alt="正在画 · being drawn" src="data:image/jpeg;base64,{source}">'
    bar = f'<div class="bar"><div style="width: {100 * part:.0f}%"></div></div>'
    return f'<div class="easel">{shown}{bar}<p>{line}</p>{_hints(frame.hints)}</div>'


def _line(text, hints=()):
    return f'<div class="easel"><p>{html.escape(text)}</p>{_hints(hints)}</div>'


def _wrong(text):
    return f'<div class="easel"><p class="wrong">{html.escape(text)}</p></div>'


def _hints(hints):
    return "".join(f'<p class="hint">{html.escape(hint)}</p>' for hint in hints)
