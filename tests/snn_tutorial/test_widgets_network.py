from __future__ import annotations

import pytest
import torch

from snn_tutorial.probe import Activity
from snn_tutorial.widgets.network import network_activity

CLASSES = ("boot", "bag")
LABELS = torch.tensor([1, 0])


def activity_of(seed: int) -> Activity:
    torch.manual_seed(seed)
    return Activity(
        (torch.rand(6, 2, 5) > 0.5).float(),
        torch.rand(6, 2, 5),
        (torch.rand(6, 2, 2) > 0.5).float(),
        torch.rand(6, 2, 2),
    )


@pytest.fixture
def controls(shown):
    box = network_activity(
        {"plain": activity_of(0), "feedback": activity_of(1)}, torch.rand(2, 1, 28, 6), LABELS, CLASSES
    )
    return box.children[0].children


@pytest.mark.parametrize(("control", "value"), [(0, "feedback"), (1, 1), (2, "read-out"), (3, 2)])
def test_each_control_changes_the_picture(shown, controls, control, value):
    controls[control].value = value
    assert len(shown) == 2
    assert shown[0] != shown[1]


def test_images_are_named_by_their_class(controls):
    assert controls[1].options == (("0: bag", 0), ("1: boot", 1))


def test_neuron_stays_within_its_layer(shown, controls):
    layer, neuron = controls[2:]
    assert neuron.max == 4
    neuron.value = 4
    layer.value = "read-out"
    assert (neuron.max, neuron.value) == (1, 1)
    layer.value = "hidden"
    assert neuron.max == 4
    # A call that fails would show no picture: first view, neuron, neuron moved with the layer, layer, layer.
    assert len(shown) == 5
