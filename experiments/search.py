"""The search for recipes: what was tried for each network, and what was chosen.

Every entry changes the network and the training of ``grid.STABLE``. All of it is measured on 6,000 images set aside
from the training set; the test set chooses nothing.
"""

from __future__ import annotations

from typing import Any

#: Changes of the network, changes of the training.
Recipe = tuple[dict[str, Any], dict[str, Any]]

_MEMBRANE: dict[str, Any] = {"readout": "membrane", "scale": 10.0}
_NORM: dict[str, Any] = _MEMBRANE | {"batch_norm": True}
_THROUGH: dict[str, Any] = _NORM | {"detach_reset": False, "alpha": 1.0}
_SGD: dict[str, Any] = {"opt": "sgd", "lr": 0.1, "clip": None}


def _common() -> dict[str, Recipe]:
    """Return what was tried for all three networks, one change after the other."""
    return {
        "as in the text": ({}, _SGD | {"loss": "mse"}),
        "Adam": ({}, {"loss": "mse", "clip": None}),
        "Adam, cross-entropy on rates": ({"scale": 10.0}, {"clip": None}),
        "membrane read-out": (_MEMBRANE, {"clip": None}),
        "membrane read-out, SGD": (_MEMBRANE, _SGD),
        "membrane read-out, gradient norm at most 1": (_MEMBRANE, {}),
        "+ batch normalisation": (_NORM, {}),
        "+ larger initial weights": (_NORM | {"gain": 3.0}, {}),
        "+ soft reset": (_NORM | {"soft_reset": True}, {}),
        "+ gradient through the reset": (_NORM | {"detach_reset": False}, {}),
        "+ wider surrogate": (_THROUGH, {}),
        "+ narrower surrogate": (_THROUGH | {"alpha": 4.0}, {}),
        "+ sigmoid surrogate": (_THROUGH | {"surrogate_function": "sigmoid", "alpha": 2.0}, {}),
        "+ triangle surrogate": (_THROUGH | {"surrogate_function": "triangle"}, {}),
        "+ LIF, tau 8": (_THROUGH | {"neuron": "lif", "tau_m": 8.0}, {}),
        "+ LIF, tau 3": (_THROUGH | {"neuron": "lif", "tau_m": 3.0}, {}),
        "+ scale 3": (_THROUGH | {"scale": 3.0}, {}),
        "+ scale 1": (_THROUGH | {"scale": 1.0}, {}),
        "+ scale 0.3": (_THROUGH | {"scale": 0.3}, {}),
        "+ scale 30": (_THROUGH | {"scale": 30.0}, {}),
        "+ learning rate 0.02": (_THROUGH, {"lr": 0.02}),
        "+ learning rate 0.005": (_THROUGH, {"lr": 0.005}),
        "+ batch 64": (_THROUGH, {"batch_size": 64, "lr": 0.005}),
    }


SEARCH: dict[str, dict[str, Recipe]] = {
    "plain": _common(),
    "stateful-synapse": _common()
    | {
        "+ scale 0.3, LIF, tau 3": (_THROUGH | {"scale": 0.3, "neuron": "lif", "tau_m": 3.0}, {}),
        "+ scale 0.3, synapse's tau 10": (_THROUGH | {"scale": 0.3, "tau": 10.0}, {}),
        "+ scale 0.3, narrower surrogate": (_THROUGH | {"scale": 0.3, "alpha": 2.0}, {}),
        "+ scale 0.3, learning rate 0.02": (_THROUGH | {"scale": 0.3}, {"lr": 0.02}),
    },
    "feedback": _common()
    | {
        "+ small recurrent weights": (_THROUGH | {"recurrent_gain": 0.3}, {}),
        "+ LIF, tau 8, learning rate 0.02": (_THROUGH | {"neuron": "lif", "tau_m": 8.0}, {"lr": 0.02}),
    },
}

_FINAL: dict[str, Any] = {"epochs": 60}

#: The best few and what they suggest together, trained for longer: small steps gain with time.
FULL: dict[str, dict[str, Recipe]] = {
    "plain": {
        "wider surrogate": (_THROUGH, _FINAL),
        "wider surrogate, batch 64": (_THROUGH, _FINAL | {"batch_size": 64, "lr": 0.005}),
        "LIF, tau 3": (_THROUGH | {"neuron": "lif", "tau_m": 3.0}, _FINAL),
        "surrogate as in the text": (_NORM | {"detach_reset": False}, _FINAL),
    },
    "stateful-synapse": {
        "scale 0.3": (_THROUGH | {"scale": 0.3}, _FINAL),
        "scale 0.3, surrogate as in the text": (_THROUGH | {"scale": 0.3, "alpha": 2.0}, _FINAL),
        "scale 0.3, learning rate 0.02": (_THROUGH | {"scale": 0.3}, _FINAL | {"lr": 0.02}),
        "scale 10, LIF, tau 3": (_THROUGH | {"neuron": "lif", "tau_m": 3.0}, _FINAL),
    },
    "feedback": {
        "wider surrogate": (_THROUGH, _FINAL),
        "LIF, tau 8": (_THROUGH | {"neuron": "lif", "tau_m": 8.0}, _FINAL),
        "sigmoid surrogate": (_THROUGH | {"surrogate_function": "sigmoid", "alpha": 2.0}, _FINAL),
        "LIF, tau 8, sigmoid surrogate": (
            _THROUGH | {"neuron": "lif", "tau_m": 8.0, "surrogate_function": "sigmoid", "alpha": 2.0},
            _FINAL,
        ),
    },
}

_SIGMOID: dict[str, Any] = _THROUGH | {"surrogate_function": "sigmoid", "alpha": 2.0}
_LONG: dict[str, Any] = {"epochs": 150}

#: A second search for the feedback network, around the finalist that was chosen first: larger, smaller, more steps.
REFINED: dict[str, dict[str, Recipe]] = {
    "feedback": {
        "sigmoid surrogate": (_SIGMOID, _LONG),
        "+ learning rate 0.02": (_SIGMOID, _LONG | {"lr": 0.02}),
        "+ learning rate 0.03": (_SIGMOID, _LONG | {"lr": 0.03}),
        "+ learning rate 0.005": (_SIGMOID, _LONG | {"lr": 0.005}),
        "+ batch 128": (_SIGMOID, _LONG | {"batch_size": 128}),
        "+ batch 512": (_SIGMOID, _LONG | {"batch_size": 512}),
        "+ 300 epochs": (_SIGMOID, {"epochs": 300}),
        "+ batch 512, 300 epochs": (_SIGMOID, {"batch_size": 512, "epochs": 300}),
        "+ batch 1024, 300 epochs": (_SIGMOID, {"batch_size": 1024, "epochs": 300}),
        "+ larger initial weights": (_SIGMOID | {"gain": 3.0}, _LONG),
    },
}


def _winner(kind: str, name: str, epochs: int) -> Recipe:
    """Return a finalist trained for longer: all three still gained at the end of theirs."""
    network, training = FULL[kind][name]
    return network, training | {"epochs": epochs}


#: The finalist with the highest mean for each network.
BEST: dict[str, Recipe] = {
    "plain": _winner("plain", "surrogate as in the text", 100),
    "stateful-synapse": _winner("stateful-synapse", "scale 0.3", 100),
    "feedback": _winner("feedback", "sigmoid surrogate", 150),
}

#: The recipe of the second search with the highest mean.
SECOND: Recipe = REFINED["feedback"]["+ batch 512, 300 epochs"]
