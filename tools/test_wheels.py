"""Install both wheels of dist/ into an empty environment outside the repository and use them there, offline.

    python tools/test_wheels.py

The libraries that paidiff needs are lent by the environment that runs this, so nothing is downloaded; paidiff itself comes
from the wheels alone. Any try to reach another machine is an error. Ends with exit code 1 at the first thing that fails.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
UNWANTED = ("tests/", "notebooks/", "tools/", "scripts/", ".pyc", ".ipynb")
# Python reads the first line as a folder to look in (of which no .pth file is read: the editable install stays away), runs the second.
LENT = "{site}\nimport no_network\n"
NO_NETWORK = '''
"""Write down and refuse every try to reach another machine."""
import os, sys

def watch(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    if host not in ("localhost", "::1", "0.0.0.0") and not host.startswith("127."):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{host} asked for by {' '.join(sys.argv)}\\n")
        raise OSError(f"no network in this test: {host}")

sys.addaudithook(watch)
'''
WHERE = "import paidiff_lib, paidiff_app, paidiff_world, paidiff_course; print(paidiff_lib.__file__)"
JUDGE = """
from paidiff_world import scene
from paidiff_world.judge import prompt_following
scenes = [scene(seed) for seed in range(8)]
scenes[0][0].save("scene.png")
rates = prompt_following([picture for picture, _, _ in scenes], [spec for _, _, spec in scenes])
print(scenes[0][1], {head: round(rate, 2) for head, rate in rates.items()})
assert rates["subject"] > 0.7
"""
TRAIN = """
import paidiff_lib as paidiff
from paidiff_course import profile, setup
setup()
pipe = paidiff.load()
found = profile("03", pipe)
lora = paidiff.LoRA(pipe, rank=2)
print(*(round(step.loss, 3) for step in paidiff.train(lora, paidiff.CaptionFolder("set", 64), steps=2)))
"""


def check(fine, what):
    """One line of the report; the first thing that is not fine ends the test."""
    print(f"{'ok  ' if fine else 'FAIL'} {what}", flush=True)
    if not fine:
        raise SystemExit(1)


class Environment:
    """A new environment and a working folder below `folder`, with nothing of this checkout in reach."""

    def __init__(self, folder):
        self.folder, self.work, self.log = folder, folder / "work", folder / "network.log"
        self.bin = folder / "venv/bin"
        self.work.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        site = next((folder / "venv/lib").glob("python*/site-packages"))
        (site / "lent.pth").write_text(LENT.format(site=sysconfig.get_path("purelib")), encoding="utf-8")
        (site / "no_network.py").write_text(NO_NETWORK, encoding="utf-8")
        hidden = ("HF_", "PAIDIFF", "XDG_", "PYTHON", "TRANSFORMERS", "MODELSCOPE", "VIRTUAL_ENV", "MAKE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        home = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "NETWORK_LOG": str(self.log)}
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        self.variables = kept | home | {"PATH": f"{self.bin}:{os.environ['PATH']}", "PYTHONUTF8": "1"}

    def install(self, wheel):
        flags = ["--no-deps", "--no-index", "--disable-pip-version-check", "--ignore-installed"]
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "-q", *flags, wheel]
        subprocess.run(pip, check=True, env=self.variables)

    def run(self, *command, code=0, says=()):
        """Run a program in the working folder; show it; check how it ended and what it said. Returns its output."""
        started = time.perf_counter()
        done = subprocess.run(
            [self.bin / command[0], *command[1:]], cwd=self.work, env=self.variables, capture_output=True, text=True
        )
        output = (done.stdout + done.stderr).strip()
        shown = " ".join("-c ..." if "\n" in part else part for part in command if part != "-c")
        print(
            f"\n$ {shown}    ({time.perf_counter() - started:.1f} s, exit code {done.returncode})\n{output}", flush=True
        )
        check(done.returncode == code and "Traceback" not in output, f"exit code {code}, no traceback")
        for words in says:
            check(words in output, f"says {words}")
        return output

    def page(self):
        """Start the page on any free port, ask for it, stop it."""
        command = [self.bin / "paidiff", "web", "--port", "0"]
        print("\n$ paidiff web --port 0", flush=True)
        streams = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with subprocess.Popen(
            command, cwd=self.work, env=self.variables | {"PYTHONUNBUFFERED": "1"}, **streams
        ) as server:
            try:
                address = next((line for line in server.stdout if print(line, end="") or "http://" in line), "")
                check("http://" in address, "the page says where it is")
                url = "http://" + address.split("http://")[1].split()[0]
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + "/") as answer:
                    page = answer.read().decode()
                check(
                    answer.status == 200 and "文生图" in page, f"GET / answers with the page, {len(page):,} characters"
                )
            finally:
                server.terminate()


def newest(name):
    """The wheel of that name in dist/."""
    found = sorted(DIST.glob(f"{name}-*.whl"))
    if not found:
        raise SystemExit(f"没有 {name} 的 wheel,先运行 · no wheel of {name}: make wheels")
    return found[-1]


def inspect(wheel):
    """Nothing in it that is not used when it is installed."""
    names = zipfile.ZipFile(wheel).namelist()
    check(not [name for name in names if any(word in name for word in UNWANTED)], f"{wheel.name}: no tests, no caches")
    print(f"     {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def without_data(env):
    """Only the first wheel: the picture world works, and what needs the model says in one line what to do."""
    where = env.run("python", "-c", WHERE)
    check(where.startswith(str(env.folder)), "paidiff_lib is the installed one")
    env.run("python", "-c", "from paidiff_world import scene; print(scene(1)[1])")
    said = env.run("paidiff", "draw", "一只猫", "-o", "cat.png", code=1, says=["pip install paidiff-mini-zh"])
    check(len(said.splitlines()) == 1, "in one line")
    env.run("paidiff", "doctor", code=1, says=["pip install paidiff-mini-zh"])


def with_data(env):
    """Both wheels: draw, audit, curate, make a scene, judge it, train two steps, export, open the page."""
    data = Path(env.run("python", "-c", "import paidiff_lib; print(paidiff_lib.data_folder())"))
    check(data.is_relative_to(env.folder), "the data folder is the installed one")
    shutil.copytree(data / "porcelain", env.work / "set")
    env.run(
        "paidiff", "draw", "雪地里的两只企鹅", "--seed", "1", "--steps", "8", "-o", "penguins.png", says=["128x128"]
    )
    env.run("paidiff", "audit", "set")
    env.run("paidiff", "curate", "set", says=["kept.jsonl"])
    env.run("python", "-c", JUDGE)
    env.run("python", "-c", TRAIN, says=["mini 128x128"])
    env.run("paidiff", "export", "mini", "-o", "exported")
    env.run("paidiff", "draw", "一只猫", "--model", "exported", "--steps", "4", "-o", "cat.png", says=["cat.png"])
    env.run("paidiff", "doctor", says=["paidiff 0."])
    env.page()
    for name in ("penguins.png", "scene.png", "cat.png", "set/kept.jsonl"):
        check((env.work / name).stat().st_size > 500, f"{name} is there")


def main():
    started = time.perf_counter()
    library, mini = newest("paidiff"), newest("paidiff_mini_zh")
    for wheel in (library, mini):
        inspect(wheel)
    with tempfile.TemporaryDirectory(prefix="paidiff-wheels-") as folder:
        env = Environment(Path(folder).resolve())
        env.install(library)
        without_data(env)
        env.install(mini)
        with_data(env)
        check(not env.log.exists(), "nobody asked for another machine")
    print(f"\nboth wheels work when they are installed · {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
