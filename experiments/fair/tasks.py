"""Two tasks in which memory is all there is to do, with noise on all inputs in all steps.

Sequences for training are drawn anew for each step. Validation and test sequences are two fixed sets of 2,000.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["TASKS", "Copying", "Recall", "Task"]

#: Seeds of the fixed sets. torch keeps 32 bits of a seed, and runs use small ones.
SEEDS = {"validation": 2**31 + 1, "test": 2**31 + 2}
FIXED, _PART = 2_000, 500


@dataclasses.dataclass(frozen=True)
class Task:
    """Sequences ``[T, N, K]`` with targets ``[N]``, or ``[window, N]`` with ``each``.

    Args:
        distance: D, the steps to be bridged.
        noise: standard deviation of normal noise. Without it the state of a network takes one of few values, which a
            linear layer can tell apart however close they lie.
    """

    distance: int = 50
    noise: float = 0.1

    inputs, outputs, window, each = 0, 0, 0, False

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.outputs

    def clean(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        """Return sequences without noise, and their targets."""
        raise NotImplementedError

    def draw(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        """Return new sequences and their targets."""
        x_seq, target = self.clean(generator, size)
        return x_seq + self.noise * torch.randn(x_seq.shape, generator=generator), target

    def fixed(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of ``"validation"`` or ``"test"``."""
        yield from _fixed(self, split)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy of outputs ``[*, J]``."""
        return F.cross_entropy(outputs.flatten(0, -2), target.flatten())


@lru_cache(maxsize=4)
def _fixed(task: Task, split: str) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(SEEDS[split])
    return [task.draw(generator, _PART) for _ in range(0, FIXED, _PART)]


@dataclasses.dataclass(frozen=True)
class Recall(Task):
    """One of 8 symbols for 5 steps, nothing for D steps, then for 5 steps a signal to answer; T = D + 10."""

    inputs, outputs, window = 9, 8, 5

    def clean(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        target = torch.randint(self.outputs, (size,), generator=generator)
        x_seq = torch.zeros(self.distance + 2 * self.window, size, self.inputs)
        x_seq[: self.window, torch.arange(size), target] = 1
        x_seq[-self.window :, :, -1] = 1
        return x_seq, target


@dataclasses.dataclass(frozen=True)
class Copying(Task):
    """Four symbols out of 4, for 2 steps each, nothing for D steps, then they are to be repeated; T = D + 16.

    A signal is on while the network answers, one symbol every 2 steps, in the order in which they were shown.

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; with fewer symbols.
    """

    inputs, outputs, window, each = 5, 4, 8, True
    SYMBOLS, SHOWN = 4, 2

    def clean(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(self.outputs, (self.SYMBOLS, size), generator=generator)
        target = symbols.repeat_interleave(self.SHOWN, 0)  # [window, N]
        x_seq = torch.zeros(self.distance + 2 * self.window, size, self.inputs)
        x_seq[: self.window, :, : self.outputs] = F.one_hot(target, self.outputs).float()
        x_seq[-self.window :, :, -1] = 1
        return x_seq, target


#: Every task by its name.
TASKS: dict[str, type[Task]] = {"recall": Recall, "copying": Copying}
