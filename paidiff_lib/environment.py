"""What a program of ours sets before the libraries are imported; importing paidiff itself sets nothing."""

import os

DEFAULTS = {
    "HF_HUB_OFFLINE": "1",  # unless the user says 0: nothing may hang on an unreachable hub
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    # torch's threads wait for each other by spinning. On cores shared with another busy program that made drawing
    # 5 to 50 times slower; a short spin costs nothing on a free machine and keeps a busy one usable.
    "GOMP_SPINCOUNT": "1000",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "true",
}


def set_defaults():
    """Set what the user has not set. For the command line and the lessons, which own their process."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
