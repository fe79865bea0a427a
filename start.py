"""From nothing but Python to a notebook: `python start.py` makes .venv, installs, looks whether all is well, opens JupyterLab.

    python start.py            # Windows: py start.py
    python start.py --check    # installs and looks, opens nothing

Needs Python 3.11 or newer and the network once; with a folder wheelhouse/ beside it, as `make bundle` makes it, no network.
Run again, it installs only what has changed. Standard library only.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV, WHEELS = HERE / ".venv", HERE / "wheelhouse"
DONE = VENV / ".started"  # written when everything is installed
SOURCES = (HERE / "pyproject.toml", HERE / "constraints.txt")
EXTRAS = ".[notebooks,web,export]"
ROOM = 4e9  # bytes that an installation takes, torch most of them


def say(zh, en):
    print(f"{zh} · {en}", flush=True)


def stop(zh, en):
    raise SystemExit(f"{zh} · {en}")


def program(name):
    """Where the environment has one of its programs."""
    return VENV / ("Scripts" if os.name == "nt" else "bin") / (f"{name}.exe" if os.name == "nt" else name)


def installed():
    """Whether everything was installed after its description last changed."""
    return DONE.exists() and all(DONE.stat().st_mtime >= file.stat().st_mtime for file in SOURCES)


def commands():
    """pip's two calls: torch first and pinned, so that pip settles it before anything else asks for it."""
    torch = next(line for line in SOURCES[1].read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    pip = [program("python"), "-m", "pip", "install", "--disable-pip-version-check", "-c", SOURCES[1]]
    if WHEELS.is_dir():
        pip += ["--no-index", "--find-links", WHEELS]
    return [[*pip, torch], [*pip, "-e", EXTRAS]]


def install():
    if shutil.disk_usage(HERE).free < ROOM:
        stop("磁盘空间不够", f"less than {ROOM / 1e9:.0f} GB are free on this disk")
    say("第一次要几分钟：建环境、安装", "the first time takes some minutes: making an environment, installing")
    if not program("python").exists():
        import venv  # Debian has it in a package of its own

        venv.EnvBuilder(with_pip=True, clear=VENV.exists()).create(VENV)
    for command in commands():
        if subprocess.run(command, cwd=HERE).returncode:
            stop(
                "没有装好，原因在上面；再运行一次会接着装",
                "not installed, the reason stands above; run this again to go on",
            )
    DONE.touch()


def main(arguments):
    if sys.version_info < (3, 11):  # noqa: UP036  an old Python is what this line is for
        stop(f"Python 太旧：{sys.version.split()[0]}，要 3.11 以上", "this Python is too old: 3.11 or newer is needed")
    if set(arguments) - {"--check"}:
        stop("只认得 --check", "only --check is known")
    if not installed():
        install()
    healthy = subprocess.run([program("paidiff"), "doctor"], cwd=HERE).returncode == 0
    if "--check" in arguments:
        return 0 if healthy else 1
    say("打开 JupyterLab；要停就按 Ctrl+C", "opening JupyterLab; Ctrl+C stops it")
    return subprocess.run([program("jupyter"), "lab", "notebooks"], cwd=HERE).returncode


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that has no Chinese
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ImportError, OSError, subprocess.CalledProcessError) as error:  # no venv here, no rights, no disk
        stop(f"没有成功：{error}", "failed; on Debian and Ubuntu: apt install python3-venv")
