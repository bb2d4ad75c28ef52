"""What a user changes about a module counts: a fused kernel takes what it knows, everything else takes the loop."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core.functional import reset_net
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, MultiStepIFNode
from snn_core.surrogate import ATan

LAYERS = {
    "neurons": lambda: MultiStepIFNode(surrogate_function=ATan()),
    "element-wise": lambda: MultiStepContainer(
        ElementWiseRecurrentContainer(IFNode(surrogate_function=ATan()), torch.add)
    ),
    "linear": lambda: MultiStepContainer(LinearRecurrentContainer(IFNode(surrogate_function=ATan()), 3, 3)),
    "filter": lambda: MultiStepContainer(SynapseFilter(tau=2.0, learnable=True)),
}


def x_seq(**options) -> torch.Tensor:
    return torch.rand(5, 2, 3, dtype=torch.float64, **options)


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(params=LAYERS)
def layer(request) -> nn.Module:
    return LAYERS[request.param]()


# Tensors without memory of their own -------------------------------------------------------------------------------


def test_a_gradient_that_is_a_zero_tensor(layer):
    x = x_seq(requires_grad=True)
    torch.sgn(layer(x)).sum().backward()
    assert x.grad.count_nonzero() == 0


def test_an_input_that_is_a_negative_view(layer):
    x = torch.view_as_complex(torch.rand(5, 2, 3, 2)).conj().imag
    assert x.is_neg()
    out = layer(x)
    reset_net(layer)
    assert torch.equal(out, layer(x.resolve_neg()))


# Surrogate functions -----------------------------------------------------------------------------------------------


def test_alpha_may_become_a_parameter():
    x, y = x_seq(requires_grad=True), None
    node = MultiStepIFNode(surrogate_function=ATan())
    node.surrogate_function.alpha = nn.Parameter(torch.tensor(4.0))
    node(x).sum().backward()
    y = x.detach().clone().requires_grad_()
    MultiStepIFNode(surrogate_function=ATan(4.0))(y).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


# Own forward passes and hooks --------------------------------------------------------------------------------------


class DoubledContainer(LinearRecurrentContainer):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_container_may_have_a_forward_of_its_own(backend):
    own = MultiStepContainer(DoubledContainer(IFNode(backend=backend), 3, 3))
    plain = MultiStepContainer(LinearRecurrentContainer(IFNode(backend=backend), 3, 3))
    plain.load_state_dict(own.state_dict())
    x = x_seq()
    assert torch.equal(own(x), 2 * plain(x))


HOOKS = {
    "forward": lambda m, called: m.register_forward_hook(lambda *_: called.append(1)),
    "forward pre": lambda m, called: m.register_forward_pre_hook(lambda *_: called.append(1)),
    "backward": lambda m, called: m.register_full_backward_hook(lambda *_: called.append(1)),
    "backward pre": lambda m, called: m.register_full_backward_pre_hook(lambda *_: called.append(1)),
    "global": lambda m, called: torch_module.register_module_forward_hook(
        lambda module, *_: called.append(1) if module is m else None
    ),
}


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("where", ["neuron", "container", "weights", "filter", "surrogate"])
def test_hooks_are_called_in_every_step(where, kind, backend):
    recurrent = LinearRecurrentContainer(IFNode(backend=backend), 3, 3)
    chosen, net = {
        "neuron": (recurrent.sub_module, recurrent),
        "container": (recurrent, recurrent),
        "weights": (recurrent.rc, recurrent),
        "surrogate": (recurrent.sub_module.surrogate_function, recurrent),
        "filter": 2 * (SynapseFilter(backend=backend),),
    }[where]
    called: list[int] = []
    handle = HOOKS[kind](chosen, called)
    try:
        MultiStepContainer(net)(x_seq(requires_grad=True)).sum().backward()
    finally:
        handle.remove()
    assert len(called) == 5


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
        for name in container._state_names:
            assert getattr(container, name).untyped_storage().nbytes() <= 2 * 2 * 3 * 8  # v and y


# torch's own tools -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETWORKS)
class TestNetworks:
    def test_inference_then_training(self, kind):
        net, images = make_network(kind), torch.rand(2, 1, 28, 28)
        with torch.inference_mode():
            net(images)
        net(images).sum().backward()
        assert all(parameter.grad is not None for parameter in net.parameters())

    def test_checkpoint_is_right_or_refused(self, kind):
        net, images = make_network(kind), torch.rand(2, 1, 28, 28)

        def forward(images: torch.Tensor) -> torch.Tensor:
            reset_net(net)
            return net(images)

        gradients = []
        for run in (forward, lambda images: checkpoint(forward, images, use_reentrant=False)):
            run(images).square().sum().backward()
            gradients.append([parameter.grad for parameter in net.parameters()])
            net.zero_grad()
        torch.testing.assert_close(*gradients)
        reset_net(net)
        out = checkpoint(net, images, use_reentrant=False)
        with pytest.raises(RuntimeError, match=r"call reset_net\(net\) at the start of the function"):
            out.sum().backward()

    def test_operations_are_counted(self, kind):
        net = make_network(kind, backend="auto")
        with FlopCounterMode(display=False) as counter:
            net(torch.rand(2, 1, 28, 28))
        hidden = 28 * 2 * 2 * 32 * (28 + 10)
        recurrent = 28 * 2 * 2 * 64 * 32 if kind == "feedback" else 0
        assert counter.get_total_flops() == hidden + recurrent
