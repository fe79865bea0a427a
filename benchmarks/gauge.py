"""Seconds, peak memory, arithmetic, and how much arithmetic the machine can do: its share of the last is what some work uses."""

import time

REPEATS = 5


def seconds(work):
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def wait():
    """A GPU works behind Python's back: wait for it before reading the clock."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory():
    """GB that the GPU held at most since the last call; None on a CPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    most = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return round(most, 2)


def flops(work):
    """Floating-point operations of work(): matrix products, convolutions and, on a GPU, attention; the rest is next to nothing."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def reachable(device, dtype):
    """Operations a second of one large matrix product, the best of five: less than its maker says, but really to be had."""
    import torch

    side = 8192 if torch.device(device).type == "cuda" else 2048
    a, b = torch.randn(2, side, side).to(device, dtype)
    return max(2 * side**3 / seconds(lambda: a @ b) for _ in range(REPEATS))
