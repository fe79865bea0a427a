"""How paidiff-mini-zh was made: a program of its own, python -m paidiff_world.pretrain."""

from paidiff_lib.environment import set_defaults

set_defaults()
