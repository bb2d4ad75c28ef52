"""What a stranger does beside our own path: fused, it is what the loop does, or it is refused with the reason."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from snn_core import functional, surrogate
from snn_core.cells import Cell
from snn_core.functional import explain, reset_net, scan, set_backend
from snn_core.kernels import BACKENDS
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.module import CellModule
from snn_core.neuron import IFNode, LIFNode, LINode, MultiStepIFNode, ParametricLIFNode

CPU = [name for name in BACKENDS if name != "cupy"]


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
    helper: Any = None

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        v = self.decay * state[0] + x
        return v, (v,)


class Node(CellModule):
    """A neuron of one's own."""

    states = ("v",)

    def __init__(self, kind: type[Leaky] = Leaky, helper: Any = None) -> None:
        super().__init__()
        self.decay, self.kind, self.helper = (
            nn.Parameter(torch.tensor(0.5, dtype=torch.float64)),
            kind,
            helper,
        )

    def cell(self, like: Any) -> Leaky:
        return self.kind(self.decay, self.helper)


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

    nets = [nn.Sequential(*network(), Node(Mine)) for _ in range(2)]
    x_seq, found = currents(6, 2, 3), []
    for net, keeps in zip(nets, (True, False), strict=True):
        set_backend(net, backend)

        def piece(x: Tensor, net: nn.Module = net) -> Tensor:
            reset_net(net)
            return scan(x, net)

        run = (lambda x, p=piece: checkpoint(p, x, use_reentrant=reentrant)) if keeps else piece
        found.append(results(net, x_seq, run))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


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


def test_after_the_backend_torch_a_scan_has_second_derivatives():
    net = on("torch", network())
    x_seq = currents(4, 2, 3).requires_grad_()
    (first,) = torch.autograd.grad(scan(x_seq, *net).square().sum(), x_seq, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x_seq)
    assert second.any()


@pytest.mark.parametrize("again", ["next batch", "same graph"])
def test_backward_a_second_time_names_what_is_missing(again):
    net, x_seq = network(), currents(4, 2, 3)
    y = scan(x_seq, net).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"reset_net\(net\).*detach_net\(net\)"):
        (y if again == "same graph" else scan(x_seq, net).sum()).backward()


def test_states_and_records_require_a_gradient_as_in_the_loop():
    found = []
    for backend in ("auto", "torch"):
        for first in (IFNode(), Node()):
            net = on(backend, nn.Sequential(first, IFNode(refractory=1), IFNode())).double()
            for module in net:
                module.record("output", *module.state_names)
            y = scan(currents(4, 2, 3), net)
            kept = [module.recorded(name) for module in net for name in ("output", *module.state_names)]
            found.append([one.requires_grad for one in (y, *kept, *functional.states(net).values())])
    assert found[:2] == found[2:]
    assert not any(found[0])
    assert found[1].count(False) == 2  # the refractory steps that are left, last and recorded


# What is called ------------------------------------------------------------------------------------------------------


def test_data_of_another_shape_is_refused():
    """The module was called before, so that nothing but the data is new."""
    for backend in ("auto", "torch"):
        neuron = IFNode(nn.Parameter(torch.ones(8)), backend=backend)
        scan(torch.rand(3, 2, 8), neuron)
        reset_net(neuron)
        neuron.v_threshold.data = torch.tensor([0.1, 5.0, 5.0, 5.0])
        with pytest.raises(ValueError, match=r"v_threshold has shape \[4\]"):
            scan(torch.rand(3, 2, 8), neuron)


@pytest.mark.parametrize("kind", [IFNode, LinearRecurrentContainer])
def test_a_forward_of_ones_own_is_called_for_each_step(kind):
    class Doubled(kind):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(2 * x)

    torch.manual_seed(0)
    module = Doubled() if kind is IFNode else Doubled(IFNode(0.1), 3, 3)
    x_seq = torch.rand(4, 2, 3)
    found = module.forward_sequence(x_seq)
    reset_net(module)
    assert torch.equal(found, torch.stack([module(x) for x in x_seq]))
    assert found.any()


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("backend", CPU)
def test_nested_containers_do_the_same_under_every_backend_and_with_a_hook(backend, hooked):
    def make() -> nn.Module:
        torch.manual_seed(0)
        inner = SeqToANNContainer(nn.Linear(3, 4), nn.Flatten(), nn.Unflatten(1, (4,)))
        return MultiStepContainer(inner, nn.Sequential(IFNode(), MultiStepContainer(IFNode()))).double()

    net, seen = make(), []
    if hooked:
        net[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    found = results(on(backend, net), currents(4, 2, 3), net)
    plain = on("torch", make())
    torch.testing.assert_close(found, results(plain, currents(4, 2, 3), plain))
    assert seen == [torch.Size([4, 2, 4])] * hooked


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


@pytest.mark.filterwarnings("ignore:The tensor attribute")  # of torch.export, which does not know states
def test_an_exported_network_takes_the_loop():
    net, x_seq = MultiStepContainer(network()), currents(4, 2, 3)
    exported = torch.export.export(net, (x_seq,)).module()
    reset_net(net)
    torch.testing.assert_close(exported(x_seq), net(x_seq))


# What is read --------------------------------------------------------------------------------------------------------


def test_an_output_of_another_shape_takes_the_loop():
    @dataclass(eq=False)
    class Flag(Leaky):
        def step(self, x, state):
            return (self.decay > 3).to(self.decay), (state[0] + x,)

    x_seq = currents(4, 2, 3)
    assert scan(x_seq, Node(Flag)).shape == (4,)


def test_reading_equations_draws_no_random_number():
    @dataclass(eq=False)
    class Noisy(Leaky):
        def step(self, x, state):
            return super().step(x + torch.rand(()).item(), state)

    drawn = []
    for backend in ("auto", "torch"):
        torch.manual_seed(0)
        node = on(backend, Node(Noisy))
        drawn.append((scan(currents(4, 2, 3), node), torch.rand(())))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])


def test_a_helpers_attribute_counts_when_it_changes():
    @dataclass(eq=False)
    class Helped(Leaky):
        def step(self, x, state):
            return super().step(helper(x), state)

    def helper(x: Tensor) -> Tensor:
        return helper.k * x

    node, found = Node(Helped), []
    for k in (1.0, 2.0):
        helper.k = k
        reset_net(node)
        found.append(scan(currents(4, 2, 3), node))
    torch.testing.assert_close(found[1], 2 * found[0])


def test_a_method_that_is_replaced_on_a_class_counts():
    """On the class itself, on one above it, and as a method that it inherited before."""

    @dataclass(eq=False)
    class Above(Leaky):
        def gain(self, x: Tensor) -> Tensor:
            return x

        def step(self, x, state):
            return super().step(self.gain(x), state)

    class Mine(Above):
        pass

    node, found = Node(Mine), []
    for owner, gain in ((Above, 1.0), (Above, 2.0), (Mine, 3.0), (Mine, 4.0)):
        owner.gain = lambda self, x, gain=gain: gain * x
        reset_net(node)
        with torch.no_grad():
            found.append(scan(currents(4, 2, 3), node))
    for k, one in enumerate(found):
        torch.testing.assert_close(one, (k + 1) * found[0])


def test_a_deleted_network_leaves_nothing_behind():
    net = network()
    scan(currents(4, 2, 3), net)
    held = [weakref.ref(weight) for weight in net.parameters()]
    gc.disable()
    try:
        del net
        assert [ref for ref in held if ref() is not None] == []
    finally:
        gc.enable()


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


# What is refused -----------------------------------------------------------------------------------------------------


def test_steps_that_are_refused_leave_the_optimizer_as_it_was():
    net = nn.Sequential(nn.Linear(4, 4), IFNode(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    optimizer = torch.optim.Adam(net.parameters())
    with pytest.raises(ValueError, match="net cannot be trained in one call"):
        functional.train_steps(net, torch.rand(4, 5, 4), torch.zeros(5, dtype=torch.int64), optimizer)
    assert not optimizer.state


# What a subclass or an instance replaces --------------------------------------------------------------------------


class _Elsewhere(IFNode):
    """Begins at 0.5."""

    def first_values(self, cell: Any) -> tuple[float, ...]:
        return (0.5,)


class _ElsewhereInSequences(MultiStepIFNode):
    def checked_state(self, name: str, like: Any, default: Any) -> Tensor:
        return super().checked_state(name, like, 0.5)


class _Twice(MultiStepIFNode):
    def loop(self, x_seq: Tensor) -> Tensor:
        return 2 * super().loop(x_seq)


class _Backwards(LinearRecurrentContainer):
    def steps(self, x_seq: Tensor) -> Tensor:
        return super().steps(x_seq.flip(0)).flip(0)


class _Leaking(IFNode):
    def keep_state(self, name: str, value: Any, task: Any = None) -> None:
        super().keep_state(name, value / 2 if value is not None else None)


def _backwards(kind: Any) -> Any:
    torch.manual_seed(0)
    return kind(IFNode(0.5), 4, 4).double()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_Elsewhere, lambda x_seq: torch.stack([x for node in [IFNode()] for x in map(_begun(node), x_seq)])),
        (
            _ElsewhereInSequences,
            lambda x_seq: torch.stack([x for node in [IFNode()] for x in map(_begun(node), x_seq)]),
        ),
        (_Twice, lambda x_seq: 2 * MultiStepIFNode()(x_seq)),
        (
            lambda: _backwards(_Backwards),
            lambda x_seq: scan(x_seq.flip(0), _backwards(LinearRecurrentContainer)).flip(0),
        ),
        (_Leaking, lambda x_seq: torch.stack([x for node in [IFNode()] for x in map(_halving(node), x_seq)])),
    ],
    ids=["first_values", "checked_state", "loop", "steps", "keep_state"],
)
@pytest.mark.parametrize("on_instance", [False, True])
def test_what_is_replaced_is_what_runs(make: Any, expected: Any, on_instance: bool):
    x_seq, module = currents(6, 3, 4), make()
    if on_instance:  # the same method, of the plain class, set on the module itself
        (name,) = set(vars(type(module))) & {"first_values", "checked_state", "loop", "steps", "keep_state"}
        method = getattr(module, name)
        module.__dict__[name] = method
        kind = type(module)
    assert torch.equal(scan(x_seq, module), expected(x_seq))
    assert not on_instance or type(module) is kind


def _begun(node: Any) -> Any:
    def step(x: Tensor) -> Tensor:
        if node.v is None:
            node.v = torch.full_like(x, 0.5)
        return node(x)

    return step


def _halving(node: Any) -> Any:
    def step(x: Tensor) -> Tensor:
        y = node(x)
        node.v = node.v / 2
        return y

    return step


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


def test_a_state_set_to_a_parameter_is_where_each_sequence_begins():
    node = LINode(4.0, decay_input=False)
    node.v = nn.Parameter(torch.full((2, 3), 0.5))
    for _ in range(2):
        y = scan(torch.zeros(4, 2, 3), node)
        assert torch.allclose(y[-1], torch.full((2, 3), 0.5 * 0.75**4))
        y.sum().backward()
        reset_net(node)
    assert node._parameters["v"].grad.allclose(torch.full((2, 3), 2 * sum(0.75**k for k in range(1, 5))))


def test_a_trained_weight_is_taken_away_by_none():
    net = functional_container()
    net.weight = None
    assert "weight" not in dict(net.named_parameters())
    assert torch.equal(scan(torch.ones(3, 2, 2), net), scan(torch.ones(3, 2, 2), functional_container(None)))


def functional_container(weight: Any = ...) -> Any:
    weight = nn.Parameter(torch.tensor(0.5)) if weight is ... else weight
    return ElementWiseRecurrentContainer(IFNode(), lambda x, y: x - y, weight=weight)


@pytest.mark.parametrize("backend", CPU)
def test_a_trained_time_constant_may_be_parametrized(backend: str):
    node = ParametricLIFNode(4.0)
    parametrize.register_parametrization(node, "w", _Negative())
    on(backend, node)
    assert node.tau.item() == pytest.approx(4 / 3)  # 1/tau = sigmoid(log 3)
    scan(torch.ones(3, 2, 2), node).sum().backward()
    assert node.parametrizations.w.original.grad.isfinite()


class _Negative(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return -w


def test_a_state_from_torch_func_may_stay():
    node = LINode(4.0)
    torch.func.grad(lambda x: scan(x, node).sum())(torch.ones(3, 2, 2))
    expected = node.v.clone()
    for x in torch.ones(2, 2, 2):
        expected = expected + (x - expected) / 4
    assert torch.allclose(scan(torch.ones(2, 2, 2), node)[-1], expected)


def test_explain_lists_what_its_own_thread_calls():
    net, done = nn.Sequential(MultiStepIFNode()), threading.Event()

    class Waiting(nn.Module):
        def forward(self, x_seq: Tensor) -> Tensor:
            thread = threading.Thread(target=lambda: (MultiStepIFNode()(x_seq), done.set()))
            thread.start()
            thread.join()
            return net(x_seq)

    decisions = explain(Waiting(), torch.ones(3, 2, 2))
    assert done.is_set()
    assert len(decisions) == 1


def test_a_whole_graph_is_refused_with_what_to_do():
    net = torch.compile(MultiStepContainer(IFNode()), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="compile the network without fullgraph=True"):
        net(torch.ones(3, 2, 2))
