"""paidiff: Chinese text-to-image diffusion, as a small library.

    import paidiff_lib as paidiff
    pipe = paidiff.load("mini")
    picture = paidiff.draw(pipe, "雪地里的两只企鹅", seed=1)

Importing this package changes nothing and is quick: each name is imported when it is first asked for (PEP 562).
"""

from importlib import import_module

_HOMES = {
    "CaptionFolder": "data.folder",
    "ControlNet": "methods.controlnet",
    "FullTuning": "methods.full",
    "LoRA": "methods.lora",
    "Mixed": "data.folder",
    "PaidiffError": "errors",
    "TextualInversion": "methods.textual_inversion",
    "audit": "cleaning.audit",
    "canny": "metrics",
    "check_prompt": "prompts",
    "curate": "cleaning.filter",
    "curve": "display",
    "data_folder": "files",
    "digest": "display",
    "draw": "generate",
    "draw_along": "methods.controlnet",
    "edge_agreement": "metrics",
    "fit": "training.api",
    "grid": "display",
    "inpaint": "inpainting",
    "load": "models.load",
    "load_embedding": "methods.textual_inversion",
    "load_lora": "methods.lora_files",
    "merge": "methods.adapters",
    "set_scales": "methods.adapters",
    "show": "display",
    "tokens": "prompts",
    "train": "training.api",
    "use_chinese_font": "display",
    "watch": "display",
    "with_prior": "methods.dreambooth",
}
__all__ = list(_HOMES)


def __getattr__(name):
    if name == "__version__":
        from importlib.metadata import version

        return version("paidiff")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__():
    return [*globals(), *__all__]
