"""TensorBoard's event file, written by the thread that trains.

``SummaryWriter`` writes in a thread of its own. On a full disk that thread dies with a traceback, perhaps long after
the call whose numbers it loses. Here the call itself raises, and half an event does not stay.
"""

from __future__ import annotations

import io
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from sequential_fmnist.files import naming

__all__ = ["EventFile"]


class EventFile:
    """A new file of scalars in ``folder``, used as a ``SummaryWriter``; TensorBoard shows it with the older ones there.

    Args:
        folder: made if it is missing.
        first_step: what older files say of this step and later ones is hidden.

    Raises:
        WriteError: the file cannot be written.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        # TensorBoard reads a folder's files in the order of their names.
        self.path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._size = 0
        self._waiting = io.BytesIO()
        start = SessionLog(status=SessionLog.START)
        self._add(Event(step=first_step, wall_time=time.time(), file_version="brain.Event:2"))
        self._add(Event(step=first_step, wall_time=time.time(), session_log=start))
        self.flush()

    def add_scalar(self, name: str, value: float, step: int, walltime: float | None = None) -> None:
        """Keep one number for the next :meth:`flush`."""
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        self._add(Event(step=step, wall_time=time.time() if walltime is None else walltime, summary=summary))

    def _add(self, event: Event) -> None:
        RecordWriter(self._waiting).write(event.SerializeToString())

    def flush(self) -> None:
        """Write what waits, all of it or nothing.

        Raises:
            WriteError: the file cannot be written; what waited is lost.
        """
        records, self._waiting = self._waiting.getvalue(), io.BytesIO()
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self.path.open("ab") as file:
                    file.write(records)
            except OSError:
                self._take_back()
                raise
        self._size += len(records)

    def _take_back(self) -> None:
        """Remove what is not a whole event, where that can be done."""
        with suppress(OSError):
            if self._size:
                os.truncate(self.path, self._size)
            else:
                self.path.unlink()

    def close(self) -> None:
        """Write what waits.

        Raises:
            WriteError: the file cannot be written.
        """
        if self._waiting.getvalue():
            self.flush()

    def __enter__(self) -> EventFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
