"""The same set cleaned by `paidiff curate`, by Data-Juicer here and by Data-Juicer on a two-node Ray cluster that loses a node.

    python benchmarks/cluster.py [--count 5000]      # writes benchmarks/cluster.json; needs paidiff[cluster]

Both nodes are on this machine, one processor each. The second is killed while it scores pictures. All three must keep the
same pictures, as CaptionFolder reads them.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import curate as single
import psutil
from run import machine

from paidiff_lib import CaptionFolder

RESULTS, COMMANDS = Path(__file__).with_name("cluster.json"), Path(sys.executable).parent
BUSY = 20  # seconds of processor time after which a process of the second node has begun to score
AGENTS = ("metrics-export", "dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent")
ATTEMPTS = 9
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_agent_register_timeout_ms": "600000", "OMP_NUM_THREADS": "1"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        single.make(pictures, count)
        compare(pictures)


def compare(pictures):
    """All three ways, one after the other; writes the record."""
    ways = {
        "dj-process, Ray, a node killed": lambda: on_a_cluster(pictures, pictures.parent / "ray"),
        "dj-process": lambda: juicer(pictures, "here"),
        "paidiff curate": lambda: paidiff(pictures),
    }
    found = {way: timed(run) for way, run in ways.items()}
    kept = [{item.name for item in CaptionFolder(manifest).items} for manifest, _ in found.values()]
    report = {"machine": machine(), "pictures": len(CaptionFolder(pictures))}
    report |= {way: {"kept": len(names), **note} for (way, (_, note)), names in zip(found.items(), kept)}
    report["the same pictures"] = all(names == kept[0] for names in kept)
    RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, ensure_ascii=False, indent=1))


def timed(way):
    began = time.perf_counter()
    manifest, note = way()
    print(manifest.name, note, round(time.perf_counter() - began), flush=True)
    return manifest, {"seconds": round(time.perf_counter() - began), **note}


def paidiff(pictures, *options):
    run([sys.executable, "-m", "paidiff_app.cli", "curate", str(pictures), *options])
    return pictures / "kept.jsonl", {}


def juicer(pictures, name, *options, watch=lambda child: {}):
    recipe = pictures.parent / f"{name}.yaml"
    paidiff(pictures, "--recipe", str(recipe))
    log = recipe.with_suffix(".log")
    with open(log, "wb") as file:
        command = [COMMANDS / "dj-process", "--config", str(recipe), *options]
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | QUIET)
    note = watch(child)
    if child.wait():
        sys.exit(f"dj-process failed: {log.read_text(errors='replace')[-3000:]}")
    return pictures / f"{name}.jsonl", note


def on_a_cluster(pictures, folder):
    address = f"127.0.0.1:{free_port()}"
    nodes = [node("--head", f"--port={address.split(':')[1]}", "--include-dashboard=false", f"--temp-dir={folder}")]
    try:
        nodes.append(node(f"--address={address}"))
        options = ("--executor_type", "ray", "--ray_address", address)
        return juicer(pictures, "cluster", *options, watch=lambda child: kill_at_work(child, nodes[1]))
    finally:
        for process in nodes:
            end(process)


def node(*options):
    """The process of a node that has started. Ray gives up after 30 seconds, which a busy machine may need: so again."""
    settings = ("--node-ip-address=127.0.0.1", "--num-cpus=1", "--object-store-memory=300000000", "--block")
    for _ in range(ATTEMPTS):
        ports = [f"--{name}-port={free_port()}" for name in AGENTS]  # one that is named is not waited for
        command = [COMMANDS / "ray", "start", *options, *settings, *ports]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | QUIET)
        if any("Ray runtime started" in line for line in process.stdout):
            return process
        end(process)
    sys.exit("a node of Ray does not start")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def kill_at_work(child, second):
    """Kill the second node when one of its processes has begun to score, while dj-process runs."""
    while child.poll() is None:
        for process in psutil.Process(second.pid).children(recursive=True):
            if spent(process) > BUSY:
                end(second)
                return {"killed after, seconds of its processor": BUSY}
        time.sleep(1)
    return {"killed after, seconds of its processor": None}


def spent(process):
    try:
        return sum(process.cpu_times()[:2]) if any("MapBatches" in part for part in process.cmdline()[:1]) else 0
    except psutil.Error:
        return 0


def end(process):
    """Kill a node: its own process and all below it."""
    try:
        everything = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for one in everything:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            pass
    process.wait()


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | QUIET)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
