"""Ctrl-C and SIGTERM as a wish: stop after the running epoch, or at once if it comes a second time."""

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
    """Which signal, if any, asked a run to stop. An instance is :func:`snn_core.training.fit`'s argument ``stop``."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.saved = 0  # epochs

    def __call__(self) -> bool:
        self.saved += 1
        return self.signal is not None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGINT and SIGTERM within the block; a second one raises KeyboardInterrupt.

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
        before = {number: signal.signal(number, self._heard) for number in ours}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal is not None, number
        if again:
            raise KeyboardInterrupt
        os.write(2, NOTICE)


def _in_notebook() -> bool:
    """Whether this code runs in IPython: in a notebook or at its prompt."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
