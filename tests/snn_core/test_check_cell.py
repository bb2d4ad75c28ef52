"""`check_cell`: it passes what is right, fused or not, and names the mistake in what is not."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from snn_core import cells, layer, neuron
from snn_core.more import check_cell as checking
from snn_core.more.check_cell import check_cell
from snn_core.state import CellModule, MemoryModule
from snn_core.surrogate import ATan

PLACES = [
    "alone",
    "in ElementWiseRecurrentContainer",
    "in LinearRecurrentContainer",
    "between two nn.Linear",
]


@dataclass(eq=False)
class Trace(cells.Cell):
    """A neuron of one's own with two states: v, and a trace of its spikes that raises the threshold."""

    surrogate_function: cells.SpikeFunction
    decay: Tensor

    @property
    def initial(self):
        return 0.0, 0.5

    def step(self, x, state):
        v, a = state
        h = v + (x - v) / 2
        s = self.surrogate_function(h - (1 + a))
        return s, (h - s, self.decay * a + s)


class TraceNode(CellModule):
    states = ("v", "a")
    kind: type = Trace

    def __init__(self, decay=0.8, backend="auto"):
        super().__init__(backend)
        self.surrogate_function = ATan()
        self.decay = nn.Parameter(torch.tensor(decay))

    def cell(self, like):
        return self.kind(self.surrogate_function, self.decay.to(like.dtype))


RIGHT = {
    "IFNode": lambda: neuron.IFNode(surrogate_function=ATan(), v_reset=None),
    "LIFNode": lambda: neuron.LIFNode(surrogate_function=ATan()),
    "a parameter for each neuron": lambda: neuron.ParametricLIFNode([2.0, 3.0, 4.0, 5.0, 6.0]),
    "SynapseFilter": lambda: layer.SynapseFilter(3.0, learnable=True),
    "two states of its own": TraceNode,
}


@pytest.mark.parametrize("build", RIGHT.values(), ids=RIGHT)
def test_passes_what_is_right_and_says_that_it_is_fused(build, recwarn):
    report = check_cell(build())
    assert report.runs == dict.fromkeys(PLACES, "fused")
    assert report.differences.keys() == report.runs.keys()
    assert max(report.differences.values()) < 1e-12
    assert not recwarn.list


def test_report_is_short_and_says_what_was_fused():
    lines = str(check_cell(TraceNode(), (6, 2, 3))).splitlines()
    assert lines[0] == "TraceNode: single steps, loop and plan agree on a sequence [6, 2, 3]"
    assert [line[:32].rstrip() for line in lines[1:]] == PLACES
    assert all(line.endswith(", fused") for line in lines[1:])


def test_a_module_in_the_loop_passes_and_the_report_says_why():
    report = check_cell(TraceNode(backend="torch"))
    assert report.runs["alone"] == "not fused: backend='torch' asks for it"
    assert report.runs["in LinearRecurrentContainer"].startswith("not fused: its sub_module: backend='torch'")

    class Sine(Trace):
        def step(self, x, state):
            return super().step(x.sin() + 1, state)

    report = check_cell(_node(Sine))
    assert report.runs["alone"] == "not fused: kernels do not know .sin of a tensor"


@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 3, 2, 2), [2, 1, 1]])
def test_takes_any_shape(shape):
    report = check_cell(neuron.LIFNode(surrogate_function=ATan()), shape)
    assert report.shape == tuple(shape)
    assert list(report.runs) == (PLACES if len(shape) > 2 else PLACES[:2])


def test_a_container_passes_and_one_that_changes_the_size_is_checked_alone():
    container = layer.LinearRecurrentContainer(neuron.LIFNode(surrogate_function=ATan()), 5, 5)
    report = check_cell(container)
    assert report.runs["alone"] == report.runs["between two nn.Linear"] == "fused"
    assert "not a single cell" in report.runs["in LinearRecurrentContainer"]

    class Halves(MemoryModule):
        def forward(self, x):
            return x[..., :2]

    assert list(check_cell(Halves()).runs) == ["alone"]


def test_leaves_the_module_and_torch_s_numbers_as_they_are():
    node = TraceNode()
    node(torch.ones(2, 3))
    before, v = copy.deepcopy(node.state_dict()), node.v
    state = torch.get_rng_state()
    check_cell(node)
    assert torch.equal(torch.get_rng_state(), state)
    assert node.v is v
    assert node.decay.dtype == torch.float32
    assert node.decay.grad is None
    assert all(torch.equal(a, b) for a, b in zip(before.values(), node.state_dict().values(), strict=True))


LITTLE = "so that this check says little: try another x_seq"


def warnings_of(module: nn.Module) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        check_cell(module)
    assert {one.filename for one in found} == {__file__}  # they name the caller's line
    return [str(one.message) for one in found]


def test_an_input_of_one_s_own_decides_what_is_seen():
    with pytest.warns(
        UserWarning, match="IFNode: the output is 0 everywhere, or not finite, so that this check says little"
    ):
        check_cell(neuron.IFNode(surrogate_function=ATan()), torch.full((4, 2, 3), 0.1))


def test_a_parameter_without_gradient_and_numbers_that_are_not_finite_are_warned_of():
    class Idle(TraceNode):
        def cell(self, like):
            return Trace(self.surrogate_function, self.decay.detach())

    assert warnings_of(Idle()) == [
        f"Idle: the gradient to module.decay is 0 everywhere, or not finite, {LITTLE}"
    ]
    steps = _node(_cell(lambda self, x, state: ((x > 0).to(x), state)))
    assert f"Node: the gradient to the input is 0 everywhere, or not finite, {LITTLE}" in warnings_of(steps)

    class Explodes(Trace):
        def step(self, x, state):
            y, (v, a) = super().step(x, state)
            return y, (v / 0.0, a)

    assert f"Node: the last module.v is nan everywhere, or not finite, {LITTLE}" in warnings_of(
        _node(Explodes)
    )


# Mistakes -----------------------------------------------------------------------------------------------------------


def _node(kind: type, **attributes) -> nn.Module:
    return type("Node", (TraceNode,), {"kind": kind, **attributes})()


def _cell(step=None, **attributes) -> type:
    return type("Wrong", (Trace,), {**({"step": step} if step else {}), **attributes})


def remembers(self, x, state):
    self.decay = self.decay * 0.5
    return Trace.step(self, x, state)


def adds_in_place(self, x, state):
    v, a = state
    y, after = Trace.step(self, x, (v.clone(), a))
    v.add_(1)
    return y, after


CALLS: list[int] = []


def counts(self, x, state):
    CALLS.append(1)
    return Trace.step(self, x * len(CALLS), state)


def forgets(self, x, state):
    y, (v, _) = Trace.step(self, x, state)
    return y, (v,)


class Counted(TraceNode):
    """Its threshold depends on how many cells were built: on time."""

    built = 0

    def cell(self, like):
        self.built += 1
        return Trace(self.surrogate_function, self.decay.to(like.dtype) / self.built)


class Doubles(TraceNode):
    def forward(self, x):
        return 2 * super().forward(x)


class Remembers(TraceNode):
    """Keeps something in an attribute that `reset` does not know."""

    def __init__(self):
        super().__init__()
        self.bias = 0.0

    def forward(self, x):
        self.bias += 0.1
        return super().forward(x + self.bias)


class Unkept(TraceNode):
    """Keeps its first state only."""

    def _keep(self, state, y):
        self.keep_state("v", state[0])
        self.keep_state("a", None)


class ByHand(nn.Module):
    """A module of plain torch that keeps v where nobody finds it."""

    def __init__(self):
        super().__init__()
        self.v = 0.0

    def forward(self, x):
        self.v = 0.5 * self.v + x
        return self.v


class CutsHistory(MemoryModule):
    """A sequence gets another gradient than single steps."""

    def __init__(self):
        super().__init__()
        self.register_state("v")

    def forward(self, x):
        v = 0.5 * self.checked_state("v", x, 0.0) + x
        self.keep_state("v", v)
        return 2 * v

    def forward_sequence(self, x_seq):
        y = super().forward_sequence(x_seq)
        return y.detach() + x_seq - x_seq.detach()


class Begins(CutsHistory):
    """A sequence begins anew, whatever state there is."""

    def forward_sequence(self, x_seq):
        self.reset()
        return MemoryModule.forward_sequence(self, x_seq)


class Hides(CutsHistory):
    def forward_sequence(self, x_seq):
        y = MemoryModule.forward_sequence(self, x_seq)
        self.reset()
        return y


class Noisy(neuron.IFNode):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x))


MISTAKES = {
    "initial too short": (
        lambda: _node(_cell(initial=(0.0,))),
        r"Node: Wrong.initial must be a tuple of a value for each of the states v, a",
    ),
    "initial is a number": (lambda: _node(_cell(initial=0.0)), "Wrong.initial must be a tuple of a value"),
    "step returns too few states": (
        lambda: _node(_cell(forgets)),
        "step must return y and a tuple of the states v, a",
    ),
    "step returns no pair": (
        lambda: _node(_cell(lambda self, x, state: x)),
        "must return y and a tuple of the states v, a",
    ),
    "states in a list": (
        lambda: _node(_cell(lambda self, x, state: (x, list(state)))),
        "must return y and a tuple of the states v, a",
    ),
    "y is a number": (
        lambda: _node(_cell(lambda self, x, state: (1.0, state))),
        "y must be a tensor as the input is",
    ),
    "y of another shape": (
        lambda: _node(_cell(lambda self, x, state: (x.sum(-1), state))),
        r"y must be a tensor as the input is, \[3, 5\]",
    ),
    "state of another dtype": (
        lambda: _node(_cell(lambda self, x, state: (x, (state[0], state[1].float())))),
        "a must be a tensor as the input is, .* of torch.float64",
    ),
    "cell changes itself": (
        lambda: _node(_cell(remembers)),
        "step changes the cell's decay: make new tensors, and remember in states",
    ),
    "cell changes a state in place": (
        lambda: _node(_cell(adds_in_place)),
        "step changes v: make new tensors",
    ),
    "cell changes its input in place": (
        lambda: _node(_cell(lambda self, x, state: (x.mul_(2), state))),
        "step changes x: make new tensors",
    ),
    "cell counts its calls": (lambda: _node(_cell(counts)), "gives something else the second time"),
    "cell draws at random": (
        lambda: _node(_cell(lambda self, x, state: (x + torch.randn_like(x), state))),
        "gives something else the second time",
    ),
    "module depends on time": (Counted, "in two pieces after reset_net differs"),
    "forward is not the cell": (Doubles, "alone: the output in the loop differs"),
    "an attribute remembers": (Remembers, "single steps: .* in two pieces after reset_net differs"),
    "a state is not kept": (Unkept, "the loop: .* in two pieces after reset_net differs"),
    "a state that nobody knows": (
        ByHand,
        "in two pieces after reset_net differs .memory must be registered states",
    ),
    "a random forward": (Noisy, "nothing random"),
    "a sequence with another gradient": (
        CutsHistory,
        "alone: the gradient to the input in the loop differs from that in single steps",
    ),
    "a sequence that begins anew": (Begins, "the loop: .* in two pieces after reset_net differs"),
    "a sequence that forgets": (Hides, "the loop: .* in two pieces after reset_net differs"),
}


@pytest.mark.parametrize(("build", "message"), MISTAKES.values(), ids=MISTAKES)
def test_names_the_mistake(build, message):
    with pytest.raises(AssertionError, match=message):
        check_cell(build())


def _wrong_kernel(monkeypatch):
    honest = checking.scan

    monkeypatch.setattr(checking, "scan", lambda *given: honest(*given) * (1 + 1e-6))


def test_a_wrong_kernel_is_found(monkeypatch):
    """What the plan gives is what is compared, not a second run of the loop."""
    _wrong_kernel(monkeypatch)
    with pytest.raises(
        AssertionError, match=r"the output in the plan differs from that in single steps by 1e-06"
    ):
        check_cell(neuron.IFNode(surrogate_function=ATan()))
