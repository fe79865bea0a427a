"""What the page's buttons do: from {field: value} and the session to {field: what to show}. The page only translates:
what was filled in -> a GenerationRequest, a Frame -> what is shown.
"""

import base64
import html
import io
import json
import logging
import random
import re
import threading
import time

import gradio as gr
from PIL import Image

from paidiff_lib.errors import PaidiffError, one_line
from paidiff_lib.files import ASSETS
from paidiff_lib.known_words import random_prompt
from paidiff_lib.metrics import canny
from paidiff_lib.schedulers import KARRAS, SAMPLERS
from paidiff_lib.upscaling import STRENGTH as HIRES

from ..chips import chips, chosen, with_word
from ..engine import FORMATS, PREVIEW_SECONDS, GenerationRequest, fit_image, open_image
from ..infotext import lora_tag, parse, settings_in, text_in
from ..labels import ANY, CHIPS, NO_WORD, NONE, TASKS, embedding_choices
from ..server.schemas import MAX_PROMPT, MAX_SEED, MAX_SIDE, MAX_STEPS, check_size, first_seed
from .brush import mask_of
from .history import Pages

# field: (the WebUI's key, its kind, the least and the most that the field holds)
NUMBERS = {
    "seed": ("Seed", int, -1, MAX_SEED),
    "steps": ("Steps", int, 1, MAX_STEPS),
    "guidance": ("CFG scale", float, 0, 20),
    "control_scale": ("Control scale", float, 0, 2),
    "feather": ("Mask blur", float, 0, 16),
}
TAKEN = {"Prompt", "Negative prompt", "LoRA", "Model", "Sampler", "Schedule type", "TI", "Task", "Size"}
TAKEN |= {"Denoising strength", "Hires resize", *(key for key, *_ in NUMBERS.values())}
DESCRIBED = {"Model hash", "VAE hash", "Lora hashes", "TI hashes", "Hashes", "Version", "Stopped at"}  # set nothing


PROMPTS = ASSETS / "prompts/gallery_prompts.jsonl"
WRITTEN = ("prompt", "negative_prompt")
LORAS = (("lora", "lora_scale"), ("lora_2", "lora_scale_2"), ("lora_3", "lora_scale_3"))
EMPTY = "图会画在这里 · pictures appear here"
FIRST = "先画一张 · draw a picture first"
PIN = "钉住了,再画一张或点一张就比 · pinned: draw or choose another one to compare"


_FIELDS = {"lora": gr.Dropdown, "lora_scale": gr.Slider}


class Handlers:
    """pages: what every open page has drawn, by its session. prompts: those of the gallery. output: see Pages."""

    def __init__(self, engine, output=None):
        self.engine, self.pages = engine, Pages(output)
        self.prompts = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines() if line.strip()]

    def known(self, prompt, model=None):
        """({part: the choices of its chips}, {part: the one that the prompt names}); none of a model without a list."""
        known = self.engine.words(model)
        there = {part: [(NO_WORD, ""), *((word, word) for word in found)] for part, found in chips(known).items()}
        return there, chosen(prompt, known)

    def chips(self, values, session):
        there, now = self.known(values["prompt"], values["model"])
        fields = {f"chip_{part}": gr.Radio(there.get(part, []), value=now.get(part, "")) for part in CHIPS}
        return fields | {"chips": gr.Tabs(visible=bool(there))}

    def write(self, part):
        """What the chips of a part call: the prompt with that word."""

        def write(values, session):
            known = self.engine.words(values["model"])
            return {"prompt": with_word(values["prompt"], part, values[f"chip_{part}"] or None, known)}

        return write

    def throw(self, values, session):
        """The dice: a prompt of the model's words, else one of the gallery."""
        known = self.engine.words(values["model"])
        if known:
            return {"prompt": random_prompt(known)}
        return {name: text for name, text in random.choice(self.prompts).items() if name in WRITTEN}

    def marks(self, model=None):
        """The gallery's prompts as they are shown: those that the model can be expected to draw are marked."""
        texts = [one["prompt"] for one in self.prompts]
        return [f"✓ {text}" if can else text for text, can in zip(texts, self.engine.drawable(texts, model))]

    def open(self, values, session):
        """A page was opened: its history is what the folder keeps."""
        return {"history": self.pages[session].pictures} | self.look_again(values, session)

    def close(self, request: gr.Request):
        self.pages.forget(request.session_hash)

    def ready(self, values, session):
        """The button was pressed: from now on it can be stopped, also while others are before it."""
        self.pages[session].stop = threading.Event()
        return {"easel": as_line("排队…… · waiting for the others"), "stop": gr.Button(visible=True)}

    def stop(self, request: gr.Request):
        if stop := self.pages[request.session_hash].stop:
            stop.set()

    def draw(self, task):
        """What a tab's button calls: a generator of what the page shows."""

        def draw(values, session):
            page = self.pages[session]
            page.stop = stop = page.stop or threading.Event()
            try:
                said = yield from self._draw(self._request(task, values), page, stop)
            except PaidiffError as error:
                said = {"easel": as_wrong(str(error))}
            except Exception:
                logging.getLogger(__name__).exception("画不出来 · a drawing failed")
                said = {"easel": as_wrong("画的时候出错了,看终端 · drawing failed, see the terminal")}
            finally:
                if page.stop is stop:
                    page.stop = None
            yield said | {"stop": gr.Button(visible=page.stop is not None)}

        return draw

    def _draw(self, request, page, stop):
        """Yield what is shown while images are drawn; returns what is shown at the end."""
        begun, due, count, frame = time.monotonic(), 0, 0, None
        for frame in self.engine.draw(request, stop):
            if frame.text is None:
                if time.monotonic() >= due:  # the browser answers every line with much work of its own
                    due = time.monotonic() + PREVIEW_SECONDS
                    yield {"easel": as_easel(frame)}
                continue
            if not count:
                page.shown, page.at = [], 0
            count += 1
            page.add(frame)
            gallery = gr.Gallery(page.shown, selected_index=0 if request.n == 1 else None)
            text = {"infotext": frame.text} | self._beside(page) if count == 1 else {}
            try:
                self.pages.keep(frame)  # before it is shown: who leaves then has it still
            finally:  # a full disk takes no picture away
                yield {"easel": as_easel(frame), "gallery": gallery, "history": page.pictures, **text}
        seconds = time.monotonic() - begun
        whole = count == request.n and not frame.stopped
        what = "画好了 · done:" if whole else "停了,留下 · stopped, kept"
        hints = frame.hints if frame else ()
        return {"easel": as_line(f"{what} {count} 张 pictures · {seconds:.1f} s", hints)}

    def choose(self, values, session, index):
        """A picture of the gallery was clicked: its settings."""
        page = self.pages[session]
        page.at = index
        return {"infotext": _text(page.chosen())} | self._beside(page)

    def take(self, values, session, index):
        """A picture of the history was clicked: it comes back, with its settings in the fields."""
        page = self.pages[session]
        page.shown, page.at = page.pictures[index : index + 1], 0
        if not page.shown:  # clicked in a history that is longer than ours
            return {"report": as_wrong("这张图不在了 · this picture is gone")}
        path, _ = page.chosen()
        with open(path, "rb") as file:
            fields = self.restore({"dropped": file.read()}, session)
        said = fields.pop("report")
        gallery = {"gallery": gr.Gallery(page.shown, selected_index=0), "infotext": _text(page.chosen())}
        return fields | gallery | {"easel": said} | self._beside(page)

    def reuse(self, values, session):
        """The seed of the chosen picture into its field."""
        seed = parse(_text(self.pages[session].chosen())).get("Seed")
        return {"seed": int(seed)} if seed else {"easel": as_wrong(FIRST)}

    def send(self, task):
        """What the button calls that makes the chosen picture the beginning of a task."""

        def send(values, session):
            one = self.pages[session].chosen()
            return {f"{task}_image": one[0], "tabs": gr.Tabs(selected=task)} if one else {"easel": as_wrong(FIRST)}

        return send

    def pin(self, values, session):
        """The chosen picture stays, and every later one stands beside it."""
        page = self.pages[session]
        page.pinned = page.chosen()
        return self._beside(page) if page.pinned else {"easel": as_wrong(FIRST)}

    def _beside(self, page):
        """The pinned picture and the chosen one, and in which settings they differ."""
        if page.pinned is None:
            return {}
        two = [page.pinned] + [one for one in [page.chosen()] if one != page.pinned]
        captions = [f"{letter} · {caption}" for letter, (_, caption) in zip("AB", two)]
        shown = gr.Gallery([(path, caption) for (path, _), caption in zip(two, captions)], visible=True)
        line = as_line("; ".join(differences(*map(_text, two)))) if len(two) == 2 else as_line(PIN)
        return {"compare": shown, "differs": line}

    def leave(self, values, session):
        """Another tab was chosen: what was wrong in the last one is not said any longer."""
        wrong = 'class="wrong"' in (values["easel"] or "")
        return {"easel": as_line(EMPTY) if wrong else gr.skip()}

    def offer_loras(self, values, session):
        """A further LoRA can be chosen once there is one before it."""
        second = any(values[name] != NONE for name in ("lora", "lora_2", "lora_3"))
        third = any(values[name] != NONE for name in ("lora_2", "lora_3"))
        seen = {"lora_2": second, "lora_scale_2": second, "lora_3": third, "lora_scale_3": third}
        return {name: _FIELDS[name.rstrip("_23")](visible=visible) for name, visible in seen.items()}

    def _request(self, task, values):
        """A GenerationRequest. Raises PaidiffError on what only a page must refuse."""
        side, _ = self.engine.suits(values["model"])
        size = (int(values["width"] or side), int(values["height"] or side))
        hires = task == "text2img" and values["hires"]
        size = (2 * size[0], 2 * size[1]) if hires else size
        check_size(size, side)
        if max(len(values["prompt"]), len(values["negative_prompt"])) > MAX_PROMPT:
            raise PaidiffError(f"提示词最多 {MAX_PROMPT} 字", f"a prompt has at most {MAX_PROMPT} characters")
        if values["seed"] is not None and values["seed"] > MAX_SEED:
            raise PaidiffError(f"种子最大 {MAX_SEED}", f"a seed is at most {MAX_SEED}")
        settings = {name: values[name] for name in ("negative_prompt", "model", "guidance")}
        settings |= {name: int(values[name]) for name in ("steps", "n")} | _brought(task, values) | _loras(values)
        settings["sampler"] = None if values["sampler"] in (None, ANY) else values["sampler"]
        embeddings, seed = tuple(values["embeddings"] or ()), first_seed(values["seed"])
        return GenerationRequest(task=task, seed=seed, size=size, embeddings=embeddings, hires=hires, **settings)

    def look_again(self, values, session):
        """What is in the folder now; what was chosen stays, if it is still there."""
        loras, embeddings = [NONE, *self.engine.loras()], embedding_choices(self.engine)
        chosen = [name for _, name in embeddings if name in (values["embeddings"] or ())]
        kept = {name: values[name] if values[name] in loras else NONE for name, _ in LORAS}
        shown = {name: gr.Dropdown(loras, value=lora) for name, lora in kept.items()}
        return shown | {"embeddings": gr.Dropdown(embeddings, value=chosen)}

    def suit(self, values, session):
        """Size and guidance of the model that was chosen."""
        try:
            side, guidance = self.engine.suits(values["model"])
        except PaidiffError as error:
            return {"easel": as_wrong(str(error))}
        said = as_line(f"{values['model']} · {side}x{side}")
        marked = gr.Dataset(sample_labels=self.marks(values["model"]))
        sizes = {"guidance": guidance, "width": side, "height": side, "easel": said, "gallery_prompts": marked}
        return sizes | self.chips(values, session)

    def edges(self, values, session):
        """What a ControlNet will see of a picture."""
        if values["controlnet_image"] is None:
            return {"edges": None}
        try:
            size = tuple(min(max(int(values[side] or 128), 8), MAX_SIDE) for side in ("width", "height"))
            return {"edges": canny(fit_image(open_image(values["controlnet_image"]), size))}
        except PaidiffError as error:
            return {"edges": None, "easel": as_wrong(str(error))}

    def restore(self, values, session):
        """The settings in a picture -> every field of the page."""
        if values["dropped"] is None:
            return {"report": ""}
        try:
            fields, missed = self._fields(_settings(values["dropped"]))
        except PaidiffError as error:
            return {"report": as_wrong(str(error))}
        hints = [f"没能取回 · not taken back: {', '.join(missed)}"] if missed else ()
        return fields | {"report": as_line("设置取回来了 · settings taken back", hints)}

    def _fields(self, found):
        """(what to put into the fields, in words what could not be taken back)."""
        fields, missed = self._named(found)
        for field, (key, kind, least, most) in NUMBERS.items():
            value = _number(found, key, kind, least, most)
            fields |= {} if value is None else {field: value}
            missed += [f"{key}: {found[key]}"] if key in found and value is None else []
        hires = "Hires resize" in found
        from_image = "Denoising strength" in found and "Hires upscale" not in found and not hires
        task = found.get("Task", "img2img" if from_image else "text2img")
        task = task if task in TASKS else "text2img"
        strength = _number(found, "Denoising strength", float, 0.05, 1)
        if strength is None:
            missed += [f"{key}: {found[key]}" for key in ("Denoising strength",) if key in found]
        elif hires and strength != HIRES:
            missed += [f"Denoising strength: {strength:g}"]
        elif task in ("img2img", "inpaint"):
            fields[f"{task}_strength"] = strength
        if task == "inpaint":
            fields.setdefault("feather", 0)
        sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", found.get("Size", ""))
        sizes = [int(side) // (2 if hires else 1) for side in sides.groups()] if sides else ()
        fields |= {"hires": hires, **dict(zip(("width", "height"), sizes))}
        missed += [f"Size: {found['Size']}"] if "Size" in found and not sides else []
        missed += [f"{key}: {value}" for key, value in found.items() if key not in TAKEN and key not in DESCRIBED]
        missed += [] if task == "text2img" else ["它从哪张图画起 the picture that it began with"]
        return fields | {"n": 1, "tabs": gr.Tabs(selected=task)}, [one_line(name) for name in missed]

    def _named(self, found):
        """({field: what is called by a name}, the names that are not to be had here)."""
        there = {"model": self.engine.models, "sampler": [ANY, *SAMPLERS]}
        name, schedule = found.get("Sampler", ANY), found.get("Schedule type", "Automatic")
        name = name if schedule == "Automatic" or name.endswith(KARRAS) else f"{name} {schedule}"
        wanted = {"model": found.get("Model"), "sampler": name}
        missed = [name for field, name in wanted.items() if name and name not in there[field]]
        fields = {field: name for field, name in wanted.items() if name in there[field]}
        if fields.get("sampler") is None:
            fields["sampler"] = ANY
        here = [(lora, scale) for lora, scale in found["LoRA"] if lora in self.engine.loras()]
        missed += [lora for lora, _ in found["LoRA"] if lora not in self.engine.loras()]
        words = [word for word in found.get("TI", "").split(" | ") if word]
        missed += [word for word in words if word not in self.engine.embeddings()]
        tags = "".join(f" <lora:{lora}:{scale}>" for lora, scale in here[len(LORAS) :])  # the page has fields for three
        fields |= {"prompt": found.get("Prompt", "") + tags, "negative_prompt": found.get("Negative prompt", "")}
        for (name, scaled), (lora, scale) in zip(LORAS, [*here, *[(NONE, 1)] * len(LORAS)]):
            fields |= {name: lora, scaled: float(scale)}
        return fields | {"embeddings": [word for word in words if word not in missed]}, missed


def _brought(task, values):
    """What a task begins with, and how strongly it is followed."""
    if task == "text2img":
        return {}
    sent = values[f"{task}_image"]
    image = open_image(sent) if sent else None
    if task == "controlnet":
        return {"image": image, "control_scale": values["control_scale"]}
    brought = {"image": image, "strength": values[f"{task}_strength"]}
    if task == "inpaint" and image:
        brought |= {"mask": mask_of(values["paint"], image.size), "mask_blur": values["feather"]}
    return brought


def _loras(values):
    """The prompt and its LoRAs: a single one by name, several as tags, in their order."""
    found = [(values[name], values[scale]) for name, scale in LORAS if values[name] not in (None, NONE)]
    if len(found) == 1:
        return {"prompt": values["prompt"], "lora": found[0][0], "lora_scale": found[0][1]}
    return {"prompt": values["prompt"] + "".join(f" {lora_tag(lora, scale)}" for lora, scale in found)}


def _text(one):
    """The settings in a picture of a page, (path, caption), or ""."""
    try:
        with Image.open(one[0], formats=["PNG"]) as image:
            return text_in(image)
    except (OSError, TypeError):
        return ""


def differences(before, after):
    """In which settings two texts differ: ["Seed: 1 → 2", ...]."""
    before, after = parse(before), parse(after)
    keys = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
    found = [f"{key}: {_plain(before.get(key))} → {_plain(after.get(key))}" for key in keys]
    return found or ["设置相同 · the same settings"]


def _plain(value):
    """A value as it is read: LoRAs are [(name, scale)]."""
    return (", ".join(f"{name} {scale}" for name, scale in value) if isinstance(value, list) else value) or "-"


def _settings(raw):
    """Raises PaidiffError on a broken picture, and on one that says nothing."""
    open_image(raw)
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        image.load()  # PNG texts may stand behind the pixels
        found = settings_in(image)
    if not found:
        raise PaidiffError("这张图里没有设置", "there are no settings in this picture")
    return found


def _number(found, key, kind, least, most):
    """The number under that key, or None where there is none that the field can hold."""
    try:
        value = kind(found[key])
    except (KeyError, ValueError, OverflowError):
        return None
    return value if least <= value <= most else None


def as_easel(frame):
    """The picture as it is now, a bar, a line."""
    part = (frame.index + (frame.step / frame.steps if frame.steps else 0)) / frame.n
    line = f"第 {frame.index + 1} / {frame.n} 张 · 步 step {frame.step} / {frame.steps} · seed {frame.seed}"
    shown = ""
    if frame.image is not None:
        data = io.BytesIO()
        frame.image.convert("RGB").save(data, "JPEG", quality=85)
        source = base64.b64encode(data.getvalue()).decode()
        shape = f"{frame.image.width} / {frame.image.height}"
        shown = f'<img style="--shape: {shape}" alt="正在画 · being drawn" src="data:image/jpeg;base64,{source}">'
    bar = f'<div class="bar"><div style="width: {100 * part:.0f}%"></div></div>'
    return f'<div class="easel">{shown}{bar}<p>{line}</p>{_hints(frame.hints)}</div>'


def as_line(text, hints=()):
    return f'<div class="easel"><p>{html.escape(text)}</p>{_hints(hints)}</div>'


def as_wrong(text):
    return f'<div class="easel"><p class="wrong">{html.escape(text)}</p></div>'


def _hints(hints):
    return "".join(f'<p class="hint">{html.escape(hint)}</p>' for hint in hints)
