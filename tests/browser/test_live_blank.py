"""The view of chapter 04: spikes and answers are the library's, with a blank end and cleared states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from support_live import live

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.networks import TUTORIAL_NETWORKS, make_network
from snn_core import functional
from snn_core.neuron import SpikingNeuron
from snn_tutorial.live.network import blank_explorer

pytestmark = pytest.mark.xdist_group("browser_live")

CLEARS = {
    "clear hidden potentials": "sn1",
    "clear output potentials": "sn2",
    "clear currents and last spikes": "sy1",
}


def nets() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    made = {name: make_network(name) for name in TUTORIAL_NETWORKS}
    for net in made.values():
        net.fc2.weight.data *= 3  # so that output neurons fire
    return made


def explorer(made: dict[str, torch.nn.Module]) -> HTML:
    test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
    images, labels = test.images[:3, 0].numpy(), test.labels[:3].tolist()
    return blank_explorer(made, 0, images, labels, test.classes, Figure())


def library(net: torch.nn.Module, image: np.ndarray, start: int, cleared: tuple[str, ...]) -> torch.Tensor:
    """Return the output spikes ``[T, 10]`` when columns are blank from ``start`` on."""
    net = net.double()
    functional.reset_net(net)
    output, seen = [m for m in net.modules() if isinstance(m, SpikingNeuron)][-1], []
    hook = output.register_forward_hook(lambda _, __, s: seen.append(s.reshape(-1, 10)))
    x = torch.from_numpy(image).double() / 255
    x[:, start:] = 0
    with torch.no_grad():
        net(x[None, None, :, :start])
        for part in cleared:
            if part == "sn1":
                neuron = next(m for m in net.sn1.modules() if isinstance(m, SpikingNeuron))
                neuron.v = torch.zeros_like(neuron.v)
            elif hasattr(net, part):
                functional.reset_net(net.get_submodule(part))
            if part == "sy1" and hasattr(net.sn1[0] if hasattr(net.sn1, "__getitem__") else net.sn1, "y"):
                net.sn1[0].y = torch.zeros_like(net.sn1[0].y)
        net(x[None, None, :, start:])
    hook.remove()
    functional.reset_net(net)
    return torch.cat(seen)


def test_spikes_are_those_of_the_library(browser, tmp_path):
    made = nets()
    test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
    with live(browser, explorer(made), tmp_path) as view:
        view.set("columns read", 28)
        view.figure.get_by_text("clear states").click()
        for start, names in ((14, ()), (9, ("clear hidden potentials",)), (14, tuple(CLEARS))):
            view.set("blank from column", start)
            for name in CLEARS:
                view.set(name, name in names)
            numbers = view.numbers()
            for name, net in made.items():
                expected = library(net, test.images[0, 0].numpy(), start, tuple(CLEARS[one] for one in names))
                assert expected.sum() > 0
                assert numbers[name]["outputs"] == expected.tolist()
                counts = expected[start:].sum(0)
                assert numbers[name]["best"] == (int(counts.argmax()) if counts.sum() else -1)
