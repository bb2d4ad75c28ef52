"""The networks as the text writes them, in the cells of chapter 04, equal those of networks.py."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn
from support_networks import load_weights, random_images, seeded_weights, weighted_sum
from support_notebooks import definitions

from sequential_fmnist.networks import FeedBackNet, PlainNet, StatefulSynapseNet
from snn_core.functional import set_backend

LISTINGS = {"Net": PlainNet, "StatefulSynapseNet": StatefulSynapseNet, "FeedBackNet": FeedBackNet}


def listing(name: str) -> type[nn.Module]:
    listed = definitions("04", name)[name]
    listed.__init__.__globals__["backend"] = "auto"
    return listed


def rates_and_gradients(net: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    images = random_images(4).requires_grad_()
    rates = net(images)
    weighted_sum(rates).backward()
    return rates.detach(), {"images": images.grad, **{name: p.grad for name, p in net.named_parameters()}}


@pytest.mark.parametrize("name", LISTINGS)
def test_network_of_the_text_equals_that_of_the_module(name):
    of_text, of_module = listing(name)().double(), LISTINGS[name]().double()
    load_weights(of_text, seeded_weights(of_text))
    of_module.load_state_dict(of_text.state_dict())
    set_backend(of_text, "torch")
    expected, expected_gradients = rates_and_gradients(of_text)
    rates, gradients = rates_and_gradients(of_module)
    assert torch.equal(rates, expected)
    assert 0 < expected.mean() < 1
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        assert gradient.any(), name
        # The text's StatefulSynapseNet calls fc1 on [W, N, H], which may add up in another order.
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", LISTINGS)
def test_state_dict_and_initial_weights_of_the_module_are_those_of_the_text(name):
    torch.manual_seed(7)
    of_text = listing(name)()
    torch.manual_seed(7)
    of_module = LISTINGS[name]()
    assert list(of_text.state_dict()) == list(of_module.state_dict())
    for name, weight in of_text.state_dict().items():  # drawn in the same order
        assert torch.equal(weight, of_module.state_dict()[name]), name
