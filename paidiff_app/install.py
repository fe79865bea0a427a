"""How this is installed, for the lines that advise it."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def in_checkout():
    return (CHECKOUT / "constraints.txt").is_file()


def install_command(extra=""):
    """How to install this with an extra ("web", "serve", "export", "notebooks"): in a checkout with its tested versions."""
    extra = f"[{extra}]" if extra else ""
    if in_checkout():
        return f"pip install -c constraints.txt -e .{extra}"
    return f"pip install paidiff{extra}"
