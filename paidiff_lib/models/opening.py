"""The libraries open a folder in silence, and fail in one line."""

import logging
from contextlib import contextmanager

from ..errors import Refused, first_line


@contextmanager
def opening(zh, en, what):
    """While the libraries open `what`: no bars, no advice, and an error of theirs becomes one Refused.

    Nothing else of the process is touched, and afterwards their verbosity is as the user has set it.
    """
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries = [library.utils.logging for library in (diffusers, transformers)]
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity(logging.CRITICAL)  # diffusers logs an error for every .bin, because it is no .safetensors
        library.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise Refused(zh, en, f"{what}: {first_line(error)}") from error
    finally:
        for library, (verbosity, bars) in zip(libraries, before):
            library.set_verbosity(verbosity)
            library.enable_progress_bar() if bars else library.disable_progress_bar()
