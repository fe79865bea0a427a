"""What only the lessons need: the setup of a kernel, and how much to do on the machine and model at hand."""

from paidiff_lib.environment import set_defaults as setup

from .lesson import profile

__all__ = ["profile", "setup"]
