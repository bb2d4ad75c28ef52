"""One run on a task that needs memory: what decides it, how it is trained, and what is kept of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from experiments.command import check_options, choice, flag, number, option, whole
from experiments.long.networks import MemoryNet, MemorySpec, learned, parameters_of
from experiments.long.tasks import TASKS, Batch, Task
from experiments.memory import keep_freed_memory
from experiments.runs import Spec
from sequential_fmnist.train import set_seed

__all__ = ["LongRun", "LongTraining", "TaskSpec", "build", "count_spikes", "measure", "take_step", "train"]

#: Steps of training between two looks at the validation set.
BETWEEN = 100


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """What a network is shown.

    Args:
        name: one of :data:`~experiments.long.tasks.TASKS`.
        at: delay of recall and copying, steps of the adding problem.
        noise: on the inputs of recall.
        permuted: of the pixels.
        split: ``"validation"`` leaves the test set alone, see :mod:`experiments.long.tasks`.
        source: of the pixels.
    """

    name: str = option("recall", choice(*TASKS))
    at: int | None = option(None, whole(0))
    noise: float = option(0.0, number(0))
    permuted: bool = option(False, flag)
    split: str = option("test", choice("validation", "test"))
    source: str = option("full", choice("full", "embedded"))

    def __post_init__(self) -> None:
        check_options(self)

    def task(self) -> Task:
        if self.name == "pixels":
            return TASKS[self.name](self.permuted, self.source)  # type: ignore[call-arg]
        point = [] if self.at is None else [self.at]
        return TASKS[self.name](*point, **({"noise": self.noise} if self.name == "recall" else {}))


@dataclasses.dataclass(frozen=True)
class LongTraining:
    """Adam, with a learning rate that falls to 0 as a cosine, and a gradient of limited norm.

    Args:
        steps: of training; a task of new sequences ends before if it is solved on the validation set.
        batch_size: sequences of a step.
        lr: initial learning rate.
        clip: largest norm of the gradient.
        seed: of weights and sequences.
    """

    steps: int = option(1_500, whole(1))
    batch_size: int = option(64, whole(1))
    lr: float = option(0.01, number(0, exclusive=True))
    clip: float = option(1.0, number(0, exclusive=True))
    seed: int = option(0, whole(0))

    def __post_init__(self) -> None:
        check_options(self)


@dataclasses.dataclass(frozen=True)
class LongRun(Spec):
    """Everything that decides a run."""

    network: MemorySpec = dataclasses.field(default_factory=MemorySpec)
    training: LongTraining = dataclasses.field(default_factory=LongTraining)
    task: TaskSpec = dataclasses.field(default_factory=TaskSpec)

    @property
    def chance(self) -> float:
        """Score of a run that failed."""
        return self.task.task().chance

    def changed(self) -> dict[str, Any]:
        found = super().changed()
        return found | {"task": {"name": self.task.name} | found.get("task", {})}

    def execute(self) -> dict[str, Any]:
        """Train and return the score on the test set, or what it failed with, parameters, spikes and scores so far."""
        try:
            net, curve = train(self)
        except FloatingPointError as error:
            return {"accuracy": None, "error": str(error)}
        task, split = self.task.task(), self.task.split
        score = measure(net, task, split)
        if not math.isfinite(score):
            return {"accuracy": None, "error": f"the score is {score}"}
        return {
            "parameters": parameters_of(net),
            "accuracy": score,
            "curve": [(step, round(value, 4)) for step, value in curve],
            "spikes": count_spikes(net, task, split),
            "learned": {name: _quantiles(values) for name, values in learned(net).items()},
        }


#: Time constants beyond this are as good as none.
_ENDLESS = 1e6


def _quantiles(values: Tensor) -> list[float]:
    """Return the numbers that 0, 5, ..., 100 % of the values do not exceed."""
    found = values.clamp(max=_ENDLESS).quantile(torch.linspace(0, 1, 21))
    return [round(value, 2) for value in found.tolist()]


def build(spec: LongRun) -> MemoryNet:
    """Return the network of a run, with the weights that its seed draws."""
    task = spec.task.task()
    set_seed(spec.training.seed)
    return MemoryNet(spec.network, task.inputs, task.outputs, task.window, task.each)


@torch.no_grad()
def measure(net: MemoryNet, task: Task, split: str) -> float:
    """Return the mean score on a fixed set."""
    scores = [
        task.score(net(batch.x_seq, batch.lengths), batch.target).flatten() for batch in task.fixed(split)
    ]
    return torch.cat(scores).mean().item()


@torch.no_grad()
def count_spikes(net: MemoryNet, task: Task, split: str) -> float | None:
    """Return the mean number of hidden spikes of a sequence of a fixed set; None for a network that does not spike."""
    if not net.is_spiking:
        return None
    spikes = [net.spikes(batch.x_seq, batch.lengths).sum((0, 2)) for batch in task.fixed(split, size=100)]
    return torch.cat(spikes).mean().item()


def take_step(
    net: MemoryNet, task: Task, batch: Batch, optimizer: torch.optim.Optimizer, clip: float
) -> Tensor:
    """Take one step of training and return its loss."""
    optimizer.zero_grad()
    loss = task.loss(net(batch.x_seq, batch.lengths), batch.target)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimizer.step()
    return loss.detach()


def train(spec: LongRun) -> tuple[MemoryNet, list[tuple[int, float]]]:
    """Train the network of a run; return it with its scores on the validation set after some of the steps.

    A run on the test set of a data set has no validation set: its scores are the training loss.

    Raises:
        FloatingPointError: a loss or a weight is not finite.
    """
    training, task = spec.training, spec.task.task()
    keep_freed_memory()
    net = build(spec)
    optimizer = torch.optim.Adam(net.parameters(), lr=training.lr, foreach=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    curve, losses = [], []
    batches = task.training(training.seed, training.batch_size, spec.task.split)
    for step in range(1, training.steps + 1):
        losses.append(take_step(net, task, next(batches), optimizer, training.clip))
        scheduler.step()
        if step % BETWEEN and step < training.steps:
            continue
        loss = torch.stack(losses).mean().item()
        losses.clear()
        if not math.isfinite(loss):
            raise FloatingPointError(f"step {step}: the training loss is {loss}: try a smaller lr")
        # Spikes hide it: a membrane potential that is not a number never reaches the threshold.
        if not all(bool(parameter.isfinite().all()) for parameter in net.parameters()):
            raise FloatingPointError(f"step {step}: weights are not finite: try a smaller lr")
        if task.is_generated:
            curve.append((step, measure(net, task, "validation")))
            if task.is_solved(curve[-1][1]):
                break
        else:
            curve.append((step, loss))
    return net, curve
