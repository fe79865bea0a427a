"""One wish -> pictures, step by step: what the web page and the playground share.

    studio = Studio("mini", loras="../out")
    for frame in studio.draw(Wish("雪地里的两只企鹅", lora="porcelain", n=2)):
        frame.step, frame.steps, frame.picture      # after every step; frame.text once the picture is done

One thread owns the model: however many ask at once, one is drawn after the other, each with its own LoRA and words.
"""

import io
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageOps

from paidiff_lib.data.images import read_picture, square
from paidiff_lib.errors import PaidiffError, one_line
from paidiff_lib.generate import STEPS, check_settings, guidance_of, sample
from paidiff_lib.methods.adapters import scales, set_scales
from paidiff_lib.methods.lora_files import NAMES, load_lora
from paidiff_lib.methods.textual_inversion import load_embedding, read_embedding
from paidiff_lib.metrics import canny
from paidiff_lib.models.encode import native_size
from paidiff_lib.models.load import TASKS, _check_controls, at_hand, find, load, load_control, model_name
from paidiff_lib.models.registry import names
from paidiff_lib.prompts import check_prompt
from paidiff_lib.schedulers import SAMPLERS, sampler

from .infotext import infotext

WORD_FILES = ("learned_embeds.safetensors", "learned_embeds.bin")
NAME = "studio"  # of the LoRA in the pipeline: one at a time, so that a file that was trained anew is read anew
FORMATS = ("PNG", "JPEG", "WEBP")  # no other decoder of Pillow is let near what a stranger sent
MAX_PICTURE = 4096 * 4096  # pixels of one that is brought along
PREVIEW_SHARE = 0.2  # of the time at most goes into previews
PREVIEW_SECONDS = 0.25  # at least between two of them
BESIDE = {"img2img": "StableDiffusionImg2ImgPipeline", "controlnet": "StableDiffusionControlNetPipeline"}


@dataclass(frozen=True)
class Wish:
    """What to draw and how. None: what suits the model.

    task: "text2img", "img2img", "inpaint" or "controlnet". lora, words: names in the studio's folder. size: (width, height).
    strength: of img2img and inpaint. control: how strongly the edges steer. n: pictures, with seeds seed, seed + 1, ...
    """

    prompt: str = ""
    negative: str = ""
    task: str = "text2img"
    model: str | None = None
    lora: str | None = None
    scale: float = 1.0
    words: tuple = ()
    sampler: str | None = None
    seed: int = 0
    steps: int = STEPS
    guidance: float | None = None
    size: tuple | None = None
    n: int = 1
    strength: float | None = None
    control: float = 1.0


@dataclass(frozen=True)
class Frame:
    """Where a drawing is. index: which of the n pictures. picture: a preview, the finished picture, or None.

    text: its settings (infotext.py), once there is no more to do on it. hints: what the model does not see in the prompt.
    """

    index: int
    n: int
    step: int
    steps: int
    seed: int
    picture: object = None
    text: str | None = None
    stopped: bool = False
    hints: tuple = ()


class Stopped(Exception):
    """The user wants no more."""


class Studio:
    """Draws wishes with the models that are on this machine, and the LoRAs and words in a folder.

    model: a name, a folder, or a pipeline that is loaded already, whose own LoRAs can be chosen too. Raises PaidiffError.
    """

    def __init__(self, model=None, loras=None):
        given = hasattr(model, "unet")
        if loras is not None and not Path(loras).is_dir():
            raise PaidiffError(f"没有这个文件夹 · no such folder: {loras}")
        self.folder, self._given = loras, model if given else None
        first = model.config.get("_name_or_path") or "pipe" if given else model_name(model)
        others = [] if given else [name for name in ("mini", *names("base")) if at_hand(name)]
        self._sources = {_short(name): name for name in (first, *others)}
        self.models = list(self._sources)
        if not given:
            find(first)  # a wrong name is told at once
        self._pipe, self._name, self._worn, self._known, self._control = None, None, None, {}, None
        self._hand = ThreadPoolExecutor(1, thread_name_prefix="paidiff-studio")

    def loras(self):
        """Names of the LoRAs that can be chosen now."""
        return [*(_adapters(self._given) if self._given else ()), *shelf(self.folder)["lora"]]

    def words(self):
        """The Textual Inversions that can be chosen now: {name: the word to write in the prompt, or None}."""
        return {name: _token(file) for name, file in shelf(self.folder)["word"].items()}

    def suits(self, model=None):
        """(side, guidance) that suit a model; loads it."""

        def look():
            self._use(model or self.models[0])
            return native_size(self._pipe), guidance_of(self._pipe)

        return self._hand.submit(look).result()

    def draw(self, wish, picture=None, mask=None, stop=None):
        """Yield a Frame after every step; the last one of a picture has `text`. Raises PaidiffError.

        picture, mask: PIL pictures that the task begins with; they are cut to the size of the drawing. stop: a
        threading.Event; once set, the drawing ends within a step, with what is there. Leaving the loop stops it as well.
        """
        stop, frames = stop or threading.Event(), queue.SimpleQueue()
        job = self._hand.submit(self._draw, wish, picture, mask, stop, frames.put)
        job.add_done_callback(lambda job: frames.put(None))
        try:
            while (frame := frames.get()) is not None:
                yield frame
            job.result()
        finally:
            stop.set()

    def close(self):
        self._hand.shutdown()

    # --- in the thread that owns the model ---

    def _draw(self, wish, picture, mask, stop, tell):
        if stop.is_set():
            return
        _check(wish, picture, mask)
        self._use(wish.model or self.models[0])
        before = scales(self._pipe)
        try:
            self._learn(wish.words)
            self._wear(wish.lora, wish.scale)
            wish = self._filled(wish)
            texts = [wish.prompt, wish.negative] if wish.negative else [wish.prompt]
            hints = tuple(dict.fromkeys(hint for text in texts for hint in check_prompt(self._pipe, text)))
            pipe = self._pipeline(wish.task)
            tell(Frame(0, wish.n, 0, wish.steps, wish.seed, hints=hints))
            for index in range(wish.n):
                if not stop.is_set():
                    _one(pipe, sampler(self._scheduler, wish.sampler), wish, index, picture, mask, stop, tell, hints)
        finally:
            if self._given:
                _switch(self._pipe, before)

    def _use(self, name):
        """Load the model of that name, unless it is there."""
        if name not in self._sources:
            raise PaidiffError(f"没有这个模型 · no such model here: {name}; 有 there are: {', '.join(self.models)}")
        if name == self._name:
            return
        self._pipe = self._name = self._worn = self._control = None  # the old one goes first: two may not fit
        self._known = {}
        self._pipe = self._given or load(self._sources[name])
        self._scheduler, self._name = self._pipe.scheduler, name

    def _learn(self, words):
        """The model knows these words and no others of the shelf; forgetting one means to load the model anew."""
        wanted = {name: _stamp(self._found("word", name)) for name in words}
        if any(wanted.get(name) != stamp for name, stamp in self._known.items()) and not self._given:
            name, self._name = self._name, None
            self._use(name)
        for name, stamp in wanted.items():
            if name not in self._known:
                load_embedding(self._pipe, stamp[0])
                self._known[name] = stamp

    def _wear(self, name, scale):
        """Switch this LoRA on, and every other one off."""
        if name is None:
            return _switch(self._pipe, {})
        if self._given and name in _adapters(self._given):
            return _switch(self._pipe, {name: scale})
        stamp = _stamp(self._found("lora", name))
        if stamp != self._worn:
            if self._worn:
                self._pipe.delete_adapters(NAME)
                self._worn = None
            load_lora(self._pipe, stamp[0], NAME)
            self._worn = stamp
        _switch(self._pipe, {NAME: scale})

    def _found(self, kind, name):
        there = shelf(self.folder)[kind]
        if name not in there:
            raise PaidiffError(
                f"文件夹里没有 {one_line(name)} · not in the folder; 有 there are: {', '.join(there) or '-'}"
            )
        return there[name]

    def _filled(self, wish):
        """The wish with everything that was left to the model."""
        side = native_size(self._pipe)
        strength = {"img2img": 0.75, "inpaint": 1.0}.get(wish.task)
        return replace(
            wish,
            model=self._name,
            guidance=guidance_of(self._pipe) if wish.guidance is None else wish.guidance,
            size=(side, side)
            if wish.task == "inpaint"
            else wish.size or (side, side),  # inpaint cuts to the model's own
            strength=strength if wish.strength is None or strength is None else wish.strength,
        )

    def _pipeline(self, task):
        """A pipeline for the task around the very weights of the one that is loaded."""
        import diffusers

        if task == "text2img":
            return self._pipe
        more = {"requires_safety_checker": bool(self._pipe.config.requires_safety_checker)}
        if task == "controlnet":
            net = self._control or load_control("canny", self._sources[self._name]).to(self._pipe.device)
            more["controlnet"] = self._control = net
        pipe = getattr(diffusers, BESIDE["controlnet" if task == "controlnet" else "img2img"])(
            **self._pipe.components, **more
        )
        if task == "controlnet":
            _check_controls(pipe)
        pipe.set_progress_bar_config(disable=True)
        return pipe


def shelf(folder):
    """What can be chosen in a folder, by the names of its subfolders and files: {"lora": {name: path}, "word": {...}}."""
    found = {"lora": {}, "word": {}}
    for path in sorted(Path(folder).iterdir()) if folder else []:
        file = _weights(path)
        if file is not None:
            word = file.name in WORD_FILES or file.suffix == ".pt" or _is_word(file)
            found["word" if word else "lora"][path.name if path.is_dir() else path.stem] = file
    return found


def opened(raw, most=MAX_PICTURE):
    """The bytes of a picture that somebody sent -> a PIL RGB picture of at most `most` pixels. Raises PaidiffError."""
    try:  # the header only: the size is known before anything is unpacked
        with Image.open(io.BytesIO(raw), formats=FORMATS) as head:
            pixels = head.width * head.height
    except Exception as error:  # decoders meet hostile bytes here and raise what they like
        raise PaidiffError(f"图片读不出来 · not a picture of {', '.join(FORMATS)}") from error
    if pixels > most:
        raise PaidiffError(f"图片太大,最多 {most} 像素 · the picture has {pixels} pixels, at most {most}")
    try:
        return read_picture(raw, "picture")
    except PaidiffError:
        raise
    except Exception as error:
        raise PaidiffError("图片读不出来 · cannot read the picture") from error


def fit(picture, size):
    """A picture cut about its middle and scaled to `size`."""
    return ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)


def _one(pipe, scheduler, wish, index, picture, mask, stop, tell, hints):
    """Draw one picture of a wish, telling every step."""
    pipe.scheduler = scheduler
    seed, seen = wish.seed + index, []
    frame = Frame(index, wish.n, 0, wish.steps, seed, hints=hints)
    keep = (lambda drawn: _outside(drawn, picture, mask)) if wish.task == "inpaint" else (lambda drawn: drawn)
    clock = {"next": 0.0}

    def watch(pipe, step, timestep, state):
        begun = time.monotonic()
        last = step + 1 >= pipe.num_timesteps
        if stop.is_set() or (begun >= clock["next"] and not last):
            seen[:] = [keep(_preview(pipe, state["latents"]))]
            took = time.monotonic() - begun
            clock["next"] = time.monotonic() + max(PREVIEW_SECONDS, took * (1 / PREVIEW_SHARE - 1))
        tell(replace(frame, step=step + 1, steps=pipe.num_timesteps, picture=seen[0] if seen else None))
        if stop.is_set() and not last:
            raise Stopped(step + 1)
        return state

    settings = {"steps": wish.steps, "guidance": wish.guidance, "negative_prompt": wish.negative or None}
    try:
        drawn = _call(pipe, wish, seed, picture, mask, settings, watch)
    except Stopped as stopped:
        text = _text(wish, seed, stopped=stopped.args[0])
        tell(replace(frame, step=stopped.args[0], picture=seen[0], text=text, stopped=True))
    else:
        tell(replace(frame, step=wish.steps, picture=drawn, text=_text(wish, seed)))


def _call(pipe, wish, seed, picture, mask, settings, watch):
    if wish.task == "inpaint":
        from paidiff_lib.inpainting import inpaint

        return inpaint(pipe, wish.prompt, picture, mask, seed, wish.strength, watch=watch, **settings)
    more = {"callback_on_step_end": watch}
    if wish.task == "img2img":
        more |= {"images": [fit(picture, wish.size)], "strength": wish.strength}
    elif wish.task == "controlnet":
        more |= {"images": [canny(fit(picture, wish.size))], "controlnet_conditioning_scale": float(wish.control)}
    else:
        more |= {"size": wish.size}
    return sample(pipe, [wish.prompt], seed, **settings, **more)[0]


def _preview(pipe, latents):
    """What the sampler believes the finished picture to be, where it remembers that, else the noisy picture."""
    import torch

    believed = getattr(pipe.scheduler, "model_outputs", None)  # of another sampler's settings, algorithm_type remains
    if believed and pipe.scheduler.config.get("algorithm_type") == "dpmsolver++":
        latents = believed[-1].to(latents)
    with torch.no_grad():
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
    return pipe.image_processor.postprocess(decoded, output_type="pil")[0]


def _outside(drawn, picture, mask):
    """The drawing inside the mask, the picture outside, as inpaint leaves it."""
    return Image.composite(drawn, square(picture.convert("RGB"), drawn.width), square(mask.convert("L"), drawn.width))


def _text(wish, seed, stopped=None):
    prompt = wish.prompt + (f" <lora:{wish.lora}:{wish.scale:g}>" if wish.lora else "")
    more = {} if wish.task == "text2img" else {"Task": wish.task}
    more |= {"Control scale": f"{wish.control:g}"} if wish.task == "controlnet" else {}
    more |= {"TI": " | ".join(wish.words)} if wish.words else {}
    more |= {"Stopped at": stopped} if stopped else {}
    return infotext(prompt, wish.negative, seed, wish, wish.model, more)


def _check(wish, picture, mask):
    """Raise PaidiffError, in one line, on a wish that cannot be drawn."""
    if not wish.prompt.strip():
        raise PaidiffError("提示词是空的 · the prompt is empty")
    check_settings(wish.seed, wish.steps, wish.guidance, wish.size, wish.n)
    if wish.sampler and wish.sampler not in SAMPLERS:
        raise PaidiffError(
            f"没有这个采样器 · no such sampler: {one_line(wish.sampler)}; 可选 choose from: {', '.join(SAMPLERS)}"
        )
    if wish.task not in TASKS:
        raise PaidiffError(f"没有这个任务 · no task {wish.task}; 可选 choose from: {', '.join(TASKS)}")
    if wish.task == "text2img":
        return
    if picture is None:
        raise PaidiffError("先放一张图 · a picture is needed first")
    if wish.task == "inpaint" and (mask is None or not mask.convert("L").getbbox()):
        raise PaidiffError("先在图上涂出要重画的地方 · paint over the part that is to be redrawn first")
    if wish.task != "controlnet" and wish.strength is not None:
        if not 0 < wish.strength <= 1:
            raise PaidiffError(f"强度要大于 0、不超过 1 · the strength must be above 0, at most 1: {wish.strength}")
        if int(wish.steps * wish.strength) < 1:
            raise PaidiffError("步数 x 强度至少要是 1 · steps x strength must be 1 or more")


def _weights(path):
    """The file of weights that a subfolder or a file of the shelf stands for, or None."""
    if path.is_file():
        return path if path.suffix in (".safetensors", ".bin", ".pt") else None
    if not path.is_dir():
        return None
    found = [path / name for name in (*WORD_FILES, *NAMES) if (path / name).is_file()]
    return next(iter(found or sorted(path.glob("*.safetensors"))), None)


def _is_word(file):
    """True if a .safetensors file holds nothing but one table that belongs to no layer: an embedding."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            keys = list(opened.keys())
    except (OSError, SafetensorError):  # a pickle, or damaged: loading it says what is wrong
        return False
    return len(keys) == 1 and "lora" not in keys[0]


def _token(file):
    try:
        return read_embedding(file)[0]
    except PaidiffError:  # loading it says what is wrong
        return None


def _stamp(file):
    return file, file.stat().st_mtime_ns


def _switch(pipe, wanted):
    if wanted or any(pipe.get_list_adapters().values()):
        set_scales(pipe, wanted)


def _adapters(pipe):
    return sorted({name for names in pipe.get_list_adapters().values() for name in names} - {NAME})


def _short(name):
    return str(name).rstrip("/\\").replace("\\", "/").rpartition("/")[2]
