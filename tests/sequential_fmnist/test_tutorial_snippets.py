"""The networks as the tutorial writes them, with its imports changed to snn_core, equal those of networks.py.

Only the text's own slips are mended: the missing ``super().__init__()``, an unclosed bracket, the missing
``try:`` (no backend but torch is looked for here), and FeedBackNet's missing line ``LinearRecurrentContainer(``.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn
from support_networks import load_weights, random_images, seeded_weights, weighted_sum

from sequential_fmnist import networks as network
from snn_core import layer, neuron, surrogate
from snn_core.functional import seq_to_ann_forward

backend = "torch"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(28, 32)
        self.sn1 = neuron.MultiStepIFNode(
            surrogate_function=surrogate.ATan(), detach_reset=True, backend=backend
        )
        self.fc2 = nn.Linear(32, 10)
        self.sn2 = neuron.MultiStepIFNode(
            surrogate_function=surrogate.ATan(), detach_reset=True, backend=backend
        )

    def forward(self, x: torch.Tensor):
        # x.shape = [N, C, H, W]
        x.squeeze_(1)  # [N, H, W]
        x = x.permute(2, 0, 1)  # [W, N, H]
        x = seq_to_ann_forward(x, self.fc1)
        x = self.sn1(x)
        x = seq_to_ann_forward(x, self.fc2)
        x = self.sn2(x)
        return x.mean(0)


class StatefulSynapseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(28, 32)
        self.sn1 = neuron.MultiStepIFNode(
            surrogate_function=surrogate.ATan(), detach_reset=True, backend=backend
        )
        self.sy1 = layer.MultiStepContainer(layer.SynapseFilter(tau=2.0, learnable=True))
        self.fc2 = nn.Linear(32, 10)
        self.sn2 = neuron.MultiStepIFNode(
            surrogate_function=surrogate.ATan(), detach_reset=True, backend=backend
        )

    def forward(self, x: torch.Tensor):
        # x.shape = [N, C, H, W]
        x.squeeze_(1)  # [N, H, W]
        x = x.permute(2, 0, 1)  # [W, N, H]
        x = self.fc1(x)
        x = self.sn1(x)
        x = self.sy1(x)
        x = self.fc2(x)
        x = self.sn2(x)
        return x.mean(0)


class FeedBackNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(28, 32)
        self.sn1 = layer.MultiStepContainer(
            layer.LinearRecurrentContainer(
                neuron.IFNode(surrogate_function=surrogate.ATan(), detach_reset=True),
                32, 32
            )
        )  # fmt: skip
        self.fc2 = nn.Linear(32, 10)
        self.sn2 = neuron.MultiStepIFNode(
            surrogate_function=surrogate.ATan(), detach_reset=True, backend=backend
        )

    def forward(self, x: torch.Tensor):
        # x.shape = [N, C, H, W]
        x.squeeze_(1)  # [N, H, W]
        x = x.permute(2, 0, 1)  # [W, N, H]
        x = seq_to_ann_forward(x, self.fc1)
        x = self.sn1(x)
        x = seq_to_ann_forward(x, self.fc2)
        x = self.sn2(x)
        return x.mean(0)


def rates_and_gradients(net: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    images = random_images(4).requires_grad_()
    rates = net(images.clone())  # the text changes the shape of its input in place
    weighted_sum(rates).backward()
    return rates.detach(), {"images": images.grad, **{name: p.grad for name, p in net.named_parameters()}}


@pytest.mark.parametrize(
    ("text", "module"),
    [
        (Net, network.PlainNet),
        (StatefulSynapseNet, network.StatefulSynapseNet),
        (FeedBackNet, network.FeedBackNet),
    ],
)
def test_network_of_the_text_equals_that_of_the_module(text, module):
    of_text, of_module = text().double(), module().double()
    load_weights(of_text, seeded_weights(of_text))
    of_module.load_state_dict(of_text.state_dict())
    expected, expected_gradients = rates_and_gradients(of_text)
    rates, gradients = rates_and_gradients(of_module)
    assert torch.equal(rates, expected)
    assert 0 < expected.mean() < 1
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        assert gradient.any(), name
        # The text's StatefulSynapseNet calls fc1 on [W, N, H], which may add up in another order.
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-10, atol=1e-11)


def test_state_dict_and_initial_weights_of_the_module_are_those_of_the_text():
    for text, module in (
        (Net, network.PlainNet),
        (StatefulSynapseNet, network.StatefulSynapseNet),
        (FeedBackNet, network.FeedBackNet),
    ):
        torch.manual_seed(7)
        of_text = text()
        torch.manual_seed(7)
        of_module = module()
        assert list(of_text.state_dict()) == list(of_module.state_dict())
        for name, weight in of_text.state_dict().items():  # drawn in the same order
            assert torch.equal(weight, of_module.state_dict()[name]), name
        of_text.load_state_dict(of_module.state_dict())
