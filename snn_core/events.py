"""TensorBoard's event file, written by the thread that trains.

``SummaryWriter`` writes in a thread of its own. On a full disk that thread dies with a traceback, perhaps long after
the call whose numbers it loses. Here the call itself raises, and half an event does not stay.
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from snn_core.files import naming

__all__ = ["EventFile"]


class EventFile:
    """A new file of scalars in ``folder``, which TensorBoard shows together with the older ones there.

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
        self._append(
            Event(step=first_step, file_version="brain.Event:2"),
            Event(step=first_step, session_log=SessionLog(status=SessionLog.START)),
        )

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the scalars of one step, all of them or none.

        Raises:
            WriteError: the file cannot be written.
        """
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._append(Event(step=step, summary=Summary(value=values)))

    def _append(self, *events: Event) -> None:
        records = io.BytesIO()
        for event in events:
            event.wall_time = time.time()
            RecordWriter(records).write(event.SerializeToString())
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self.path.open("ab") as file:
                    file.write(records.getvalue())
            except OSError:
                self._take_back()
                raise
        self._size += len(records.getvalue())

    def _take_back(self) -> None:
        """Remove what is not a whole event, where that can be done."""
        with suppress(OSError):
            if self._size:
                os.truncate(self.path, self._size)
            else:
                self.path.unlink()
