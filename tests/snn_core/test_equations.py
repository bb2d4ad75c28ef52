"""What equations may do that kernels are derived from: the loop defines the result, and what differs must take it."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from snn_core.cells import Cell
from snn_core.functional import explain
from snn_core.layer import MultiStepContainer
from snn_core.neuron import IFNode
from snn_core.state import CellModule
from snn_core.surrogate import SurrogateFunction

NAN, INF = float("nan"), float("inf")
#: Every pair of these is an input and a state: ties, zeros of both signs, and what is no number.
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 100.0, INF, -INF, NAN]


class Node(CellModule):
    states = ("v",)

    def __init__(self, make: Any, **parameters: Tensor) -> None:
        super().__init__()
        self.make, self.given = make, list(parameters)
        for name, value in parameters.items():
            setattr(self, name, nn.Parameter(value))

    def cell(self, like: Any) -> Cell:
        return self.make(*(getattr(self, name) for name in self.given))


def reason(module: nn.Module, x_seq: Tensor) -> str:
    """Return why a module takes the loop, "" if it does not."""
    return explain(MultiStepContainer(module), x_seq)[-1].reason


def results(module: Any, x_seq: Tensor, v: Tensor, backend: str) -> dict[str, Tensor]:
    module.backend = backend
    module.reset()
    leaves = {"x": x_seq.clone().requires_grad_(), "v": v.clone().requires_grad_()}
    module.v = leaves["v"]
    leaves |= dict(module.named_parameters())
    y_seq = module.forward_sequence(leaves["x"])
    found = {"y": y_seq, "last v": module.v}
    weights = torch.linspace(-1, 1, y_seq.numel(), dtype=y_seq.dtype).view(y_seq.shape)
    total = (y_seq * weights).sum() + (module.v * weights[0].square()).sum()
    grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return found | dict(zip(leaves, grads, strict=True))


def assert_as_the_loop(module: Any, x_seq: Tensor, v: Tensor) -> None:
    fused, loop = (results(module, x_seq, v, backend) for backend in ("auto", "torch"))
    for name, value in loop.items():
        torch.testing.assert_close(
            fused[name],
            value,
            rtol=1e-12,
            atol=1e-12,
            equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def pairs() -> tuple[Tensor, Tensor]:
    x, v = torch.cartesian_prod(*[torch.tensor(SPECIAL, dtype=torch.float64)] * 2).unbind(1)
    return x[None, :, None], v[:, None]


class Arithmetic(Cell):
    """The base of cells of one expression, which a class of its own gives."""

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        raise NotImplementedError

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        y = self.of(x, state[0])
        return y, (y * 1.0,)


def expression(function: Any) -> Any:
    return type("Expression", (Arithmetic,), {"of": function})


KNOWN = {
    "maximum": lambda self, x, v: torch.maximum(x, v),
    "minimum": lambda self, x, v: torch.minimum(x, v),
    "clamp to numbers": lambda self, x, v: torch.where(x == x, x, 0.0).clamp(0, 1) * v,
    "clamp from below": lambda self, x, v: torch.clamp(x, min=v),
    "clamp from above": lambda self, x, v: torch.clamp(x, max=v),
    "abs": lambda self, x, v: abs(x - v),
    "relu": lambda self, x, v: torch.relu(x) * v,
    "where": lambda self, x, v: torch.where((x > v) | (v == 0), x, 2.0),
    "not": lambda self, x, v: torch.where(~(x > v) & (x != 1), x, v),
    "div": lambda self, x, v: x / v,
    "pow": lambda self, x, v: x**2 + v**3,
    "flag": lambda self, x, v: (x > v) * v,
    "detached flag": lambda self, x, v: torch.where((x > v).detach() & (v > 0), x, v),
}
#: Flags behave otherwise than numbers in torch, or are refused there, too.
FLAGS = {
    "add": (lambda self, x, v: ((x > 0) + (v > 0)) * x, "kernels do not know torch.add of comparisons"),
    "where": (
        lambda self, x, v: (torch.where(x > v, x > 0, v > 0) + (x > 0)) * x,
        "kernels do not know torch.where of comparisons",
    ),
    "and": (
        lambda self, x, v: torch.where(torch.logical_and(x > 0, v), x, v),
        "kernels know torch.and of comparisons alone",
    ),
    "or": (
        lambda self, x, v: torch.where((x > 0) | True, x, v),
        "kernels know torch.or of comparisons alone",
    ),
    "to": (lambda self, x, v: x.to(v > 0) * v, "a kernel computes in one precision"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_values_and_gradients_at_ties_and_of_nan_are_those_of_torch(name: str) -> None:
    module, (x_seq, v) = Node(expression(KNOWN[name])), pairs()

    assert reason(module, x_seq) == ""
    assert_as_the_loop(module, x_seq, v)


@pytest.mark.parametrize("name", FLAGS)
def test_arithmetic_of_flags_takes_the_loop(name: str) -> None:
    function, why = FLAGS[name]
    module, (x_seq, v) = Node(expression(function)), pairs()

    assert reason(module, x_seq).startswith(why)
    assert_as_the_loop(module, x_seq, v)


def test_a_flag_among_the_parameters_takes_the_loop() -> None:
    class Masked(Arithmetic):
        def __init__(self) -> None:
            self.mask = torch.tensor(True)

        def of(self, x: Tensor, v: Tensor) -> Tensor:
            return torch.where(self.mask, x, v)

    module, (x_seq, v) = Node(Masked), pairs()

    assert reason(module, x_seq) == "kernels know torch.where of comparisons alone"
    assert_as_the_loop(module, x_seq, v)


class Whole(Arithmetic):
    def __init__(self) -> None:
        self.number = torch.tensor(2)

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return self.number * x + v


class Flagged(Arithmetic):
    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return x > 0, state


class Constant(Whole):
    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.number * 1.5, state


@pytest.mark.parametrize("kind", [Whole, Flagged, Constant])
def test_other_dtypes_and_shapes_than_those_of_a_step_take_the_loop(kind: Any) -> None:
    module, x_seq = Node(kind), torch.randn(3, 4, 2)
    y_seq = module.forward_sequence(x_seq)
    module.reset()
    module.backend = "torch"
    expected = module.forward_sequence(x_seq)

    torch.testing.assert_close(y_seq, expected, rtol=0, atol=0)
    module.backend = "auto"
    assert reason(module, x_seq) in (
        "a parameter has another dtype, or does not fit the neurons of a sample",
        "its step gives something of another shape or dtype than x",
    )


def test_a_change_in_place_takes_the_loop() -> None:
    class Late(Arithmetic):
        def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            h = v = x + state[0]
            v -= 1
            return h, (v * 1.0,)  # the output sees the change, too

    module, (x_seq, v) = Node(Late), pairs()

    assert reason(module, x_seq).startswith("kernels know no change in place")
    assert_as_the_loop(module, x_seq, v)


def test_equations_that_ask_whether_a_field_is_a_tensor_take_the_loop() -> None:
    @dataclass(eq=False)
    class Either(Arithmetic):
        w: Any

        def of(self, x: Tensor, v: Tensor) -> Tensor:
            return v + x * (torch.sigmoid(self.w) if isinstance(self.w, Tensor) else self.w)

    module = Node(Either, w=torch.tensor(0.3, dtype=torch.float64))
    x_seq = torch.randn(3, 4, 2, dtype=torch.float64)

    assert reason(module, x_seq).startswith("its equations ask isinstance")
    assert_as_the_loop(module, x_seq, torch.zeros(4, 2, dtype=torch.float64))


def outputs_of(make: Any) -> tuple[float, str]:
    module, x_seq = Node(make), torch.ones(1, 1, 1)
    return module.forward_sequence(x_seq).item(), reason(module, x_seq)


def test_cells_with_slots_take_the_loop() -> None:
    @dataclass(eq=False, slots=True)
    class Slotted(Arithmetic):
        gain: float

        def of(self, x: Tensor, v: Tensor) -> Tensor:
            return self.gain * x

    assert [outputs_of(lambda gain=gain: Slotted(gain)) for gain in (2.0, 3.0)] == [
        (gain, "it has slots: kernels read fields from __dict__") for gain in (2.0, 3.0)
    ]


def test_what_a_class_holds_that_may_change_takes_the_loop() -> None:
    class Held(Arithmetic):
        numbers: ClassVar = {"gain": 2.0}

        def of(self, x: Tensor, v: Tensor) -> Tensor:
            return self.numbers["gain"] * x

    why = "its class holds numbers, which may change: make it a field"
    assert outputs_of(Held) == (2.0, why)
    Held.numbers["gain"] = 3.0
    assert outputs_of(Held) == (3.0, why)


settings = types.ModuleType("settings")
settings.gain = 2.0  # type: ignore[attr-defined]


class Settings:
    gain = 2.0


class OfModule(Arithmetic):
    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return settings.gain * x  # type: ignore[attr-defined]


class OfClass(Arithmetic):
    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return Settings.gain * x


class OfStaticMethod(Arithmetic):
    @staticmethod
    def of(x: Tensor, v: Tensor) -> Tensor:  # type: ignore[override]
        return Settings.gain * x


class OfCachedProperty(Arithmetic):
    @cached_property
    def gain(self) -> float:
        return Settings.gain

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return self.gain * x


class OfImport(Arithmetic):
    def of(self, x: Tensor, v: Tensor) -> Tensor:
        import settings

        return settings.gain * x


class OfGetattr(Arithmetic):
    def __getattr__(self, name: str) -> float:
        return getattr(Settings, name)

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return self.gain * x


class OfDefault(Arithmetic):
    def of(self, x: Tensor, v: Tensor, owner: Any = Settings) -> Tensor:
        return owner.gain * x


@pytest.mark.parametrize(
    "kind", [OfModule, OfClass, OfStaticMethod, OfCachedProperty, OfImport, OfGetattr, OfDefault]
)
def test_what_equations_read_elsewhere_takes_the_loop(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "settings", settings)
    first = outputs_of(kind)
    monkeypatch.setattr(settings, "gain", 3.0)
    monkeypatch.setattr(Settings, "gain", 3.0)

    assert [first[0], outputs_of(kind)[0]] == [2.0, 3.0]
    assert first[1].endswith("which may change: make it a field")


def charge(x: Tensor, v: Tensor) -> Tensor:
    return 2.0 * x + v


class Helped(Arithmetic):
    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return charge(x, v)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
def test_a_cell_of_ones_own_is_compiled_as_a_whole() -> None:
    module, x_seq = Node(Helped), torch.randn(4, 3, 2)
    compiled = torch.compile(module.forward_sequence, backend="aot_eager", fullgraph=True)
    y_seq = compiled(x_seq)
    module.reset()

    torch.testing.assert_close(y_seq, module.forward_sequence(x_seq))


def test_a_helper_function_that_is_defined_anew_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outputs_of(Helped) == (2.0, "")
    monkeypatch.setattr(sys.modules[__name__], "charge", lambda x, v: 3.0 * x + v)
    assert outputs_of(Helped) == (3.0, "")


def test_a_surrogate_function_may_depend_on_training() -> None:
    class Annealed(SurrogateFunction):
        def primitive(self, x: Tensor) -> Tensor:
            return x * 0.5 if self.training else x * 0.25

    node = IFNode(surrogate_function=Annealed(1.0, spiking=False), v_reset=None)
    x_seq = torch.full((1, 1, 1), 3.0)

    assert node.forward_sequence(x_seq).item() == 1.0
    node.eval().reset()
    assert node.forward_sequence(x_seq).item() == 0.5
    assert reason(node, x_seq) == ""


class Previous(Arithmetic):
    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return x - state[0], (x,)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_state_that_is_the_input_outlives_it(backend: str) -> None:
    module, x_seq = Node(Previous), torch.ones(2, 3, 1)
    module.backend = backend
    module.forward_sequence(x_seq)
    assert module(x_seq[0]).tolist() == [[0.0]] * 3

    x_seq.zero_()  # a buffer that is filled anew
    assert module(x_seq[0]).tolist() == [[-1.0]] * 3
    module.reset()
    module.forward_sequence(x_seq.fill_(1))
    x_seq.zero_()
    assert module.v.tolist() == [[1.0]] * 3


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_an_option_that_adds_a_state_cannot_change(backend: str) -> None:
    node = IFNode(refractory=2, backend=backend)
    node.refractory = 0
    message = (
        "^IFNode: its cell has 1 states, the module names 2, v, refractory_left: options that add a state"
    )
    with pytest.raises(ValueError, match=message):
        node.forward_sequence(torch.zeros(2, 1, 1))
    with pytest.raises(ValueError, match=message):
        node(torch.zeros(1, 1))
