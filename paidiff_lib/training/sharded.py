"""Weights that are divided between processes, as torch's fully_shard does it (FSDP 2): made whole to be saved or drawn
with, divided again to be trained on. Every process has to call these functions, for each holds only a part.
"""

from contextlib import contextmanager
from typing import Any


def is_sharded(method):
    """Whether a method's parameters are divided between processes."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in method.parameters().values())


def whole(tree) -> Any:
    """A tree of dicts, lists and tuples, with every divided tensor in it whole and on the CPU."""
    if isinstance(tree, dict):
        return {name: whole(value) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(whole, tree))
    return tree.full_tensor().detach().cpu() if hasattr(tree, "full_tensor") else tree


def divided(tensor, parameter):
    """A whole tensor as `parameter` is divided, if that is and has the same shape; else as it is."""
    from torch.distributed.tensor import distribute_tensor

    if not hasattr(parameter, "full_tensor") or tensor.shape != parameter.shape:
        return tensor
    # without a message: each process has the whole
    return distribute_tensor(
        tensor.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def divide_state(state, parameters):
    """The state of an optimizer, whole, as its parameters are divided."""
    of_each = {
        number: {name: divided(value, parameters[number]) for name, value in of_one.items()}
        for number, of_one in state["state"].items()
    }
    return {**state, "state": of_each}


def join(method):
    """Put plain modules with the whole weights into the pipeline in place of the method's divided ones. Returns those."""
    parts = method.parts()
    for name, part in parts.items():
        setattr(method.pipe, name, _plain(part, whole(part.state_dict())))
    return parts


@contextmanager
def undivided(method):
    """Inside, the pipeline is whole, where it was divided: it can be saved as any other."""
    parts = join(method) if is_sharded(method) else {}
    try:
        yield
    finally:
        for name, part in parts.items():
            setattr(method.pipe, name, part)


def _plain(part, weights):
    """A diffusers model of the class and configuration of a divided one, with these weights."""
    import torch
    from torch.distributed.fsdp import FSDPModule

    kind = next(one for one in type(part).__mro__ if not issubclass(one, FSDPModule))
    with torch.device("meta"):  # nothing is made that would be thrown away, and no random number is taken
        plain = kind.from_config(part.config)
    plain.load_state_dict(weights, assign=True)
    return plain.to(part.device).requires_grad_(False)
