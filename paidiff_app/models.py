"""The model that the engine draws with: which one is loaded, with which LoRA and which embeddings, and what there is to choose from.

Everything that changes a pipeline is called in the engine's own thread.
"""

from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from paidiff_lib.errors import NotFound, PaidiffError, one_line, unknown
from paidiff_lib.generate import guidance_of
from paidiff_lib.known_words import words
from paidiff_lib.methods.adapters import adapter_names, scales, set_scales
from paidiff_lib.methods.lora_files import NAMES, load_lora
from paidiff_lib.methods.textual_inversion import load_embedding, read_embedding
from paidiff_lib.models.encode import native_size
from paidiff_lib.models.load import TASKS, at_hand, check_controls, find, load, load_control, model_name
from paidiff_lib.models.registry import names
from paidiff_lib.prompts import drawable
from paidiff_lib.upscaling import STRENGTH as HIRES

from .infotext import last_part

STRENGTH = {"img2img": 0.75, "inpaint": 1.0, "hires": HIRES}  # unless the request says otherwise
EMBEDDINGS = ("learned_embeds.safetensors", "learned_embeds.bin")
ADAPTER = "engine-"  # how the LoRAs of the folder are called in the pipeline; a file that was trained anew is read anew
PIPELINES = TASKS | {"inpaint": TASKS["img2img"]}  # see inpainting.py


class Models:
    """The models on this machine, one of them loaded at a time, and the LoRAs and embeddings of a folder.

    model: a name, a folder, or a pipeline that is loaded already (called `name`), whose own LoRAs can be chosen too.
    fixed: of a service: the one model is drawn with as it is, its LoRAs stay as they are switched on; requests add to them. Raises PaidiffError.
    """

    def __init__(self, model=None, loras=None, fixed=False, name=None):
        if loras is not None and not Path(loras).is_dir():
            raise NotFound("没有这个文件夹", "no such folder", str(loras))
        self.folder, self.fixed, self.suits = loras, fixed, {}
        self._given = model if hasattr(model, "unet") else None
        if self._given:
            first, others = name or model.config.get("_name_or_path") or "pipe", []
        else:
            first, others = model_name(model), [name for name in ("mini", *names("base")) if _is_here(name)]
            find(first)  # a wrong name is told at once
        self._sources = {last_part(name): name for name in (first, *others)}
        self.names = list(self._sources)
        self._forget()

    def loras(self):
        """Names of the LoRAs that can be chosen now."""
        return [*sorted(self._own()), *shelf(self.folder)["lora"]]

    def embeddings(self):
        """The Textual Inversions that can be chosen now: {name: the word to write in the prompt, or None}."""
        return {name: _token(file) for name, file in shelf(self.folder)["embedding"].items()}

    def use(self, name):
        """Load the model of that name, unless it is there. Returns (side, guidance) that suit it."""
        if name not in self._sources:
            raise unknown("模型", "model", name, self.names)
        if name != self._name:
            self._forget()  # the old one goes first: two may not fit
            self._pipe = self._given or load(self._sources[name])
            self._scheduler, self._name = self._pipe.scheduler, name
            self.suits[name] = native_size(self._pipe), guidance_of(self._pipe)
        return self.suits[name]

    def words(self, name):
        """What the model of that name has learnt, by kind; {} where it has no list."""
        return words(self._given or self._sources[name]) if name in self._sources else {}

    def drawable(self, name, prompts):
        """Which prompts the model of that name can be expected to draw, without a LoRA. Loads it."""
        self.use(name)
        return drawable(self._pipe.tokenizer, prompts)

    @contextmanager
    def prepared(self, request):
        """(a pipeline for a request, with its LoRA and embeddings; the model's own scheduler; the request filled in)."""
        self.use(request.model or self.names[0])
        before, wanted = scales(self._pipe), request.loras()
        try:
            if request.embeddings or not self.fixed:
                self._learn(request.embeddings)
            if wanted or not self.fixed:
                self._switch_loras(wanted, before if self.fixed else {})
            yield self._pipeline(request.task), self._scheduler, self._filled(request)
        finally:
            if self._given and (wanted or not self.fixed):
                _switch(self._pipe, before)

    def _filled(self, request):
        """The request with everything that was left to the model. Inpainting cuts to the model's own square."""
        side, guidance = self.suits[self._name]
        strength = STRENGTH.get("hires" if request.hires else request.task)
        size = (side, side) if request.task == "inpaint" else request.size or (side, side)
        guidance = guidance if request.guidance is None else request.guidance
        strength = strength if None in (strength, request.strength) else request.strength
        return replace(request, model=self._name, guidance=guidance, size=size, strength=strength)

    def _forget(self):
        self._pipe = self._name = self._control = None
        self._learnt, self._loaded = {}, {}  # {name: stamp} of words, {stamp: adapter} of LoRAs

    def _learn(self, embeddings):
        """The model knows these words and no others of the shelf; forgetting one means to load the model anew."""
        wanted = {name: _stamp(self._find("embedding", name)) for name in embeddings}
        if any(wanted.get(name) != stamp for name, stamp in self._learnt.items()) and not self._given:
            name, self._name = self._name, None
            self.use(name)
        for name, stamp in wanted.items():
            if name not in self._learnt:
                self._require_new_word(stamp[0])
                load_embedding(self._pipe, stamp[0])
                self._learnt[name] = stamp

    def _require_new_word(self, file):
        """Raise PaidiffError if the model has the word of a file already, perhaps one that its owner has taught it."""
        token = _token(file)
        if token in self._pipe.tokenizer.get_vocab():
            raise PaidiffError(
                "模型已经认得这个词", "the model knows this word already", one_line(f"{file.name}: {token}")
            )

    def require_loras(self, wanted):
        """Raise NotFound if one of these LoRAs cannot be had."""
        for name in wanted:
            if name not in self._own():
                self._find("lora", name)

    def _own(self):
        """The LoRAs that the pipeline came with."""
        names = adapter_names(self._given) if self._given else ()
        return {name for name in names if not name.startswith(ADAPTER)}

    def _switch_loras(self, wanted, kept):
        """Switch the LoRAs {name: scale} on, beside those of `kept`, and every other one off."""
        own = self._own()
        files = {name: _stamp(self._find("lora", name)) for name in wanted if name not in own}
        for stamp in set(self._loaded) - set(files.values()):
            self._pipe.delete_adapters(self._loaded.pop(stamp))
        for stamp in files.values():
            if stamp not in self._loaded:
                taken = adapter_names(self._pipe)  # another engine may hold the same pipeline
                adapter = next(name for i in count() if (name := f"{ADAPTER}{i}") not in taken)
                load_lora(self._pipe, stamp[0], adapter)
                self._loaded[stamp] = adapter
        called = {name: name if name in own else self._loaded[files[name]] for name in wanted}
        _switch(self._pipe, kept | {called[name]: scale for name, scale in wanted.items()})

    def _find(self, kind, name):
        there = shelf(self.folder)[kind]
        if name not in there:
            listed = f"有 there are: {', '.join(there) or '-'}"
            raise NotFound(f"文件夹里没有 {one_line(name)}", "not in the folder", listed)
        return there[name]

    def _pipeline(self, task):
        """A pipeline for the task around the very weights of the one that is loaded."""
        import diffusers

        if task == "text2img":
            return self._pipe
        extra = {"requires_safety_checker": bool(self._pipe.config.requires_safety_checker)}
        if task == "controlnet":
            net = self._control or load_control("canny", self._sources[self._name]).to(self._pipe.device)
            extra["controlnet"] = self._control = net
        pipe = getattr(diffusers, PIPELINES[task])(**self._pipe.components, **extra)
        check_controls(pipe)
        pipe.set_progress_bar_config(disable=True)
        return pipe


def shelf(folder):
    """What can be chosen in a folder, by the names of its subfolders and files: {"lora": {name: path}, "embedding": {...}}."""
    found = {"lora": {}, "embedding": {}}
    for path in sorted(Path(folder).iterdir()) if folder else []:
        file = _weights(path)
        if file is not None:
            embedding = file.name in EMBEDDINGS or file.suffix == ".pt" or _is_embedding(file)
            found["embedding" if embedding else "lora"][path.name if path.is_dir() else path.stem] = file
    return found


def _weights(path):
    """The file of weights that a subfolder or a file of the shelf stands for, or None."""
    if path.is_file():
        return path if path.suffix in (".safetensors", ".bin", ".pt") else None
    found = [path / name for name in (*EMBEDDINGS, *NAMES) if (path / name).is_file()]
    return next(iter(found or sorted(path.glob("*.safetensors"))), None)


def _is_embedding(file):
    """True if a .safetensors file holds nothing but one table that belongs to no layer."""
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


def _is_here(name):
    try:
        return at_hand(name) is not None
    except PaidiffError:  # no data folder
        return False
