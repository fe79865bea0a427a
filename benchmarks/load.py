"""Two hundred requests from twenty clients at `paidiff serve`: who is answered, how fast, in how much memory.

By turns the WebUI's text to image, OpenAI's, and inpainting; meanwhile one more client listens to /events.

    .venv/bin/python benchmarks/load.py [--requests 200] [--clients 20] [--steps 20] [--queue 64]

Starts the command itself, as a process of its own. First one client asks one thing at a time (throughput 1), then
all clients at once. Prints the figures and writes them to load.json; exits with 1 if a request was lost or answered by
anything but 200, 429 or 503.
"""

import argparse
import base64
import io
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from PIL import Image
from run import machine

RESULTS = Path(__file__).with_name("load.json")
PROMPTS = ["雪地里的两只企鹅", "猫头鹰,竹林,水墨画", "三朵向日葵,蓝色背景", "熊猫,草地"]
PICTURE = Path(__file__).resolve().parents[1] / "data/penguins.png"
ALONE = 20  # requests of the first part
WEB = httpx.Client(verify=False, timeout=600, limits=httpx.Limits(max_keepalive_connections=0))


def main():
    wanted = _arguments()
    command = [sys.executable, "-m", "paidiff_app.cli", "serve", "--port", "0", "--queue", str(wanted.queue)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = re.search(r"http://\S+", process.stdout.readline())[0]
            report = {"machine": machine(), **vars(wanted), **measure(url, psutil.Process(process.pid), wanted)}
        finally:
            process.terminate()
    RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print("\n".join(f"{name}: {value}" for name, value in report.items()))
    sys.exit(bool(set(report["answers"]) - {"200", "429", "503"}))


def measure(url, process, wanted):
    """The figures: {name: value}; answers: {status, "lost" or "broken": how many}."""
    for seed in range(5):  # warm up, until the memory has its working size
        ask(url, seed, wanted.steps)
    ask_many(url, range(40), wanted.clients, wanted.steps)
    before = _megabytes(process)
    begun = time.perf_counter()
    alone = [ask(url, seed, wanted.steps) for seed in range(ALONE)]
    rate = sum(answer == 200 for answer, _ in alone) / (time.perf_counter() - begun)
    memory, heard, over = [], [], threading.Event()
    listener = threading.Thread(target=listen, args=(url, heard, over))
    listener.start()
    begun, look = time.perf_counter(), lambda: memory.append(_megabytes(process))
    answers = ask_many(url, range(wanted.requests), wanted.clients, wanted.steps, look)
    together = sum(answer == 200 for answer, _ in answers) / (time.perf_counter() - begun)
    over.set()
    listener.join()
    waits = sorted(seconds for answer, seconds in answers if answer == 200)
    sizes = dict(re.findall(r"^paidiff_batch_size_(sum|count) (\S+)", WEB.get(url + "/metrics").text, re.M))
    return {
        "answers": dict(Counter(str(answer) for answer, _ in answers)),
        "events heard": len(heard),
        "pictures/s, one at a time": round(rate, 2),
        "pictures/s, together": round(together, 2),
        "ratio": round(together / rate, 2),
        "seconds, median": round(statistics.median(waits), 1),
        "seconds, longest": round(waits[-1], 1),
        "pictures in a batch": round(float(sizes["sum"]) / float(sizes["count"]), 1),
        "MB before": round(before),
        "MB at most": round(max(memory)),
        "MB after": round(_megabytes(process)),
    }


def ask(url, seed, steps):
    """(status, seconds) of one request; "lost" if there was no answer, "broken" if it holds no picture."""
    begun = time.perf_counter()
    try:
        path, wanted, picture = request(seed, steps)
        answer = WEB.post(url + path, json=wanted)
        status = answer.status_code
        if status == 200:
            Image.open(io.BytesIO(base64.b64decode(picture(answer.json())))).load()
    except httpx.HTTPError:
        status = "lost"
    except (OSError, ValueError, LookupError):
        status = "broken"
    return status, time.perf_counter() - begun


def listen(url, heard, over):
    """Every event of /events into the list `heard`, until `over` is set; a comment comes when there are none."""
    with WEB.stream("GET", url + "/events") as answer:
        for line in answer.iter_lines():
            if over.is_set():
                return
            if line.startswith("data:"):
                heard.append(line)


def request(seed, steps):
    """(path, body, picture of an answer): by turns text to image, OpenAI's shape, and the penguins' snow drawn anew."""
    wanted, first = {"prompt": PROMPTS[seed % len(PROMPTS)], "seed": seed}, lambda answer: answer["images"][0]
    if seed % 3 == 1:
        openai = {**wanted, "num_inference_steps": steps}
        return "/v1/images/generations", openai, lambda answer: answer["data"][0]["b64_json"]
    wanted["steps"] = steps
    if seed % 3 == 2:
        mask = Image.new("L", (128, 128))
        mask.paste(255, (0, 0, 128, 64))
        wanted |= {"init_images": [_base64(Image.open(PICTURE))], "mask": _base64(mask)}
        return "/sdapi/v1/img2img", wanted, first
    return "/sdapi/v1/txt2img", wanted, first


def _base64(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def ask_many(url, seeds, clients, steps, after=lambda: None):
    """Every seed once, `clients` at a time."""

    def one(seed):
        answer = ask(url, seed, steps)
        after()
        return answer

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, seeds))


def _megabytes(process):
    return process.memory_info().rss / 2**20


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"requests": 200, "clients": 20, "steps": 20, "queue": 64}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


if __name__ == "__main__":
    main()
