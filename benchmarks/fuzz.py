"""schemathesis asks `paidiff serve` everything its own OpenAPI description allows, and much that it does not.

    .venv/bin/python benchmarks/fuzz.py [--max-examples 50] [more of schemathesis run's options]

The service runs here with the tests' tiny model. This file is also schemathesis' hooks module: what is allowed but
slow (100 steps, 8 pictures) is made small, or a run would take days. Two things are not checked: that every wrong
type is refused, because the WebUI's clients send "20" for 20 and are understood; and that all the description allows
is drawn, because it cannot say that a text is a picture.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNCHECKED = "negative_data_rejection,positive_data_acceptance"
SIDE, COUNT, STEPS = (64, 1024), (1, 8), (2, 100)  # what is small, and what is still allowed
SMALL = {"width": SIDE, "height": SIDE, "batch_size": COUNT, "n_iter": COUNT, "num_images": COUNT}
SMALL |= {"steps": STEPS, "num_inference_steps": STEPS}

if "SCHEMATHESIS_HOOKS" in os.environ:
    import schemathesis

    @schemathesis.hook
    def before_call(context, case, kwargs):
        """A number that is allowed becomes a small one; what is not allowed stays."""
        if isinstance(case.body, dict):
            for name, (small, most) in SMALL.items():
                if isinstance(case.body.get(name), int) and small < case.body[name] <= most:
                    case.body[name] = small


def main():
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import conftest

    import paidiff_lib
    from paidiff_app.engine import Engine
    from paidiff_app.server import run as server
    from paidiff_app.server.routes import Metrics

    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listening:
        pipe = paidiff_lib.load(conftest.make_pipeline(Path(folder)))
        metrics = Metrics()
        engine = Engine(pipe, fixed=True, name="tiny", queue_size=64, on_batch=metrics.batch)
        engine.suits()
        running = server.make_server(engine, metrics)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            done = _schemathesis(f"http://127.0.0.1:{listening.getsockname()[1]}/openapi.json", sys.argv[1:])
        finally:
            running.should_exit = True
            thread.join()
            engine.close()
    sys.exit(done)


def _schemathesis(url, options):
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", url, "--exclude-checks", UNCHECKED]
    command += ["--wait-for-schema", "60", "--request-timeout", "60"]  # a busy machine is no fault of the service
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz", "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run([*command, *options], env=environment).returncode


if __name__ == "__main__":
    main()
