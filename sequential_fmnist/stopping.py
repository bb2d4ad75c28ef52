"""Ctrl-C and SIGTERM as a request: stop after the running epoch, or at once if it comes a second time."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop"]

#: What the first signal says. It is written past Python's buffers, which the signal may have come in the middle of.
NOTICE = b"\nstopping after this epoch; once more stops at once and drops the epoch\n"


class Stop:
    """Which signal, if any, asked a run to stop. One is :func:`sequential_fmnist.training.fit`'s ``stop``."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.patient = False  # whether the first signal waits for the end of the epoch
        self.saved = 0  # epochs

    def __call__(self) -> bool:
        self.saved += 1
        return self.signal is not None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM within the block.

        A second signal raises KeyboardInterrupt, and so does the first one unless ``patient`` is set.

        Nothing changes in a notebook, whose users expect a KeyboardInterrupt from the first one, outside the main
        thread, which gets no signals, and for a signal that is ignored, as under nohup.
        """
        ours = []
        if threading.current_thread() is threading.main_thread() and not _in_notebook():
            ours = [
                number
                for number in (signal.SIGINT, signal.SIGTERM)
                if signal.getsignal(number) not in (None, signal.SIG_IGN)
            ]
        before = {number: signal.signal(number, self._handle) for number in ours}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        at_once = self.signal is not None or not self.patient
        self.signal = number
        if at_once:
            raise KeyboardInterrupt
        if os.environ.get("LOCAL_RANK", "0") == "0":  # one of torchrun's processes reports for all
            os.write(2, NOTICE)


def _in_notebook() -> bool:
    """Whether this code runs in IPython: in a notebook or at its prompt."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
