"""The files that a training run leaves behind."""

from __future__ import annotations

import dataclasses
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sequential_fmnist.checkpoint import save_checkpoint
from sequential_fmnist.files import atomic_write, hold, naming, remove_leftovers, write_json

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from sequential_fmnist.trainer import Trainer

__all__ = ["CHECKPOINTS", "OutputFolder", "refuse_run"]

#: Checkpoints that a run leaves in its folder.
CHECKPOINTS = ("latest.pt", "previous.pt", "best.pt")
#: Files of one run that another one must not inherit; latest.pt goes first, since it makes the others a run.
RUN_FILES = (*CHECKPOINTS, "metrics.jsonl")


class OutputFolder:
    """What a run leaves behind: config.json, metrics.jsonl, checkpoints, and TensorBoard's tb/.

    The checkpoints are latest.pt, previous.pt, which was the latest one before, and best.pt.

    As a context manager it holds the folder: a second run there is refused meanwhile. Of several processes that train
    together only the first touches it; where it is refused, the others leave silently.

    Whenever a run is killed, latest.pt decides: what the other files lack of it, or say beyond it, is put right when
    the run is resumed.

    Args:
        folder: made if it is missing.
        trainer: the run.
        tensorboard: whether to write tb/.
        resumed: whether the trainer resumes the run of this folder; else the folder's run is replaced.
        overwrite: False refuses to replace a run.

    Raises (when it is entered):
        InUseError: another run holds the folder.
        ValueError: the folder holds a run that may not be replaced.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        trainer: Trainer,
        *,
        tensorboard: bool = False,
        resumed: bool = False,
        overwrite: bool = True,
    ) -> None:
        self.folder, self.trainer = Path(folder), trainer
        self.tensorboard, self.resumed, self.overwrite = tensorboard, resumed, overwrite
        self.writer: SummaryWriter | None = None
        self._open = ExitStack()

    def __enter__(self) -> OutputFolder:
        failure = None
        with self._open as stack:
            if self.trainer.ranks.first:
                try:
                    stack.enter_context(hold(self.folder))
                    self._begin()
                except (OSError, ValueError) as error:
                    failure = error
            if self.trainer.ranks.any(failure is not None):
                raise failure or SystemExit(1)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _begin(self) -> None:
        if not (self.resumed or self.overwrite):
            refuse_run(self.folder)
        for name in ("config.json", *RUN_FILES):
            remove_leftovers(self.folder / name)
        if not self.resumed:
            for path in (*(self.folder / name for name in RUN_FILES), *self._logs()):
                path.unlink(missing_ok=True)
        write_json(self.folder / "config.json", dataclasses.asdict(self.trainer.config))
        if self.tensorboard:
            self._open_log()
        if self.trainer.history:
            self._follow_checkpoint(self.trainer.state_dict())

    def _logs(self) -> list[Path]:
        return list((self.folder / "tb").glob("events.out.tfevents.*"))

    def _open_log(self) -> None:
        """Begin TensorBoard's log with the history so far, in place of whatever a killed run left."""
        from torch.utils.tensorboard import SummaryWriter

        with naming(self.folder / "tb"):
            for path in self._logs():
                path.unlink()
            self.writer = SummaryWriter(str(self.folder / "tb"))
        self._open.callback(self._close_log)
        self._log(self.trainer.history)

    def _log(self, records: list[dict[str, float]]) -> None:
        """Write records to TensorBoard's log; on a full disk the end of its last event may be missing."""
        with naming(self.folder / "tb"):
            for record in records:
                for name in record.keys() - {"epoch"}:
                    self.writer.add_scalar(name, record[name], int(record["epoch"]))
            self.writer.flush()

    def _close_log(self) -> None:
        with naming(self.folder / "tb"):
            self.writer.close()

    def save(self) -> None:
        """Save the epoch that just ended."""
        if not self.trainer.ranks.first:
            return
        state = self.trainer.state_dict()
        latest = self.folder / "latest.pt"
        if latest.exists():
            with atomic_write(self.folder / "previous.pt") as file:
                file.write(latest.read_bytes())
        save_checkpoint(latest, state)
        self._follow_checkpoint(state)
        if self.writer:
            self._log(self.trainer.history[-1:])

    def _follow_checkpoint(self, state: dict[str, Any]) -> None:
        """Write what follows from latest.pt, which holds the history."""
        *earlier, last = self.trainer.history
        if last["test_accuracy"] > max((record["test_accuracy"] for record in earlier), default=-1.0):
            save_checkpoint(self.folder / "best.pt", state)
        with atomic_write(self.folder / "metrics.jsonl") as file:
            file.writelines(f"{json.dumps(record)}\n".encode() for record in self.trainer.history)


def refuse_run(folder: Path) -> None:
    """Raise a ValueError if ``folder`` holds a run."""
    latest = folder / "latest.pt"
    if latest.exists():
        raise ValueError(
            f"--output-dir: {folder} already holds a run: add --resume {latest} to continue it, --overwrite to replace "
            "it, or name another folder"
        )
