"""What only the lessons need: the setup of a kernel, and how much to do on the machine and model at hand."""

from paidiff_lib.environment import set_defaults

from .lesson import Profile, profile
from .progress import check

__all__ = ["Profile", "check", "profile", "setup"]


def setup():
    """Make a lesson's kernel offline and quiet where the user has not said otherwise. Before the libraries are imported."""
    set_defaults()
