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
    from .comparison import compare as compare, sweep as sweep
    from .datasets.folder import CaptionFolder as CaptionFolder
    from .datasets.mixed import Mixed as Mixed
    from .display import (
        curve as curve,
        digest as digest,
        grid as grid,
        show as show,
        use_chinese_font as use_chinese_font,
        watch as watch,
    )
    from .errors import PaidiffError as PaidiffError
    from .files import data as data, data_folder as data_folder
    from .generate import draw as draw
    from .inpainting import inpaint as inpaint
    from .known_words import words as words
    from .methods.adapters import merge as merge, set_scales as set_scales
    from .methods.controlnet import ControlNet as ControlNet, draw_along as draw_along
    from .methods.dreambooth import with_prior as with_prior
    from .methods.full import FullTuning as FullTuning
    from .methods.lora import LoRA as LoRA
    from .methods.lora_files import load_lora as load_lora
    from .methods.textual_inversion import TextualInversion as TextualInversion, load_embedding as load_embedding
    from .metrics import canny as canny, edge_agreement as edge_agreement, interval as interval, wilson as wilson
    from .models.load import load as load
    from .prompts import check_prompt as check_prompt, drawable as drawable, tokens as tokens
    from .training.api import fit as fit, train as train
    from .upscaling import hires as hires

_NAMES = {  # module: its public names
    "cleaning.audit": "audit",
    "cleaning.filter": "curate",
    "comparison": "compare sweep",
    "datasets.folder": "CaptionFolder",
    "datasets.mixed": "Mixed",
    "display": "curve digest grid show use_chinese_font watch",
    "errors": "PaidiffError",
    "files": "data data_folder",
    "generate": "draw",
    "inpainting": "inpaint",
    "known_words": "words",
    "methods.adapters": "merge set_scales",
    "methods.controlnet": "ControlNet draw_along",
    "methods.dreambooth": "with_prior",
    "methods.full": "FullTuning",
    "methods.lora": "LoRA",
    "methods.lora_files": "load_lora",
    "methods.textual_inversion": "TextualInversion load_embedding",
    "metrics": "canny edge_agreement interval wilson",
    "models.load": "load",
    "prompts": "check_prompt drawable tokens",
    "training.api": "fit train",
    "upscaling": "hires",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_HOMES)


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
