"""paidiff: Chinese text-to-image diffusion, as a small library.

    import paidiff_lib as paidiff
    pipe = paidiff.load("mini")
    picture = paidiff.draw(pipe, "雪地里的两只企鹅", seed=1)

Importing this package changes nothing and is quick: each name is imported when it is first asked for (PEP 562).
"""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers take it; importing typing would cost more than this whole module

if TYPE_CHECKING:  # for type checkers and editors, which do not run __getattr__; a test keeps it in step
    from .cleaning.audit import audit as audit
    from .cleaning.filter import curate as curate
    from .data.folder import CaptionFolder as CaptionFolder
    from .data.folder import Mixed as Mixed
    from .display import curve as curve
    from .display import digest as digest
    from .display import grid as grid
    from .display import show as show
    from .display import use_chinese_font as use_chinese_font
    from .display import watch as watch
    from .errors import PaidiffError as PaidiffError
    from .files import data_folder as data_folder
    from .generate import draw as draw
    from .inpainting import inpaint as inpaint
    from .methods.adapters import merge as merge
    from .methods.adapters import set_scales as set_scales
    from .methods.controlnet import ControlNet as ControlNet
    from .methods.controlnet import draw_along as draw_along
    from .methods.dreambooth import with_prior as with_prior
    from .methods.full import FullTuning as FullTuning
    from .methods.lora import LoRA as LoRA
    from .methods.lora_files import load_lora as load_lora
    from .methods.textual_inversion import TextualInversion as TextualInversion
    from .methods.textual_inversion import load_embedding as load_embedding
    from .metrics import canny as canny
    from .metrics import edge_agreement as edge_agreement
    from .models.load import load as load
    from .prompts import check_prompt as check_prompt
    from .prompts import tokens as tokens
    from .training.loop import train as train

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
