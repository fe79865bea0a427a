"""Install the library into the Python that runs this, around the torch that is there: for Colab, DSW and the like.

    python tools/install_here.py

Such a machine comes with a torch built for its GPU. A plain `pip install` may replace it by one that does not fit the driver, so
it and its relatives are pinned to what is installed.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("torch", "torchvision", "torchaudio")
FLOOR = (2, 10)  # below, reading a .bin file of the published models is not safe


def pins():
    """["torch==2.13.0+cu128", ...]: what is here and must stay."""
    found = []
    for name in KEPT:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return found


def command(constraints):
    """pip's command line. With no torch here, the tested versions of everything are taken."""
    return [sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints), "-e", f"{ROOT}[notebooks]"]


def too_old(kept):
    numbers = [pin.split("==")[1].split(".")[:2] for pin in kept if pin.startswith("torch==")]
    return bool(numbers) and tuple(map(int, numbers[0])) < FLOOR


def main():
    kept = pins()
    if too_old(kept):
        raise SystemExit(
            f"这里的 {kept[0]} 太旧,要 2.10 以上;换一个新镜像 · is too old: 2.10 or newer is needed, choose a newer image"
        )
    if not kept:
        return subprocess.run(command(ROOT / "constraints.txt")).returncode
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.txt"
        path.write_text("\n".join(kept) + "\n")
        return subprocess.run(command(path)).returncode


if __name__ == "__main__":
    sys.exit(main())
