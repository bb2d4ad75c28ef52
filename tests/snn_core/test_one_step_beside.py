"""What a stranger does beside our own path: fused, it is what the loop does, or it is refused with the reason."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support_networks import Node
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from snn_core import functional, surrogate
from snn_core.cells import Cell
from snn_core.functional import explain, reset_net, scan, set_backend
from snn_core.kernels import BACKENDS
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, LIFNode, LINode, MultiStepIFNode, ParametricLIFNode

CPU = [name for name in BACKENDS if name != "cupy"]
DECAY = torch.tensor(0.5, dtype=torch.float64)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    feedback = LinearRecurrentContainer(IFNode(0.5, surrogate_function=surrogate.ATan()), 4, 4)
    return nn.Sequential(
        nn.Linear(3, 4), ParametricLIFNode(2.0, 0.3), feedback, SynapseFilter(2.0, learnable=True)
    ).double()


def currents(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def on(backend: str, net: nn.Module) -> nn.Module:
    set_backend(net, backend)
    return net


def results(net: nn.Module, x_seq: Tensor, run: Any = None) -> list[Tensor]:
    """Return the output and all gradients."""
    x_seq = x_seq.clone().requires_grad_()
    y = (run or (lambda x: scan(x, net)))(x_seq)
    y.square().sum().backward()
    return [y.detach(), x_seq.grad, *(weight.grad for weight in net.parameters())]


@dataclass(eq=False)
class Leaky(Cell):
    decay: Any

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        v = self.decay * state[0] + x
        return v, (v,)


# What is differentiated ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.torch.jit.script")  # of torch itself
def test_forward_mode_keeps_its_tangent():
    found = []
    for backend in ("auto", "torch"):
        with forward_ad.dual_level():
            x_seq = forward_ad.make_dual(currents(4, 2, 3), torch.ones(4, 2, 3, dtype=torch.float64))
            found.append(forward_ad.unpack_dual(scan(x_seq, LINode(3.0, backend=backend))).tangent)
    assert torch.equal(*found)
    assert found[0].any()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_checkpoints_give_the_same_gradients_from_the_first_step_on(backend, reentrant):
    """In the second piece states of the first go on; equations of a new class are read within the checkpoint."""

    class Mine(Leaky):
        pass

    nets = [nn.Sequential(*network(), Node(Mine, decay=DECAY)) for _ in range(2)]
    x_seq, found = currents(6, 2, 3), []
    for net, keeps in zip(nets, (True, False), strict=True):
        set_backend(net, backend)

        def piece(x: Tensor, net: nn.Module = net) -> Tensor:
            reset_net(net)
            return scan(x, net)

        run = (lambda x, p=piece: checkpoint(p, x, use_reentrant=reentrant)) if keeps else piece
        found.append(results(net, x_seq, run))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)
    reset_net(nets[1])
    y = checkpoint(lambda x: scan(x, nets[1]), x_seq.requires_grad_(), use_reentrant=False)
    with pytest.raises(RuntimeError, match=r"call reset_net\(net\) at the start of the function"):
        y.sum().backward()


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_alpha_is_read_in_the_forward_pass(backend):
    found = []
    for alpha in (2.0, 5.0):
        neuron = IFNode(surrogate_function=surrogate.ATan(2.0), backend=backend)
        x_seq = currents(4, 2, 3).requires_grad_()
        y = scan(x_seq, neuron)
        neuron.surrogate_function.alpha = alpha
        y.sum().backward()
        found.append(x_seq.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize("again", ["next batch", "same graph"])
def test_backward_a_second_time_names_what_is_missing(again):
    net, x_seq = network(), currents(4, 2, 3)
    y = scan(x_seq, net).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"reset_net\(net\).*detach_net\(net\)"):
        (y if again == "same graph" else scan(x_seq, net).sum()).backward()


# What is called ------------------------------------------------------------------------------------------------------


def test_the_backend_of_a_network_reaches_each_way_to_call_it():
    for backend, fused in (("torch", False), ("cpu", True)):
        net = on(backend, MultiStepContainer(nn.Linear(3, 4), IFNode(), nn.Linear(4, 4), IFNode()))
        for made in (net, _Scanned(*net), nn.Sequential(net)):
            reset_net(net)
            decisions = explain(made, torch.rand(4, 2, 3))
            assert {(decision.fused, decision.scan) for decision in decisions} == {(fused, int(fused))}
            assert len(decisions) == 4


class _Scanned(nn.Sequential):
    def forward(self, x_seq: Tensor) -> Tensor:
        return scan(x_seq, *self)


# What is set ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v_reset", 5.0), ("v_threshold", -1.0), ("v_threshold", float("nan")), ("detach_reset", "no"), ("tau", 0.5),
        ("tau", nn.Parameter(torch.tensor(-0.5))), ("decay_input", 1), ("backend", "fast"), ("surrogate_function", 3),
    ],
)  # fmt: skip
def test_a_setter_refuses_what_the_constructor_refuses(name, value):
    neuron, errors = LIFNode(), []
    before = getattr(neuron, name)
    for change in (lambda: LIFNode(**{name: value}), lambda: setattr(neuron, name, value)):
        with pytest.raises((TypeError, ValueError)) as error:
            change()
        errors.append(str(error.value))
        assert getattr(neuron, name) is before
    assert errors[0] == errors[1]


def test_alpha_is_checked_when_it_is_set():
    with pytest.raises(ValueError, match="alpha must be a positive"):
        surrogate.ATan().alpha = -3
    with pytest.raises(TypeError, match="spiking must be True or False"):
        surrogate.ATan().spiking = "no"


@pytest.mark.parametrize("value", [3.0, [3.0, 4.0], nn.Parameter(torch.tensor(3.0))])
def test_a_setter_keeps_a_number_where_the_constructor_does(value):
    for make, name in ((LIFNode, "tau"), (SynapseFilter, "tau"), (IFNode, "v_threshold")):
        constructed, changed = make(**{name: value}), make()
        setattr(changed, name, value)
        assert constructed.state_dict().keys() == changed.state_dict().keys()
        torch.testing.assert_close(torch.as_tensor(getattr(changed, name)), torch.as_tensor(value))
        trained = [{key for key, _ in module.named_parameters()} for module in (constructed, changed)]
        assert trained[0] == trained[1]


def test_a_trained_time_constant_stays_above_one_however_it_is_set():
    neuron = LIFNode(nn.Parameter(torch.tensor(2.0)))
    neuron.tau = 4.0
    assert neuron.tau.item() == pytest.approx(4.0)
    assert {name for name, _ in neuron.named_parameters()} == {"w"}
    with torch.no_grad():
        neuron.w -= 1000
    assert neuron.tau.item() >= 1


# What is recorded ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_the_potential_before_the_reset_by_hand(backend):
    """Threshold 1, soft reset: h = 0.6, 1.2, 0.8, 1.4."""
    neuron = MultiStepIFNode(v_reset=None, backend=backend)
    neuron.record("h", "v")
    neuron(torch.full((4, 1, 1), 0.6))
    torch.testing.assert_close(neuron.recorded("h").flatten(), torch.tensor([0.6, 1.2, 0.8, 1.4]))
    torch.testing.assert_close(neuron.recorded("v").flatten(), torch.tensor([0.6, 0.2, 0.8, 0.4]))
    neuron.record()
    assert neuron.state_names == ("v",)


# What a subclass or an instance replaces --------------------------------------------------------------------------


METHODS = {
    "first_values": IFNode, "checked_state": MultiStepIFNode, "loop": MultiStepIFNode, "keep_state": IFNode,
    "steps": lambda: LinearRecurrentContainer(IFNode(0.5), 4, 4).double(),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("on_instance", [False, True])
def test_what_is_replaced_is_called(name: str, on_instance: bool):
    module, called = METHODS[name](), []
    real = getattr(type(module), name)

    def own(self: Any, *given: Any) -> Any:
        called.append(given)
        return real(self, *given)

    if on_instance:
        module.__dict__[name] = own.__get__(module)
    else:
        module.__class__ = type("Own", (type(module),), {name: own})
    run = module.forward_sequence if name == "steps" else lambda x_seq: scan(x_seq, module)
    run(currents(6, 3, 4))
    assert len(called) >= (6 if name == "keep_state" else 1)
    assert explain(MultiStepContainer(module), currents(6, 3, 4))[0].reason.startswith(
        f"it has a {name} of its own"
    )


def test_the_backend_torch_holds_for_all_that_a_scan_calls():
    net = nn.Sequential(MultiStepIFNode(), nn.Sequential(LIFNode(), MultiStepIFNode()))
    net[1].register_forward_hook(lambda *_: None)
    container = MultiStepContainer(ParametricLIFNode(2.0, 0.3))
    container.register_forward_hook(lambda *_: None)
    x_seq = currents(5, 2, 3).requires_grad_()
    y = scan(x_seq, MultiStepIFNode(), container, backend="torch")
    (gradient,) = torch.autograd.grad(y.sum(), x_seq, create_graph=True)
    assert torch.autograd.grad(gradient.square().sum(), x_seq)[0].isfinite().all()
    scan(x_seq.detach(), MultiStepIFNode(), backend="auto")  # and for nothing that follows
    assert explain(MultiStepContainer(MultiStepIFNode()), x_seq.detach())[0].fused


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 0)], ids=["no samples", "no features"])
def test_a_shape_that_the_loop_refuses_is_refused(shape: tuple[int, ...]):
    said = []
    for backend in ("auto", "torch"):
        with pytest.raises((ValueError, RuntimeError)) as error:
            scan(torch.rand(shape), nn.Linear(4, 2), backend=backend)
        said.append(str(error.value))
    assert said[0] == said[1]


# States, records and numbers that are changed in between --------------------------------------------------------------


def test_a_record_is_no_view_of_a_state():
    node = IFNode(5.0)
    node.record("v", "output")
    y = node(torch.ones(3))
    node.v.mul_(0)
    y.add_(7)
    assert node.recorded("v").tolist() == [[1.0] * 3]
    assert node.recorded("output").tolist() == [[0.0] * 3]


def test_a_state_that_is_no_longer_recorded_is_gone():
    node = IFNode()
    node.record("h")
    node(torch.ones(3))
    node.record()
    assert not hasattr(node, "h")
    assert list(functional.states(node)) == ["v"]


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_change_of_the_output_in_place_leaves_the_state(backend):
    for container in (
        ElementWiseRecurrentContainer(IFNode(backend=backend), torch.add),
        LinearRecurrentContainer(IFNode(backend=backend), 3, 3),
        SynapseFilter(backend=backend),
    ):
        twin = copy.deepcopy(container)
        first, second = torch.rand(2, 5, 2, 3)
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
            assert getattr(container, name).untyped_storage().nbytes() <= 2 * 2 * 3 * 4  # v and y


def test_a_state_set_to_a_parameter_is_where_each_sequence_begins():
    node = LINode(4.0, decay_input=False)
    node.v = nn.Parameter(torch.full((2, 3), 0.5))
    for _ in range(2):
        y = scan(torch.zeros(4, 2, 3), node)
        assert torch.allclose(y[-1], torch.full((2, 3), 0.5 * 0.75**4))
        y.sum().backward()
        reset_net(node)
    assert node._parameters["v"].grad.allclose(torch.full((2, 3), 2 * sum(0.75**k for k in range(1, 5))))


def test_a_whole_graph_is_refused_with_what_to_do():
    net = torch.compile(MultiStepContainer(IFNode()), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="compile the network without fullgraph=True"):
        net(torch.ones(3, 2, 2))
