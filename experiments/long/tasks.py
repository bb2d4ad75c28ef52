"""Tasks in which memory is all there is to do, each with its chance level and its optimum.

A task draws batches for training from a generator, and has a fixed set of sequences for each of ``"validation"`` and
``"test"``, which share no seed with training or, where the sequences are a data set's, no sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.long.vowels import CHANNELS, SPEAKERS, JapaneseVowels
from sequential_fmnist.data import SequentialFashionMNIST

__all__ = ["TASKS", "Adding", "Batch", "Copying", "Pixels", "Recall", "Task", "Vowels"]

SPLITS = ("validation", "test")
#: Sequences of a task's fixed sets.
FIXED = 2_000
_SEED = 2026


class Batch(NamedTuple):
    """Sequences ``[T, N, K]``, their targets, and their lengths ``[N]`` where they differ."""

    x_seq: Tensor
    target: Tensor
    lengths: Tensor | None = None


class Task:
    """Sequences with targets, and how an answer is judged.

    Attributes:
        inputs: K, features of a time step.
        outputs: J, classes, or 1 where the target is a number.
        shortest: steps of the shortest sequence.
        window: the last steps, which the read-out sees; None takes all.
        each: whether each step of the window has a target of its own.
        chance: score of guessing without looking.
        optimum: score that is possible.
        solved: score from which a task counts as solved, and training ends.
        is_generated: whether training never sees a sequence twice, so that the validation set costs nothing.
    """

    inputs: int
    outputs: int
    shortest: int
    window: int | None = 5
    each = False
    chance: float
    optimum = 1.0
    solved = 0.995
    is_generated = True

    def draw(self, generator: torch.Generator, size: int) -> Batch:
        """Return new sequences."""
        raise NotImplementedError

    def training(self, seed: int, size: int, split: str) -> Iterator[Batch]:
        """Yield batches without end, for a run that is measured on ``split``: a data set's all, or what it leaves."""
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield self.draw(generator, size)

    def fixed(self, split: str, size: int = 500) -> Iterator[Batch]:
        """Yield the batches of a fixed set."""
        whole = _fixed(self, split)
        for parts in zip(
            whole.x_seq.split(size, 1), whole.target.split(size, whole.target.dim() - 1), strict=True
        ):
            yield Batch(*parts)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy of outputs ``[*, J]``."""
        return F.cross_entropy(outputs.flatten(0, -2), target.flatten())

    def score(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return 1 for each answer that is right, else 0."""
        return (outputs.argmax(-1) == target).float()

    def is_solved(self, score: float) -> bool:
        return score >= self.solved


@lru_cache(maxsize=4)
def _fixed(task: Task, split: str) -> Batch:
    """Return the fixed set of a task whose sequences are generated."""
    generator = torch.Generator().manual_seed(2**32 + SPLITS.index(split))
    drawn = [task.draw(generator, 500) for _ in range(0, FIXED, 500)]
    return Batch(torch.cat([one.x_seq for one in drawn], 1), torch.cat([one.target for one in drawn], -1))


@dataclasses.dataclass(frozen=True)
class Recall(Task):
    """Delayed recall: one of 8 symbols for 5 steps, nothing for ``delay`` steps, then for 5 steps a signal to answer.

    Args:
        delay: D; T = D + 10.
        noise: standard deviation of normal noise on all inputs in all steps. Without it the state of a network takes
            one of 8 values, which a linear layer can tell apart however close they lie.
    """

    delay: int = 50
    noise: float = 0.0

    inputs, outputs, chance = 9, 8, 1 / 8
    SHOWN = 5

    @property
    def shortest(self) -> int:  # type: ignore[override]
        return self.delay + 2 * self.SHOWN

    def draw(self, generator: torch.Generator, size: int) -> Batch:
        target = torch.randint(self.outputs, (size,), generator=generator)
        x_seq = torch.zeros(self.shortest, size, self.inputs)
        x_seq[: self.SHOWN, torch.arange(size), target] = 1
        x_seq[-self.SHOWN :, :, -1] = 1
        if self.noise:
            x_seq += self.noise * torch.randn(x_seq.shape, generator=generator)
        return Batch(x_seq, target)


@dataclasses.dataclass(frozen=True)
class Copying(Task):
    """The copying task: 4 symbols out of 4, 2 steps each, nothing for ``delay`` steps, then they are to be repeated.

    A signal is on while the network answers, one symbol every 2 steps, in the order in which they were shown.

    Args:
        delay: D; T = D + 16.

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; with fewer symbols.
    """

    delay: int = 10

    inputs, outputs, chance = 5, 4, 1 / 4
    window, each = 8, True
    SYMBOLS, SHOWN = 4, 2

    @property
    def shortest(self) -> int:  # type: ignore[override]
        return self.delay + 2 * self.window

    def draw(self, generator: torch.Generator, size: int) -> Batch:
        symbols = torch.randint(self.outputs, (self.SYMBOLS, size), generator=generator)
        target = symbols.repeat_interleave(self.SHOWN, 0)  # [window, N]
        x_seq = torch.zeros(self.shortest, size, self.inputs)
        x_seq[: self.window, :, : self.outputs] = F.one_hot(target, self.outputs).float()
        x_seq[-self.window :, :, -1] = 1
        return Batch(x_seq, target)


@dataclasses.dataclass(frozen=True)
class Adding(Task):
    """The adding problem: two of ``steps`` numbers from 0 to 1 are marked, one in each half; the answer is their sum.

    The score is the mean squared error, that of always answering 1 is 1/6.

    Args:
        steps: T.

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997.
    """

    steps: int = 100

    inputs, outputs, chance, optimum, solved = 2, 1, 1 / 6, 0.0, 0.002

    @property
    def shortest(self) -> int:  # type: ignore[override]
        return self.steps

    def draw(self, generator: torch.Generator, size: int) -> Batch:
        values = torch.rand(self.steps, size, generator=generator)
        half = self.steps // 2
        # The last steps, which the read-out sees, are never marked.
        first = torch.randint(half, (size,), generator=generator)
        second = torch.randint(half, self.steps - self.window, (size,), generator=generator)
        marks = torch.zeros(self.steps, size)
        for at in (first, second):
            marks[at, torch.arange(size)] = 1
        return Batch(torch.stack([values, marks], -1), (values * marks).sum(0))

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(outputs.squeeze(-1), target)

    def score(self, outputs: Tensor, target: Tensor) -> Tensor:
        return (outputs.squeeze(-1) - target).square()

    def is_solved(self, score: float) -> bool:
        return score <= self.solved


@cache
def _pixels(train: bool, permuted: bool, source: str) -> tuple[Tensor, Tensor]:
    """Return images as rows of 784 pixels, uint8 ``[n, 784]``, and their labels."""
    data = SequentialFashionMNIST(train=train, source=source, verbose=False)
    pixels = data.images.flatten(1)
    if permuted:
        pixels = pixels[:, torch.randperm(pixels.shape[1], generator=torch.Generator().manual_seed(_SEED))]
    return pixels, data.labels


@dataclasses.dataclass(frozen=True)
class Pixels(Task):
    """Fashion-MNIST pixel by pixel, row after row from the upper left: T = 784. The read-out sees the last 28 steps.

    Args:
        permuted: whether the pixels come in one fixed random order.
        source: as in :class:`~sequential_fmnist.data.SequentialFashionMNIST`.

    The 6,000 images for validation are set aside from the training set, and training never sees them.
    """

    permuted: bool = False
    source: str = "full"

    inputs, outputs, shortest, window, chance = 1, 10, 784, 28, 1 / 10
    is_generated = False
    VALIDATION = 6_000

    def _part(self, train: bool, split: str) -> tuple[Tensor, Tensor]:
        """Return the images for training, or for measuring."""
        pixels, labels = _pixels(train or split == "validation", self.permuted, self.source)
        if split == "test":
            return pixels, labels
        part = _set_aside(len(labels), self.VALIDATION, train)
        return pixels[part], labels[part]

    @staticmethod
    def _batch(pixels: Tensor, labels: Tensor) -> Batch:
        return Batch(pixels.t().float().div_(255).unsqueeze(-1), labels)

    def training(self, seed: int, size: int, split: str) -> Iterator[Batch]:
        pixels, labels = self._part(True, split)
        if size > len(labels):
            raise ValueError(f"size must be at most {len(labels)}, the number of images, got {size}")
        generator = torch.Generator().manual_seed(seed)
        while True:
            for part in torch.randperm(len(labels), generator=generator).split(size):
                if len(part) == size:
                    yield self._batch(pixels[part], labels[part])

    def fixed(self, split: str, size: int = 500) -> Iterator[Batch]:
        for pixels, labels in zip(*(each.split(size) for each in self._part(False, split)), strict=True):
            yield self._batch(pixels, labels)


def _set_aside(number: int, held: int, train: bool) -> Tensor:
    """Return which of a data set's sequences are for training, or for validation; at most a tenth is."""
    held = min(held, number // 10)
    order = torch.randperm(number, generator=torch.Generator().manual_seed(_SEED))
    return order[held:] if train else order[:held]


@dataclasses.dataclass(frozen=True)
class Vowels(Task):
    """JapaneseVowels: which of 9 speakers said it? Utterances of 7 to 29 steps; the read-out takes the mean over all.

    There are 270 utterances to train with, of which 27 can be set aside for validation, and 370 to test with.
    """

    inputs, outputs, shortest, window, chance = CHANNELS, SPEAKERS, 7, None, 1 / SPEAKERS
    is_generated = False

    @staticmethod
    def _part(train: bool, split: str) -> JapaneseVowels:
        data = JapaneseVowels(train=train or split == "validation")
        if split == "validation":
            part = _set_aside(len(data), len(data), train)
            data.x_seq, data.lengths, data.labels = data.x_seq[:, part], data.lengths[part], data.labels[part]
        return data

    def training(self, seed: int, size: int, split: str) -> Iterator[Batch]:
        data, generator = self._part(True, split), torch.Generator().manual_seed(seed)
        while True:
            for x_seq, lengths, labels in data.batches(size, generator):
                yield Batch(x_seq, labels, lengths)

    def fixed(self, split: str, size: int = 500) -> Iterator[Batch]:
        for x_seq, lengths, labels in self._part(False, split).batches(size):
            yield Batch(x_seq, labels, lengths)


#: Every task by its name.
TASKS: dict[str, type[Task]] = {
    "recall": Recall,
    "copying": Copying,
    "adding": Adding,
    "pixels": Pixels,
    "vowels": Vowels,
}
