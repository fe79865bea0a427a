"""Several processes of one training, forked from this one: nothing is imported again."""

import faulthandler
import os
import signal
import socket
import sys
import time
import traceback


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])


def start(job, rank, count, port, nodes=False):
    """Fork process `rank` of `count`, which runs job(rank). nodes: each is a machine of its own. Returns its pid."""
    from accelerate.state import AcceleratorState

    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    local = (0, 1) if nodes else (rank, count)
    names = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": local[0], "LOCAL_WORLD_SIZE": local[1]}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    AcceleratorState._reset_state(reset_partial_state=True)
    faulthandler.register(signal.SIGUSR1)
    try:
        job(rank)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def run(job, count, nodes=False):
    """Run job(rank) in `count` processes. Raises AssertionError if one fails or is still there after ten minutes."""
    port = free_port()
    pids = [start(job, rank, count, port, nodes) for rank in range(count)]
    codes = [ended(pid, 600) for pid in pids]
    assert not any(codes), codes


def ended(pid, seconds):
    """The exit code of a child that ends within so many seconds; it is killed after that, and the code is None."""
    until = time.monotonic() + seconds
    while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() > until:
            os.kill(pid, signal.SIGUSR1)  # it says where it is
            time.sleep(1)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
