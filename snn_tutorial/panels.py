"""Panels of ipywidgets for a running notebook: the kernel computes with the reader's settings, and shows the result.

A page without a kernel shows a sentence in their place.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from IPython.display import Markdown, display
from ipywidgets import Dropdown, IntSlider, SelectionSlider, Widget, interactive
from torch import Tensor, nn

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.experiments.fair.plan import FAIR, final
from sequential_fmnist.experiments.frame import execute
from sequential_fmnist.networks import TUTORIAL_NETWORKS, make_network
from sequential_fmnist.train import TrainingConfig, fit
from snn_tutorial.interact import WIDGET
from snn_tutorial.live.javascript import CUTS, with_cut
from snn_tutorial.page import show
from snn_tutorial.plot.gradient import gradient_spread
from snn_tutorial.plot.kernels import table
from snn_tutorial.plot.training import training_curves
from snn_tutorial.probe import gradient_by_column

__all__ = ["gradient_panel", "panel", "recall_panel", "training_panel"]


def panel(button: str, compute: Callable[..., None], **controls: Widget) -> None:
    """Show controls, and below them what ``compute`` displays when the button is pressed.

    Args:
        button: what is written on it.
        compute: called with the values of the controls, by their names.
        **controls: widgets with a description.
    """
    shown = interactive(compute, {"manual": True, "manual_name": button}, **controls)
    names = ", ".join(control.description for control in controls.values())
    text = f'"{button}" in a running notebook: the kernel computes with your {names}.'
    view = {"version_major": 2, "version_minor": 0, "model_id": shown.model_id}
    display({"text/plain": text, "text/html": f"<p><em>{text}</em></p>", WIDGET: view}, raw=True)


def training_panel(train: SequentialFashionMNIST, test: SequentialFashionMNIST) -> None:
    """Show a panel that trains a network on all images, and draws its curve beside those of the last trainings."""
    histories: dict[str, Any] = {}

    def compute(network: str, optimizer: str, lr: float, clip: float | None, epochs: int, seed: int) -> None:
        torch.manual_seed(seed)
        net = make_network(network)
        config = TrainingConfig(epochs=epochs, seed=seed, opt=optimizer, lr=lr, clip=clip, fused=True)
        history = fit(net, train, test, config)
        limit = "" if clip is None else f", norm at most {clip}"
        histories[f"{network}, {optimizer} {lr}{limit}, seed {seed}"] = history
        while len(histories) > 4:
            del histories[next(iter(histories))]
        picture = training_curves(histories, "test_accuracy", subset=train.is_subset)
        display(show(picture, alt="test accuracy of the last trainings against the epoch"))

    panel(
        "Train",
        compute,
        network=Dropdown(options=list(TUTORIAL_NETWORKS), value="feedback", description="network"),
        optimizer=Dropdown(options=["sgd", "adam"], description="optimizer"),
        lr=SelectionSlider(options=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3], value=0.1, description="rate"),
        clip=Dropdown(options=[("none", None), ("1", 1.0), ("0.1", 0.1)], description="limit"),
        epochs=IntSlider(16, 1, 64, description="epochs"),
        seed=IntSlider(0, 0, 9, description="seed"),
    )


def gradient_panel(nets: Mapping[str, nn.Module], images: Tensor, labels: Tensor) -> None:
    """Show a panel that differentiates a trained network, with another reset, surrogate or recurrent weights."""

    def compute(network: str, cut: str, alpha: float, scale: float) -> None:
        net = with_cut(copy.deepcopy(nets[network]), cut)
        for part in net.modules():
            if hasattr(part, "surrogate_function"):
                part.surrogate_function.alpha = alpha
        if network == "feedback":
            with torch.no_grad():
                net.sn1[0].rc.weight[:, net.sn1[0].in_features :] *= scale
        norms = gradient_by_column(net, images, labels)
        display(show(gradient_spread({network: norms}), alt="gradient norm at each column"))

    panel(
        "Differentiate",
        compute,
        network=Dropdown(options=list(nets), value="feedback", description="network"),
        cut=Dropdown(options=list(CUTS), description="detached"),
        alpha=SelectionSlider(options=[0.5, 1.0, 2.0, 4.0, 8.0], value=2.0, description="alpha"),
        scale=SelectionSlider(options=[0, 0.5, 1, 2, 4], value=1, description="times W_y"),
    )


def recall_panel(evidence_dir: str) -> None:
    """Show a panel that trains a network to recall a cue over a distance, from a time constant, and lists the answers.

    Args:
        evidence_dir: holds the runs, from which the recipes are taken.
    """
    rows: list[tuple[Any, ...]] = []

    def compute(kind: str, distance: int, tau: float, steps: int) -> None:
        spec = final(FAIR.store(evidence_dir).records(), "recall", kind, "informed", 200)
        network = dataclasses.replace(spec.network, start="given", tau=tau, distance=distance)
        task = dataclasses.replace(spec.task, distance=distance)
        training = dataclasses.replace(spec.training, epochs=steps)
        found = execute(dataclasses.replace(spec, network=network, task=task, training=training))
        rows.append((kind, distance, f"{tau:g}", found["steps"], f"{100 * found['accuracy']:.1f} %"))
        display(Markdown(table(("network", "D", "tau", "steps", "accuracy"), rows)))

    panel(
        "Train",
        compute,
        kind=Dropdown(options=["plain", "stateful synapse"], value="stateful synapse", description="network"),
        distance=SelectionSlider(options=[10, 25, 50, 100, 200, 400], value=50, description="D"),
        tau=SelectionSlider(options=[2.0, 5.0, 10.0, 30.0, 100.0, 300.0], value=10.0, description="tau"),
        steps=SelectionSlider(options=[100, 200, 400], value=200, description="steps"),
    )
