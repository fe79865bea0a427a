"""paidiff: Chinese text-to-image diffusion, as lessons and a small library.

    import paidiff_lib as paidiff
    pipe = paidiff.load("mini")
    picture = paidiff.draw(pipe, "雪地里的两只企鹅", seed=1)

Importing this package is quick: torch and diffusers are imported by the first call that needs them.
"""

import os

# The libraries read these when they are imported, so they are set before anything else happens here.
# Offline unless the user says HF_HUB_OFFLINE=0: no lesson may hang on an unreachable hub.
for _name, _value in {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    # torch's threads wait for each other by spinning. On cores shared with another busy program that made drawing
    # 5 to 50 times slower; a short spin costs nothing on a free machine and keeps a busy one usable.
    "GOMP_SPINCOUNT": "1000",
}.items():
    os.environ.setdefault(_name, _value)
os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "true"  # not a choice: a model folder must never run its own code

from .audit import audit  # noqa: E402
from .controlnet import ControlNet, draw_along  # noqa: E402
from .curate import curate  # noqa: E402
from .dataset import CaptionFolder, Mixed  # noqa: E402
from .draw import draw  # noqa: E402
from .dreambooth import with_prior  # noqa: E402
from .edges import canny, edge_agreement  # noqa: E402
from .errors import PaidiffError  # noqa: E402
from .full import FullTuning  # noqa: E402
from .inpaint import inpaint  # noqa: E402
from .lora import LoRA, load_lora, merge, set_scales  # noqa: E402
from .playground import playground  # noqa: E402
from .profiles import profile  # noqa: E402
from .show import curve, digest, grid, show, use_chinese_font, watch  # noqa: E402
from .text import check_prompt, tokens  # noqa: E402
from .textual_inversion import TextualInversion, load_embedding  # noqa: E402
from .train import train  # noqa: E402
from .zoo import load  # noqa: E402

__version__ = "0.1.0"
__all__ = [
    "CaptionFolder",
    "ControlNet",
    "FullTuning",
    "LoRA",
    "Mixed",
    "PaidiffError",
    "TextualInversion",
    "audit",
    "canny",
    "check_prompt",
    "curate",
    "curve",
    "digest",
    "draw",
    "draw_along",
    "edge_agreement",
    "grid",
    "inpaint",
    "load",
    "load_embedding",
    "load_lora",
    "merge",
    "playground",
    "profile",
    "set_scales",
    "show",
    "tokens",
    "train",
    "use_chinese_font",
    "watch",
    "with_prior",
]
