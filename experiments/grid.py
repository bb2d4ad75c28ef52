"""What is run: the groups of the ablation, each a question, with the seeds that answer it.

``TUTORIAL`` is the recipe of the text: SGD, learning rate 0.1, mean squared error on firing rates. The feedback network
is not stable with it, so controls are made with ``STABLE``, where one run of feedback collapses: Adam, cross-entropy on
read-out neurons that integrate, gradient norm at most 1. It was chosen on images set aside from the training set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from experiments.networks import NetworkSpec
from experiments.runs import Case, DataSpec, RunSpec
from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.train import TrainingConfig

TUTORIAL = TrainingConfig()
STABLE = TrainingConfig(opt="adam", lr=0.01, loss="cross-entropy", clip=1.0, epochs=20)
#: Factor on the outputs of read-out neurons that integrate: a filter's current is larger than a rate of spikes.
SCALE: dict[str, float] = {"plain": 10.0, "stateful-synapse": 1.0, "feedback": 10.0}

#: Plain network with about as many parameters as the feedback network with 32 hidden neurons: 3,364 and 3,338.
MATCHED = 86
#: Where the gradient through the reset is cut; ``PUBLISHED_CUT`` in evidence.py says which the published runs have.
CUTS: dict[str, dict[str, Any]] = {
    "cut nowhere": {"detach_reset": False},
    "cut in the hidden layer": {"detach_readout": False},
    "cut everywhere": {},
}
DELAYS = (0, 7, 14, 28, 42, 56)
HIDDEN = (16, 32, 64, 128, 256)


#: What the search on validation images chose: changes of the network and of the training that ``STABLE`` is.
_NORM: dict[str, Any] = {"readout": "membrane", "scale": 10.0, "batch_norm": True, "detach_reset": False}
_SIGMOID: dict[str, Any] = _NORM | {"surrogate_function": "sigmoid", "alpha": 2.0}
BEST: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (_NORM, {"epochs": 100}),
    "stateful-synapse": (_NORM | {"alpha": 1.0, "scale": 0.3}, {"epochs": 100}),
    "feedback": (_SIGMOID, {"epochs": 150}),
}
#: What a second search chose, for the feedback network alone, after the test accuracy of the first was known.
SECOND: tuple[dict[str, Any], dict[str, Any]] = (_SIGMOID, {"batch_size": 512, "epochs": 300})


def _case(
    name: str,
    kind: str,
    training: TrainingConfig,
    seeds: int,
    network: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    at: int | None = None,
) -> Case:
    spec = RunSpec(NetworkSpec(kind=kind, **(network or {})), training, DataSpec(**(data or {})))
    return Case(name, kind, spec, seeds, at)


def _stable(
    name: str, kind: str, seeds: int = 5, network: Mapping[str, Any] | None = None, **options: Any
) -> Case:
    integrate = {"readout": "membrane", "scale": SCALE[kind]}
    return _case(name, kind, STABLE, seeds, integrate | dict(network or {}), **options)


def reproduction() -> Iterable[Case]:
    """The text's networks and settings."""
    for epochs in (64, 90):
        for kind in NETWORKS:
            yield _case(f"{epochs} epochs", kind, dataclasses.replace(TUTORIAL, epochs=epochs), 10, at=epochs)


def size() -> Iterable[Case]:
    """Is it the loop, or the number of parameters?"""
    for kind in NETWORKS:
        yield _stable("stable", kind, 10)
        yield _case("tutorial", kind, TUTORIAL, 10)
    yield _stable(f"stable, {MATCHED} hidden", "plain", 10, {"hidden": MATCHED})
    yield _case(f"tutorial, {MATCHED} hidden", "plain", TUTORIAL, 10, {"hidden": MATCHED})


def detach() -> Iterable[Case]:
    """Does it matter whether the gradient goes through the reset, with a recipe that is stable?"""
    for kind in NETWORKS:
        for value in (True, False):
            network = {"detach_reset": value}
            yield _stable(f"stable, detach_reset={value}", kind, 10, network)


def reset() -> Iterable[Case]:
    """Where the gradient through the reset is cut: which of it gives the published figures?"""
    for name, network in CUTS.items():
        for kind in NETWORKS:
            yield _case(f"64 epochs, {name}", kind, TUTORIAL, 10, network)
    clipped = dataclasses.replace(TUTORIAL, clip=1.0)
    for kind in NETWORKS:
        yield _case("64 epochs, cut everywhere, gradient norm at most 1", kind, clipped, 10)
    training = dataclasses.replace(TUTORIAL, epochs=90, batch_size=128)
    for name, network in CUTS.items():
        for kind in ("feedback",) if name == "cut in the hidden layer" else NETWORKS:
            yield _case(f"90 epochs, {name}", kind, training, 10, network | {"standardised": True})


def gated() -> Iterable[Case]:
    """The non-spiking reference of matched size."""
    for kind, hidden in (("gru", 20), ("lstm", 17)):
        yield _case("stable", kind, STABLE, 10, {"hidden": hidden})


def last_steps() -> Iterable[Case]:
    """A read-out that sees only the last steps has to rely on what the network carried there."""
    for kind in NETWORKS:
        for last in (1, 3, 7, 14, 28):
            seeds = 10 if last == 1 else 5  # the end of the curve is compared, five pairs decide nothing
            yield _stable(f"last {last}", kind, seeds, {"last": None if last == 28 else last}, at=last)


def delay() -> Iterable[Case]:
    """Blank columns after the image, and a read-out from the last 7 steps: who remembers?"""
    for delay in DELAYS:
        seeds = 10 if delay == DELAYS[-1] else 5
        for kind in NETWORKS:
            yield _stable(f"delay {delay}", kind, seeds, {"last": 7}, data={"delay": delay}, at=delay)


def controls() -> Iterable[Case]:
    """Is what a synapse adds at the end a matter of size, or of any slow variable before the answer?"""
    for name, network in {
        f"{MATCHED} hidden": {"hidden": MATCHED},
        "leaky read-out": {"readout": "leaky"},
    }.items():
        yield _stable(f"last 1, {name}", "plain", 10, {"last": 1} | network)
        at = DELAYS[-1]
        yield _stable(f"delay {at}, {name}", "plain", 10, {"last": 7} | network, data={"delay": at})


def taus() -> Iterable[Case]:
    """Which time constant does the synapse learn, without a delay and with one? Seeds of their own."""
    for at in (DELAYS[0], 28, DELAYS[-1]):
        case = _stable(f"delay {at}", "stateful-synapse", 5, {"last": 7}, data={"delay": at}, at=at)
        yield dataclasses.replace(case, first=100)


def order() -> Iterable[Case]:
    """Columns, rows, and columns in one fixed random order."""
    for name, data in {
        "columns": {},
        "rows": {"order": "row"},
        "permuted columns": {"permuted": True},
    }.items():
        for kind in NETWORKS:
            yield _stable(name, kind, data=data)


def learned() -> Iterable[Case]:
    """Do the recurrent weights and the time constants have to be learned?"""
    yield _stable("learned weights", "feedback", 10)
    yield _stable("frozen weights", "feedback", 10, {"frozen_recurrent": True})
    for mode in ("learned", "frozen", "per-channel"):
        yield _stable(f"tau {mode}", "stateful-synapse", 10, {"tau_mode": mode})


def hidden() -> Iterable[Case]:
    """From 16 to 256 hidden neurons."""
    for kind in NETWORKS:
        for number in HIDDEN:
            yield _stable(f"{number} hidden", kind, 3, {"hidden": number}, at=number)


def best() -> Iterable[Case]:
    """The recipe that was chosen, on the test set, once."""
    for kind, (network, training) in BEST.items():
        yield _case("best recipe", kind, dataclasses.replace(STABLE, **training), 10, network)


def refined() -> Iterable[Case]:
    """The recipe of the second search on the test set, and a plain network of the same size with it."""
    network, training = SECOND
    config = dataclasses.replace(STABLE, **training)
    yield _case("second search", "feedback", config, 10, network)
    yield _case(f"second search, {MATCHED} hidden", "plain", config, 10, network | {"hidden": MATCHED})


#: Every group by its name, in the order in which they run.
GROUPS: dict[str, Callable[[], Iterable[Case]]] = {
    function.__name__: function
    for function in (
        best,
        reproduction,
        size,
        last_steps,
        delay,
        controls,
        taus,
        learned,
        order,
        gated,
        detach,
        reset,
        refined,
        hidden,
    )
}


def cases(*names: str) -> dict[str, list[Case]]:
    """Return the cases of the groups ``names``, of all without any."""
    return {name: list(GROUPS[name]()) for name in names or GROUPS}
