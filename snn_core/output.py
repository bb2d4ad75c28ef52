"""The files that a training run leaves behind."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from torch.utils.tensorboard import SummaryWriter

from snn_core.checkpoint import save_checkpoint
from snn_core.files import atomic_write, write_json

if TYPE_CHECKING:
    from snn_core.training import Trainer

__all__ = ["OutputFolder"]


class OutputFolder:
    """What a run leaves behind: config.json, metrics.jsonl, checkpoints, and TensorBoard's tb/.

    The checkpoints are latest.pt, previous.pt, which was the latest one before, and best.pt.
    """

    def __init__(self, folder: str | os.PathLike[str], trainer: Trainer, tensorboard: bool) -> None:
        self.folder = Path(folder)
        self.trainer = trainer
        write_json(self.folder / "config.json", dataclasses.asdict(trainer.config))
        self.writer = None
        if tensorboard:
            if not trainer.history:
                # A new run writes the folder's other files anew, too; two runs in one log would be one broken curve.
                for old in (self.folder / "tb").glob("events.out.tfevents.*"):
                    old.unlink()
            self.writer = SummaryWriter(str(self.folder / "tb"), purge_step=trainer.epoch)

    def save(self) -> None:
        """Save the epoch that just ended. The checkpoint comes first: it holds the history, the log follows it."""
        history = self.trainer.history
        state = self.trainer.state_dict()
        latest, previous = self.folder / "latest.pt", self.folder / "previous.pt"
        if len(history) > 1 and latest.exists():  # else the latest one is another run's
            with atomic_write(previous) as file:
                file.write(latest.read_bytes())
        else:
            previous.unlink(missing_ok=True)
        save_checkpoint(latest, state)
        if history[-1]["test_accuracy"] > max((r["test_accuracy"] for r in history[:-1]), default=-1.0):
            save_checkpoint(self.folder / "best.pt", state)
        with atomic_write(self.folder / "metrics.jsonl") as file:
            file.writelines(f"{json.dumps(record)}\n".encode() for record in history)
        if self.writer:
            for name, value in history[-1].items():
                if name != "epoch":
                    self.writer.add_scalar(name, value, int(history[-1]["epoch"]))
            self.writer.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.writer:
            self.writer.close()
