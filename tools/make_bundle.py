"""The workshop's folder, for a USB stick: course, weights, wheels and a start script; needs no network where it is opened.

    python tools/make_bundle.py                               for this kind of machine
    python tools/make_bundle.py win_amd64 macosx_14_0_arm64   for these; nobody has run the course there

dist/paidiff-course/ holds the tracked files without what only developers need, wheelhouse/ with every library in the tested
version, and start.bat, start.command, start.sh, which call start.py. Needs the network, and some minutes.
"""

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "dist/paidiff-course"
LEFT_OUT = ("tests/", "benchmarks/", ".ci/", ".github/", "workshop/bundle/")
EXTRAS = {"notebooks", "web", "export", "serve"}  # as start.py installs
BUILD = ["setuptools>=77"]  # which the editable installation asks for
MACHINES = {  # what a wheel's tag means for the markers of requirements
    "win": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
    "macosx": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
}


def copy_course(bundle):
    """The tracked files that a learner needs, and the start scripts."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if not name.startswith(LEFT_OUT) and (ROOT / name).is_file():
            (bundle / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, bundle / name)
    for script in (ROOT / "workshop/bundle").iterdir():
        shutil.copy(script, bundle / script.name)


def wanted(machine):
    """Names of the libraries that the course needs on a machine, by the requirements of what is installed here.

    pip reads markers such as `sys_platform == "win32"` for the machine it runs on, so it would leave out pywinpty.
    """
    found, waiting = {}, [("paidiff", EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        for line in _requires(name):
            each = Requirement(line)
            holds = [each.marker is None or each.marker.evaluate(machine | {"extra": e}) for e in extras or {""}]
            key = each.name.lower().replace("_", "-")
            if any(holds) and (key not in found or each.extras - found[key]):
                found[key] = found.get(key, set()) | each.extras
                waiting.append((each.name, found[key]))
    return sorted(_pinned(name) for name in found.keys() - {"paidiff", "torch"})


def _pinned(name):
    """The version that is installed here; any, of a library that only another machine needs."""
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return name


def _requires(name):
    try:
        return requires(name) or []
    except PackageNotFoundError:  # for another machine only; what it needs itself, pip finds
        return []


def download(folder, platform=None):
    """Every wheel for this machine, or for another, named by a wheel's platform tag."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "-d", folder]
    pip += ["-c", ROOT / "constraints.txt"]
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    if platform is None:
        for what in ([torch], BUILD, [f"{ROOT}[notebooks,web,export]"]):
            _run([*pip, *what])
        for own in folder.glob("paidiff-*"):  # start.py installs the checkout itself
            own.unlink()
        return
    machine = next(markers for system, markers in MACHINES.items() if platform.startswith(system))
    python = ".".join(map(str, sys.version_info[:3]))  # whole: some libraries ask for 3.11.5
    other = ["--platform", platform, "--python-version", python, "--only-binary=:all:", "--no-deps"]
    _run([*pip, *other, torch, *BUILD, *wanted(machine)])


def _run(command):
    if subprocess.run(command).returncode:
        raise SystemExit("没有下载完,原因在上面 · not everything was downloaded, the reason stands above")


def main(platforms):
    shutil.rmtree(BUNDLE, ignore_errors=True)
    (BUNDLE / "wheelhouse").mkdir(parents=True)
    copy_course(BUNDLE)
    for platform in platforms or [None]:
        download(BUNDLE / "wheelhouse", platform)
    size = sum(file.stat().st_size for file in BUNDLE.rglob("*") if file.is_file())
    print(f"{BUNDLE.relative_to(ROOT)}  {size / 1e6:.0f} MB, {len(list(BUNDLE.glob('wheelhouse/*')))} wheels")


if __name__ == "__main__":
    main(sys.argv[1:])
