"""What a user changes about a module counts: kernels take what they know, else the loop runs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from snn_core.functional import reset_net
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode
from snn_core.surrogate import ATan


def x_seq(**options) -> torch.Tensor:
    return torch.rand(5, 2, 3, dtype=torch.float64, **options)


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def layers() -> nn.Module:
    feedback = LinearRecurrentContainer(IFNode(surrogate_function=ATan()), 3, 3)
    return MultiStepContainer(IFNode(surrogate_function=ATan()), feedback, SynapseFilter(2.0, learnable=True))


# Tensors without memory of their own -------------------------------------------------------------------------------


def test_a_gradient_that_is_a_zero_tensor():
    x = x_seq(requires_grad=True)
    torch.sgn(layers()(x)).sum().backward()
    assert x.grad.count_nonzero() == 0


def test_an_input_that_is_a_negative_view():
    x, net = torch.view_as_complex(torch.rand(5, 2, 3, 2)).conj().imag, layers()
    assert x.is_neg()
    out = net(x)
    reset_net(net)
    assert torch.equal(out, net(x.resolve_neg()))


# States ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_change_of_the_output_in_place_leaves_the_state(backend):
    for container in (
        ElementWiseRecurrentContainer(IFNode(backend=backend), torch.add),
        LinearRecurrentContainer(IFNode(backend=backend), 3, 3),
        SynapseFilter(backend=backend),
    ):
        twin = copy.deepcopy(container)
        first, second = x_seq(), x_seq()
        MultiStepContainer(container)(first).detach().fill_(7.0)
        MultiStepContainer(twin)(first)
        container(second[0]).detach().fill_(7.0)
        twin(second[0])
        assert torch.equal(container(second[1]), twin(second[1]))


def test_the_state_keeps_one_step_alive_and_no_more():
    for container in (
        ElementWiseRecurrentContainer(IFNode(), torch.add),
        LinearRecurrentContainer(IFNode(), 3, 3),
        SynapseFilter(),
    ):
        MultiStepContainer(container)(torch.rand(500, 2, 3))
        for name in container.state_names:
            assert getattr(container, name).untyped_storage().nbytes() <= 2 * 2 * 3 * 8  # v and y


# torch's own tools -------------------------------------------------------------------------------------------------
