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

from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.experiments.fair.networks import MemoryNet, parameters_of, time_constants
from sequential_fmnist.experiments.frame import Record
from sequential_fmnist.experiments.memory import keep_freed_memory
from sequential_fmnist.experiments.statistics import share
from sequential_fmnist.options import check_options, option
from sequential_fmnist.train import TrainingConfig, fit

__all__ = ["HELD", "TASKS", "Copying", "Recall", "Task"]

#: Seeds of the fixed sets. torch keeps 32 bits of a seed, and runs use small ones.
SEEDS = {"validation": 2**31 + 1, "test": 2**31 + 2}
FIXED, _PART = 2_000, 500
#: Steps of training between two looks at the validation set, and the accuracy at which training ends.
BETWEEN, SOLVED = 100, 0.995
#: Accuracy from which a run counts as having learned the task.
HELD = 0.95


@dataclasses.dataclass(frozen=True)
class Task:
    """Sequences ``[T, N, K]`` with targets ``[N]``, or ``[window, N]`` with ``each``."""

    distance: int = option(50, "D, the steps to be bridged", 0)
    #: Without noise the state of a network takes one of few values, which a linear layer can tell apart however close
    #: they lie.
    noise: float = option(0.1, "standard deviation of normal noise on all inputs")
    split: str = option("test", "which of the fixed sequences measure", tuple(SEEDS))

    def __post_init__(self) -> None:
        check_options(self)

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

    def fixed(self, split: str) -> list[tuple[Tensor, Tensor]]:
        """Return the batches of ``"validation"`` or ``"test"``."""
        return _fixed(dataclasses.replace(self, split=split))

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy of outputs ``[*, J]``."""
        return F.cross_entropy(outputs.flatten(0, -2), target.flatten())

    def train(self, net: MemoryNet, training: TrainingConfig) -> int:
        """Train, each epoch one batch of new sequences, and return the number of steps that it took.

        Training ends before if 99.5 % of the validation answers are right, and no delay is spread any more.

        Raises:
            FloatingPointError: a loss or a weight is not finite.
        """
        keep_freed_memory()
        drawn = Drawn(self, torch.Generator().manual_seed(training.seed), training.batch_size)
        pace = net.pace(training)

        def is_solved() -> bool:
            is_asked = drawn.steps % BETWEEN == 0 and (pace is None or pace.is_over)
            return is_asked and self.measure(net, "validation") >= SOLVED

        history = fit(
            net, drawn, config=training, loss=self.loss, after_step=pace, stop=is_solved, progress=False
        )
        return len(history)

    def measure(self, net: MemoryNet, split: str) -> float:
        """Return the share of right answers on a fixed set."""
        return round(evaluate(net, self.fixed(split), loss=self.loss)[1], 5)

    def run(self, net: MemoryNet, training: TrainingConfig) -> Record:
        """Train and return the accuracy, size, steps, and where time constants went."""
        before = {name: _quantiles(value) for name, value in time_constants(net).items()}
        steps = self.train(net, training)
        after = {name: _quantiles(value) for name, value in time_constants(net).items()}
        return {
            "accuracy": self.measure(net, self.split),
            "parameters": parameters_of(net),
            "steps": steps,
            "learned": {name: [before[name], after[name]] for name in after},
        }

    def more(self, runs: list[Record]) -> Record:
        """Return for a summary how many runs learned the task."""
        values = [self.chance if run["accuracy"] is None else run["accuracy"] for run in runs]
        return {
            "hidden": runs[0]["spec"]["network"]["hidden"],
            "reached": dataclasses.asdict(share(values, HELD)),
        }


class Drawn:
    """An epoch of one batch of new sequences."""

    def __init__(self, task: Task, generator: torch.Generator, size: int) -> None:
        self.task, self.generator, self.size, self.steps = task, generator, size, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.steps += 1
        yield self.task.draw(self.generator, self.size)


def _quantiles(values: Tensor) -> list[float]:
    """Return the least, the quartiles and the largest."""
    quantiles = values.clamp(max=1e6).quantile(torch.linspace(0, 1, 5))
    return [float(f"{value:.3g}") for value in quantiles.tolist()]


@lru_cache(maxsize=4)
def _fixed(task: Task) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(SEEDS[task.split])
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
