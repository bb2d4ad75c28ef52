"""The study of chapters 05 and 06: the published runs repeated, their skipped updates, and collapses replayed.

``REPEATED.md`` says what was to be concluded from what, before the runs.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from sequential_fmnist.data import prepared
from sequential_fmnist.evaluate import COLLAPSE, evaluate, falls
from sequential_fmnist.experiments.frame import Case, Place, Record, Records, Spec, Study
from sequential_fmnist.experiments.images import ImageTask
from sequential_fmnist.experiments.statistics import resampled
from sequential_fmnist.options import option
from sequential_fmnist.train import Trainer, TrainingConfig, fit
from sequential_fmnist.variants import NetworkSpec
from snn_core.functional import SkipOverflow
from snn_core.surrogate import ATan

__all__ = ["FIRST", "RECIPES", "REPEATED", "REPLAYED", "replay", "resumed", "state_of"]

#: The first seed, which no earlier run had.
FIRST = 100
#: A recipe: epochs, training, whether pixels are standardised, and where feedback and the others are cut.
RECIPES: dict[str, tuple[dict[str, Any], bool, str, str]] = {
    "64 epochs, as published": ({"epochs": 64}, False, "hidden", "none"),
    "90 epochs, as published": ({"epochs": 90, "batch_size": 128}, True, "all", "all"),
    "64 epochs, cut everywhere": ({"epochs": 64}, False, "all", "all"),
}
#: How an update is computed, and whether it is taken.
ARITHMETIC: dict[str, dict[str, Any]] = {
    "float32": {},
    "rule": {"skip_overflow": True},
    "float16 and scaler": {"amp": True},
}
#: Scale of the loss, as a number that neither grows nor skips: no gradient here comes near float16's largest number.
FIXED_SCALE = 1024.0
#: Updates that "random skips" leaves out.
SKIPS = 5


class Dampened(ATan):
    """ATan's derivative times 0.3, as Bellec et al. 2018 dampen theirs (https://arxiv.org/abs/1803.09574)."""

    def derivative(self, x: Tensor) -> Tensor:
        return 0.3 * super().derivative(x)


@dataclasses.dataclass(frozen=True)
class DampenedSpec(NetworkSpec):
    """A network whose neurons have :class:`Dampened`."""

    def build(self, task: Any = None) -> nn.Module:
        net = super().build(task)
        for part in net.modules():
            if hasattr(part, "surrogate_function"):
                part.surrogate_function = Dampened(self.alpha)
        return net


def random_skips_of(training: TrainingConfig) -> Callable[[int, Tensor], Tensor]:
    """Return what leaves out :data:`SKIPS` updates of a run: weights and momentum stay, the batch is lost."""

    def select(epoch: int, order: Tensor) -> Tensor:
        batches = order.view(-1, training.batch_size)
        generator = torch.Generator().manual_seed(training.seed)
        skipped = torch.randperm(len(batches) * training.epochs, generator=generator)[:SKIPS]
        return batches[[k for k in range(len(batches)) if k + epoch * len(batches) not in skipped]].flatten()

    return select


class SkipsTheNext(SkipOverflow):
    """Skips the update after each that the rule picks: at the same moments, but with an ordinary gradient."""

    is_next = False

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        if self._overflows is None:
            self.unscale_(optimizer)
        if not self.is_next:
            optimizer.step()
        self.is_next = bool(self._overflows)


@dataclasses.dataclass(frozen=True)
class RepeatedTask(ImageTask):
    """The images, and what stands in the place of the scaler that the training asks for."""

    scaler: str = option("own", "what skips updates", ("own", "random skips", "fixed scale", "next update"))

    def train(self, net: nn.Module, training: TrainingConfig) -> tuple[nn.Module, list[dict[str, float]]]:
        scaler = {
            "fixed scale": torch.amp.GradScaler("cpu", FIXED_SCALE, growth_interval=10**9),
            "next update": SkipsTheNext(),
        }.get(self.scaler)
        select = random_skips_of(training) if self.scaler == "random skips" else None
        return net, fit(net, *self.splits(), training, scaler=scaler, select=select, progress=False)

    def run(self, net: nn.Module, training: TrainingConfig) -> Record:
        """Train and return what an image task keeps, and the accuracy on the training images, weights at rest."""
        kept = super().run(net, training)
        return kept | {"accuracy_on_training": evaluate(net, self.splits()[0], 1000)[1]}

    def more(self, runs: list[Record]) -> Record:
        """Return for a summary also skipped updates, largest falls, and the numbers of collapses."""
        is_random = self.scaler == "random skips"
        largest = [max(falls(run["curve"]), default=0.0) for run in runs]
        collapses = [sum(fall > COLLAPSE for fall in falls(run["curve"])) for run in runs]
        return super().more(runs) | {
            "on_training": [run["accuracy_on_training"] for run in runs],
            "skipped": [SKIPS if is_random else sum(run.get("skipped", ())) for run in runs],
            "largest_fall": [round(fall, 4) for fall in largest],
            "collapses": collapses,
            "curves": [run["curve"] for run in runs],
        }


#: What a run is at the end of an epoch: network, the optimizer's ``state_dict``, and the number of epochs.
State = tuple[nn.Module, dict[str, Any], int]


def state_of(trainer: Trainer) -> State:
    """Return a copy of what a trainer has."""
    return copy.deepcopy((trainer.net, trainer.optimizer.state_dict(), trainer.epoch))


def resumed(config: TrainingConfig, state: State, size: float = 0.0, number: int = 0) -> Trainer:
    """Return a trainer at a state, which stays as it is.

    Args:
        config: of the run, changed or not.
        state: network, optimizer, and epoch, which decides order of images and learning rate.
        size: standard deviation of the normal noise that is added to each weight.
        number: seed of the noise.
    """
    net, optimizer, epoch = copy.deepcopy(state)
    trainer, generator = Trainer(net, config, start_epoch=epoch), torch.Generator().manual_seed(number)
    trainer.optimizer.load_state_dict(optimizer)
    trainer.scheduler = trainer.schedule()
    with torch.no_grad():
        for weight in trainer.weights:
            weight += size * torch.randn(weight.shape, generator=generator)
    return trainer


def one_epoch(trainer: Trainer, train: Any, test: Any) -> float:
    """Train one more epoch and return the test accuracy after it."""
    trainer.train_epoch(train, tqdm(disable=True))
    return evaluate(trainer.net, test, trainer.config.batch_size)[1]


def replay(config: TrainingConfig, state: State, train: Any, test: Any, *noise: float) -> float:
    """Return the test accuracy after one more epoch from a state, see :func:`resumed`."""
    trainer = resumed(config, state, *noise)
    for _ in range(trainer.epoch):
        torch.randperm(len(train), generator=trainer.generator)
    return one_epoch(trainer, train, test)


#: How an epoch is replayed: as is, with the scaler's rule from its first scale, with the gradient's norm at most 1.
REPLAYS: dict[str, dict[str, Any]] = {"as is": {}, "rule": {"skip_overflow": True}, "clipped": {"clip": 1.0}}


@dataclasses.dataclass(frozen=True)
class ReplayTask(RepeatedTask):
    """Epochs that lose more than :data:`~sequential_fmnist.evaluate.COLLAPSE` are repeated from perturbed weights."""

    collapses: int = option(2, "how many of a run, the first ones", 1)
    times: int = option(50, "replays as is", 1)
    fewer: int = option(50, "replays of each other kind", 1)
    size: float = option(1e-6, "standard deviation of the noise on each weight", 0)

    def run(self, net: nn.Module, training: TrainingConfig) -> Record:
        """Train, replay, and return the accuracies around each collapse and after each replay."""
        trainer, (train, test), replayed = Trainer(net, training), map(prepared, self.splits()), []
        accuracy = 0.0
        while trainer.epoch < training.epochs and len(replayed) < self.collapses:
            state, before = state_of(trainer), accuracy
            accuracy = one_epoch(trainer, train, test)
            if falls([before, accuracy])[0] > COLLAPSE:
                collapse = {"epoch": state[2], "before": before, "after": accuracy}
                collapse["exact"] = replay(training, state, train, test)
                for name, options in REPLAYS.items():
                    config = dataclasses.replace(training, **options)
                    numbers = range(self.fewer if options else self.times)
                    collapse[name] = [replay(config, state, train, test, self.size, k) for k in numbers]
                replayed.append(collapse)
        return {"accuracy": accuracy, "replayed": replayed}

    def more(self, runs: list[Record]) -> Record:
        """Return for a summary, for each kind of replay, how many there were and how many fell as far again.

        Replays of one state are not independent, so the interval of their share draws states, not replays.
        """
        replayed = [collapse for run in runs for collapse in run["replayed"]]
        counts = {}
        for name in REPLAYS:
            each = [sum(falls((one["before"], v))[0] > COLLAPSE for v in one[name]) for one in replayed]
            counts[name] = {
                "collapses": len(replayed),
                "replays": sum(len(one[name]) for one in replayed),
                "fell": sum(each),
                "fell_of_each": each,
                "share": dataclasses.asdict(
                    resampled([fell / len(one[name]) for fell, one in zip(each, replayed, strict=True)])
                ),
            }
        exact = sum(one["exact"] == one["after"] for one in replayed)
        return {"exact": exact, "replays": counts}


def _case(name: str, kind: str, recipe: str, seeds: int, scaler: str = "own", **options: Any) -> Case:
    """Return a case of a recipe with changes of its training, ``detach_reset``, or ``dampened``."""
    training, standardise, cut, others = RECIPES[recipe]
    network = DampenedSpec if options.pop("dampened", False) else NetworkSpec
    cut = options.pop("detach_reset", cut if kind == "feedback" else others)
    is_fused = not options.get("amp", False)  # float16 needs the loop
    config = TrainingConfig(**{"drop_last": True, "fused": is_fused} | training | options)
    task = RepeatedTask(standardise=standardise, scaler=scaler)
    return Case(name, kind, Spec(network(kind, detach_reset=cut), task, config), seeds, first=FIRST)


def _repeated(kind: str, recipe: str, seeds: int, *kinds: str) -> Iterable[Case]:
    for name in kinds:
        yield _case(f"{recipe}, {name}", kind, recipe, seeds, **ARITHMETIC[name])


A, B, LISTING = RECIPES


def feedback_64(_: Records) -> Iterable[Case]:
    """Do the updates that a GradScaler skips make the published figure of feedback?"""
    yield from _repeated("feedback", A, 10, "float32", "rule")


def others_64(_: Records) -> Iterable[Case]:
    """Do they change the networks without feedback?"""
    for kind in ("plain", "stateful-synapse"):
        yield from _repeated(kind, A, 10, "float32", "rule")


def feedback_90(_: Records) -> Iterable[Case]:
    """The same for the recipe of the tutorial's curves."""
    yield from _repeated("feedback", B, 10, "float32", "rule")


def others_90(_: Records) -> Iterable[Case]:
    """The networks without feedback by the recipe of the tutorial's curves."""
    for kind in ("plain", "stateful-synapse"):
        yield from _repeated(kind, B, 5, "float32", "rule")


def listing(_: Records) -> Iterable[Case]:
    """The tutorial's listing, cut everywhere, trained for 64 epochs."""
    for kind, seeds in (("feedback", 10), ("plain", 5), ("stateful-synapse", 5)):
        yield from _repeated(kind, LISTING, seeds, "float32", "rule")


def random_skips(_: Records) -> Iterable[Case]:
    """Is it these updates, or any five?"""
    yield _case(f"{A}, random skips", "feedback", A, 10, scaler="random skips")


def cures(_: Records) -> Iterable[Case]:
    """What else cures feedback?"""
    yield _case(f"{A}, gradient norm at most 1", "feedback", A, 10, clip=1.0)
    yield _case(f"{A}, reset attached", "feedback", A, 10, detach_reset="none")
    yield _case(f"{A}, learning rate 0.02", "feedback", A, 10, lr=0.02)
    yield _case(f"{A}, dampened derivative", "feedback", A, 10, dampened=True)


def replays(_: Records) -> Iterable[Case]:
    """How often does a collapse come again if the weights before it change by a millionth?"""
    config = TrainingConfig(epochs=64, drop_last=True, fused=True)
    spec = Spec(NetworkSpec("feedback", detach_reset="hidden"), ReplayTask(), config)
    yield Case("collapses replayed", "feedback", spec, 10, first=FIRST)


def float16(_: Records) -> Iterable[Case]:
    """Torch's float16 with its scaler: the published recipe of 64 epochs."""
    yield from _repeated("feedback", A, 10, "float16 and scaler")


def float16_others(_: Records) -> Iterable[Case]:
    """Torch's float16 with its scaler: the networks without feedback."""
    for kind in ("plain", "stateful-synapse"):
        yield from _repeated(kind, A, 3, "float16 and scaler")


def float16_90(_: Records) -> Iterable[Case]:
    """Torch's float16 with its scaler: the recipe of the tutorial's curves."""
    yield from _repeated("feedback", B, 4, "float16 and scaler")


def float16_fixed(_: Records) -> Iterable[Case]:
    """Float16 with a scale that never changes, so that no update is skipped."""
    yield _case(f"{A}, float16 at a fixed scale", "feedback", A, 3, "fixed scale", amp=True)


def next_update(_: Records) -> Iterable[Case]:
    """Is it the gradient of the skipped update, or the moment?"""
    options = {"skip_overflow": True, "fused": False}  # the rule of a loop of our own
    yield _case(f"{A}, the update after is skipped", "feedback", A, 10, "next update", **options)


#: Every group in the order in which they run: what matters most comes first, what is slow comes last.
GROUPS = (
    feedback_64,
    random_skips,
    feedback_90,
    others_64,
    cures,
    listing,
    others_90,
    float16,
    float16_others,
    float16_90,
    next_update,
    float16_fixed,
)


def _questions() -> dict[str, tuple[Place, Place]]:
    """Return the contrasts that REPEATED.md names."""
    groups = {A: "feedback_64", B: "feedback_90", LISTING: "listing"}
    asked: dict[str, tuple[Place, Place]] = {
        f"rule over float32, feedback, {recipe}": (
            (group, f"{recipe}, float32", "feedback"),
            (group, f"{recipe}, rule", "feedback"),
        )
        for recipe, group in groups.items()
    }
    float32, rule = (("feedback_64", f"{A}, {name}", "feedback") for name in ("float32", "rule"))
    random = "random_skips", f"{A}, random skips", "feedback"
    return asked | {
        "random skips over float32, feedback": (float32, random),
        "rule over random skips, feedback": (random, rule),
    }


REPEATED = Study("repeated", {group.__name__: group for group in GROUPS}, _questions())
REPLAYED = Study("replayed", {"replays": replays})
