"""One run: what decides it, how it is trained, and what is kept of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from experiments.fair.networks import MemoryNet, MemorySpec, parameters_of, time_constants
from experiments.fair.tasks import TASKS, Task
from experiments.memory import keep_freed_memory
from experiments.runs import Spec
from sequential_fmnist.train import set_seed

__all__ = ["FairRun", "TaskSpec", "TrainingSpec", "build", "measure", "train"]

#: Steps of training between two looks at the validation set, and the accuracy at which training ends.
BETWEEN, SOLVED = 100, 0.995


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """What a network is shown, and whether it is measured on the validation or the test sequences."""

    name: str = "recall"
    distance: int = 50
    split: str = "test"

    def task(self) -> Task:
        return TASKS[self.name](self.distance)


@dataclasses.dataclass(frozen=True)
class TrainingSpec:
    """Adam, with a learning rate that falls to 0 as a cosine, and a gradient of limited norm.

    Args:
        steps: of training, which ends before if 99.5 % of the validation answers are right.
        batch_size: sequences of a step.
        lr: initial learning rate.
        clip: largest norm of the gradient.
        seed: of weights and sequences.
    """

    steps: int = 1_000
    batch_size: int = 32
    lr: float = 0.01
    clip: float = 1.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class FairRun(Spec):
    """Everything that decides a run."""

    network: MemorySpec = dataclasses.field(default_factory=MemorySpec)
    training: TrainingSpec = dataclasses.field(default_factory=TrainingSpec)
    task: TaskSpec = dataclasses.field(default_factory=TaskSpec)

    @property
    def chance(self) -> float:  # type: ignore[override]
        return self.task.task().chance

    def execute(self) -> dict[str, Any]:
        """Train and return the accuracy, size, steps, and where time constants went, or what the run failed with."""
        net = build(self)
        before = {name: _quantiles(value) for name, value in time_constants(net).items()}
        try:
            steps = train(net, self)
        except FloatingPointError as error:
            return {"accuracy": None, "error": str(error)}
        return {
            "accuracy": measure(net, self.task.task(), self.task.split),
            "parameters": parameters_of(net),
            "steps": steps,
            "learned": {
                name: [before[name], _quantiles(value)] for name, value in time_constants(net).items()
            },
        }


def _quantiles(values: Tensor) -> list[float]:
    """Return the least, the quartiles and the largest."""
    found = values.clamp(max=1e6).quantile(torch.linspace(0, 1, 5))
    return [float(f"{value:.3g}") for value in found.tolist()]


def build(spec: FairRun) -> MemoryNet:
    """Return the network of a run, with what its seed draws."""
    task = spec.task.task()
    set_seed(spec.training.seed)
    return MemoryNet(spec.network, task.inputs, task.outputs, task.window, task.each)


@torch.no_grad()
def measure(net: MemoryNet, task: Task, split: str) -> float:
    """Return the share of right answers on a fixed set."""
    right = [(net(x_seq).argmax(-1) == target).float().mean() for x_seq, target in task.fixed(split)]
    return round(torch.stack(right).mean().item(), 5)


def train(net: MemoryNet, spec: FairRun) -> int:
    """Train a network and return the number of steps that it took.

    Raises:
        FloatingPointError: a loss or a weight is not finite.
    """
    training, task = spec.training, spec.task.task()
    keep_freed_memory()
    optimizer = torch.optim.Adam(net.parameters(), lr=training.lr, foreach=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    generator = torch.Generator().manual_seed(training.seed)
    for step in range(1, training.steps + 1):
        x_seq, target = task.draw(generator, training.batch_size)
        optimizer.zero_grad()
        loss = task.loss(net(x_seq), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), training.clip)
        optimizer.step()
        scheduler.step()
        if step % BETWEEN:
            continue
        # Spikes hide a membrane potential that is not a number: it never reaches the threshold.
        finite = all(bool(parameter.isfinite().all()) for parameter in net.parameters())
        if not (math.isfinite(loss.item()) and finite):
            raise FloatingPointError(f"step {step}: the loss or a weight is not finite")
        if measure(net, task, "validation") >= SOLVED:
            break
    return step
