"""A Ctrl-C or SIGTERM in the middle of a step waits for the end of it."""

import signal
import threading


class Signals:
    """Inside `with`, the first Ctrl-C or SIGTERM is only noted, in `caught`; a second one acts at once.

    One object serves a whole run, so that what comes during a save is still known after the next step.
    """

    def __init__(self):
        self.caught, self._before = 0, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.caught = number
        signal.signal(number, self._before[number])

    def reraise(self):
        """What the signal would have done: KeyboardInterrupt, or the end of the program."""
        raise SystemExit(128 + signal.SIGTERM) if self.caught == signal.SIGTERM else KeyboardInterrupt
