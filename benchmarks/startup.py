"""How long the command line takes to start, beside an older state of the project: imports measured by -X importtime.

    python benchmarks/startup.py REF      # a git commit; both states in turns, the medians and their ratio

The figure is what `import paidiff_app.cli` costs, all that it imports included; the commands import the rest when they run.
"""

import io
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 9


def milliseconds(folder):
    """What the import of the command line costs in one new process."""
    command = [sys.executable, "-X", "importtime", "-c", "import paidiff_app.cli"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    return int(re.search(r"\|\s+(\d+) \| paidiff_app\.cli\n", done.stderr)[1]) / 1000


def main(ref):
    packed = subprocess.run(
        ["git", "archive", ref, "paidiff_app", "paidiff_lib"], cwd=ROOT, capture_output=True, check=True
    )
    with tempfile.TemporaryDirectory() as before:
        tarfile.open(fileobj=io.BytesIO(packed.stdout)).extractall(before, filter="data")
        found = {"before": [], "now": []}
        for _ in range(REPEATS + 1):  # the first round fills the caches
            found["before"].append(milliseconds(Path(before)))
            found["now"].append(milliseconds(ROOT))
    medians = {name: statistics.median(values[1:]) for name, values in found.items()}
    print(
        f"before {medians['before']:.0f} ms · now {medians['now']:.0f} ms · {medians['now'] / medians['before']:.2f} of it"
    )


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else sys.exit(__doc__))
