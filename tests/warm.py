"""A Python that has imported the heavy libraries once. Every program it is given runs in a fork of it: seconds less each.

Reads one request a line, {"arguments": [program, ...], "environment": {}, "cwd": "", "out": path, "error": path}, and
answers each with the exit code. `arguments` are those of python itself: a script, -c and code, or -m and a module.
"""

import json
import os
import runpy
import sys
import traceback


def run(arguments, environment, cwd, out, error):
    for number, path in ((1, out), (2, error)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(arguments[0])
        runpy.run_path(arguments[0], run_name="__main__")


def code_of(request):
    """Run it and return what the process is to end with, as the interpreter would."""
    try:
        run(**request)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main():
    from diffusers import (  # noqa: F401  # noqa: F401
        AutoencoderKL,
        ControlNetModel,
        StableDiffusionControlNetPipeline,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionInpaintPipeline,
        StableDiffusionPipeline,
    )

    import paidiff_app.cli  # noqa: F401
    from paidiff_lib import (
        CaptionFolder,  # noqa: F401
        FullTuning,  # noqa: F401
        LoRA,  # noqa: F401
    )

    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = code_of(json.loads(line))
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
