"""What equations may do that kernels are derived from: the loop defines the result, and what differs must take it."""

from __future__ import annotations

import gc
import math
import sys
import textwrap
import types
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from support_networks import Node
from torch import Tensor, nn

from snn_core import functional
from snn_core.cells import Cell
from snn_core.functional import explain
from snn_core.kernels.record import equations
from snn_core.layer import ElementWiseRecurrentContainer, MultiStepContainer
from snn_core.neuron import IFNode
from snn_core.surrogate import SurrogateFunction

NAN, INF = float("nan"), float("inf")
#: Every pair of these is an input and a state: ties, zeros of both signs, and what is no number.
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 100.0, INF, -INF, NAN]


def reason(module: nn.Module, x_seq: Tensor) -> str:
    """Return why a module falls back to the loop, "" if it does not."""
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
    torch.testing.assert_close(fused, loop, rtol=1e-12, atol=1e-12, equal_nan=True)


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
    "clamp to numbers": lambda self, x, v: 1 / x.clamp(0.0, 1) * v,
    "clamp between": lambda self, x, v: torch.clamp(x, min=v, max=v + 1),
    "clamp from below": lambda self, x, v: torch.clamp(x, min=v),
    "clamp from above": lambda self, x, v: torch.clamp(x, max=v),
    "abs": lambda self, x, v: abs(x - v),
    "relu": lambda self, x, v: 1 / torch.relu(x) * v,
    "functional.relu": lambda self, x, v: nn.functional.relu(x) * v,
    "sqrt of abs": lambda self, x, v: torch.sqrt(abs(x)) + v,
    "where": lambda self, x, v: torch.where((x > v) | (v == 0), x, 2.0),
    "where, the method": lambda self, x, v: (x > 1).where(x > 0, x) * v,
    "not": lambda self, x, v: torch.where(~(x > v) & (x != 1), x, v),
    "div": lambda self, x, v: x / v,
    "pow": lambda self, x, v: x**2 + v**3 + x.abs() ** 1.7,
    "sin and cos": lambda self, x, v: torch.sin(x) + v.cos(),
    "log1p": lambda self, x, v: torch.log1p(x.abs() * v.abs()),
    "softplus": lambda self, x, v: nn.functional.softplus(30 * x) + nn.functional.softplus(v, beta=2.0),
    "remainder": lambda self, x, v: x % 0.7 + torch.remainder(v, -0.3),
    "floor and round": lambda self, x, v: torch.floor(x) * v + v.round(),
    "flag": lambda self, x, v: (x > v) * v,
    "flag to the dtype": lambda self, x, v: (x > v).to(v.dtype) * 0.3 * v,
    "detached flag": lambda self, x, v: torch.where((x > v).detach() & (v > 0), x, v),
}


def test_a_state_that_nothing_uses_later_has_no_infinite_gradient() -> None:
    class Length(Arithmetic):
        def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            return 0.5 * x, (torch.sqrt(x * x) + torch.log(1 / x) + torch.exp(x + 800),)

    module, x_seq = Node(Length), torch.zeros(3, 2, 1, requires_grad=True)
    module.forward_sequence(x_seq).sum().backward()

    assert reason(module, x_seq.detach()) == ""
    assert x_seq.grad.unique().tolist() == [0.5]


BETWEEN = "write torch.minimum(torch.maximum(x, a), b)"


@pytest.mark.parametrize("name", KNOWN)
def test_values_and_gradients_at_ties_and_of_nan_are_those_of_torch(name: str) -> None:
    module, (x_seq, v) = Node(expression(KNOWN[name])), pairs()

    # Some releases of torch share a gradient among two borders in a way of their own.
    assert reason(module, x_seq) in (
        "",
        "kernels know a clamp between numbers: " + BETWEEN if name == "clamp between" else "",
    )
    assert_as_the_loop(module, x_seq, v)


@dataclass(eq=False)
class Either(Arithmetic):
    w: Any

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return v + x * (torch.sigmoid(self.w) if isinstance(self.w, Tensor) else self.w)


class Late(Arithmetic):
    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        h = v = x + state[0]
        v -= 1
        return h, (v * 1.0,)  # the output sees the change, too


class Whole(Arithmetic):
    def __init__(self) -> None:
        self.number = torch.tensor(2)

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return self.number * x + v


#: Cells that fall back to the loop, and why. Flags behave otherwise than numbers in torch.
LOOPS: dict[str, tuple[Any, str]] = {
    "sum of flags": (
        expression(lambda self, x, v: ((x > 0) + (v > 0)) * x),
        "kernels do not know torch.add of comparisons",
    ),
    "number for a flag": (
        expression(lambda self, x, v: torch.where(torch.logical_and(x > 0, v), x, v)),
        "kernels know torch.and of comparisons alone",
    ),
    "numbers in the default dtype": (
        expression(lambda self, x, v: torch.where(x > v, 0.3, 0.7) * v),
        "torch rounds numbers made of comparisons to torch.float32",
    ),
    "change in place": (Late, "kernels know no change in place"),
    "question for a type": (lambda: Either(torch.tensor(0.3).double()), "its equations ask isinstance"),
    "a field of whole numbers": (Whole, "a parameter has another dtype or device"),
}


@pytest.mark.parametrize("name", LOOPS)
def test_what_kernels_would_compute_otherwise_takes_the_loop(name: str) -> None:
    make, why = LOOPS[name]
    module, (x_seq, v) = Node(make), pairs()

    assert reason(module, x_seq).startswith(why)
    assert_as_the_loop(module, x_seq, v)


class Output(Arithmetic):
    def __init__(self, p: Tensor) -> None:
        self.p = p


@pytest.mark.parametrize("of", [lambda cell, x: x > 0, lambda cell, x: 2 * cell.p], ids=["dtype", "shape"])
def test_an_output_of_another_dtype_or_shape_takes_the_loop(of: Any) -> None:
    kind = type("Given", (Output,), {"step": lambda self, x, state: (of(self, x), state)})
    module, x_seq = Node(kind, p=torch.tensor(0.5)), torch.randn(3, 4, 2)
    y_seq = module.forward_sequence(x_seq)

    assert torch.equal(y_seq, torch.stack([module(x) for x in x_seq]))
    assert reason(module, x_seq) == "its step gives something of another shape or dtype than x"


def outputs_of(make: Any) -> tuple[float, str]:
    module, x_seq = Node(make), torch.ones(1, 1, 1)
    return module.forward_sequence(x_seq).item(), reason(module, x_seq)


class OfMode(Arithmetic):
    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return x + v if torch.is_grad_enabled() else x - v


def test_a_question_for_the_mode_of_torch_takes_the_loop() -> None:
    module, x_seq = Node(OfMode), torch.ones(3, 1, 1)
    assert reason(module, x_seq).startswith("its equations ask is_grad_enabled")
    assert module.forward_sequence(x_seq).flatten().tolist() == [1.0, 2.0, 3.0]
    module.reset()
    with torch.no_grad():
        assert module.forward_sequence(x_seq)[1].item() == 0.0


class OfDtype(Arithmetic):
    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return x + v if x.dtype is torch.float32 else x - v


@pytest.mark.parametrize(("dtype", "second"), [(torch.float32, 2.0), (torch.float64, 0.0)])
def test_equations_may_ask_for_the_dtype_of_a_step(dtype: torch.dtype, second: float) -> None:
    module, x_seq = Node(OfDtype), torch.ones(3, 1, 1, dtype=dtype)
    assert reason(module, x_seq) == ""
    assert module.forward_sequence(x_seq)[1].item() == second


class Doubling(torch.autograd.Function):
    """The identity, whose gradient is doubled."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


doubling = {"by name": Doubling.apply}


def test_a_function_with_a_gradient_of_its_own_takes_the_loop() -> None:
    """However equations get hold of it."""
    for make in (
        expression(lambda self, x, v: Doubling.apply(0.5 * x) + v),
        expression(lambda self, x, v: doubling["by name"](0.5 * x) + v),
    ):
        module, x_seq = Node(make), torch.ones(1, 1, 1, requires_grad=True)
        module.forward_sequence(x_seq).backward()
        assert x_seq.grad.item() == 1.0
        assert "cannot derive an autograd.Function: make it a surrogate function" in reason(module, x_seq)


@dataclass(eq=False)
class OfNumpy(Arithmetic):
    gain: Any

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return (1 + self.gain / 3) * torch.where(x > v, self.gain, x) + v.square() ** self.gain


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_a_number_of_numpy_among_the_fields(kind: Any) -> None:
    x_seq = torch.randn(3, 4, 2, dtype=torch.float64)
    for value in (2.3, 5.7):
        module = Node(lambda value=value: OfNumpy(kind(value)))
        assert reason(module, x_seq) == ""
        assert_as_the_loop(module, x_seq, torch.zeros(4, 2, dtype=torch.float64))


@dataclass(eq=False)
class Scaled(Arithmetic):
    gain: float

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return (1 - 2 / self.gain) ** 2 * x + torch.where(x > self.gain, v, -abs(self.gain - 1) / 3)


@dataclass(eq=False)
class Branching(Scaled):
    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return self.gain * x if self.gain > 1.0 else math.exp(1 / self.gain) * x


@pytest.mark.parametrize("kind", [Scaled, Branching])
def test_a_number_may_change_in_every_step(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record, recorded = equations._record, []
    monkeypatch.setattr(equations, "_record", lambda *args: recorded.append(1) or record(*args))
    x_seq, own = torch.randn(3, 4, 2, dtype=torch.float64), type("Own", (kind,), {})
    for gain in (0.5, 2.0, 3.0):
        assert reason(Node(lambda gain=gain: own(gain)), x_seq) == ""
        assert_as_the_loop(Node(lambda gain=gain: own(gain)), x_seq, torch.zeros(4, 2, dtype=torch.float64))

    assert (len(recorded) == 2) == (kind is Scaled)
    with pytest.raises(ZeroDivisionError):  # of Python, as in the loop
        Node(lambda: own(0.0)).forward_sequence(x_seq)


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


class Unused(Arithmetic):
    def __init__(self, used: Tensor, unused: Tensor) -> None:
        self.used, self.unused = used, unused

    def of(self, x: Tensor, v: Tensor) -> Tensor:
        return self.used * x + v


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_parameter_that_no_equation_uses_has_no_gradient(backend: str) -> None:
    module, x_seq = Node(Unused, used=torch.tensor(0.5), unused=torch.tensor(0.5)), torch.randn(3, 4, 2)
    module.backend = backend
    net = MultiStepContainer(nn.Linear(2, 2), module)
    net(x_seq).sum().backward()
    optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.1)
    optimizer.step()

    assert (module.used.item() != 0.5, module.unused.grad, module.unused.item()) == (True, None, 0.5)
    functional.reset_net(net)
    with pytest.raises(ValueError, match=r"it has a parameter that no equation uses|asks for it"):
        functional.train_steps(net, x_seq, torch.zeros(4, dtype=torch.int64), optimizer)


# When equations are read ---------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has a number for each time that equations are recorded."""
    found: list[int] = []
    real = equations._record
    monkeypatch.setattr(equations, "_record", lambda *args: found.append(1) or real(*args))
    return found


def notebook(source: str, **names: Any) -> dict[str, Any]:
    """Return the names after a cell of a notebook."""
    around = {"Arithmetic": Arithmetic, "torch": torch, "__name__": "__main__"} | names
    exec(textwrap.dedent(source), around)
    return around


@pytest.mark.parametrize(
    "source",
    [
        *["return gain * x", "return (lambda: gain)() * x", "return helper(x)", "return other(x)"],
        *[
            "return lib.helper(x)",
            "return lib.factor * x",
            "return fast(gain)(x)",
            "return Settings.factor * x",
        ],
        *["return default.factor * x", "import lib; return lib.factor * x"],
    ],
)
def test_a_number_around_equations_counts(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lib", lib := types.ModuleType("lib"))
    around = notebook(
        f"""
        class Settings:
            pass

        def helper(x):
            return gain * x

        def fast(gain):
            return lambda x: gain * x

        class Mine(Arithmetic):
            def of(self, x, v, default=given):
                {source}
        """,
        gain=2.0,
        given=lib,
        **{} if source.startswith("import") else {"lib": lib},
    )
    for gain in (2.0, 3.0, np.float64(4.0), 2.0):
        around["gain"] = lib.factor = around["Settings"].factor = gain
        around["other"] = lib.helper = lambda x, gain=gain: gain * x
        assert outputs_of(around["Mine"]) == (gain, "")


def test_after_a_change_of_what_is_not_looked_up_the_class_is_defined_again() -> None:
    """The contract, as docs/howto/my_neuron.md has it: equations are read when their class is first used."""
    source = """
    class Mine(Arithmetic):
        def of(self, x, v):
            return table["gain"] * x
    """
    table = {"gain": 2.0}
    first = notebook(source, table=table)["Mine"]
    assert outputs_of(first) == (2.0, "")
    table["gain"] = 3.0
    assert outputs_of(notebook(source, table=table)["Mine"]) == (3.0, "")


def fed_back(function: Any) -> tuple[float, str]:
    net = MultiStepContainer(ElementWiseRecurrentContainer(IFNode(10.0), function))
    x_seq = torch.ones(2, 1, 1)
    (decision,) = explain(net, x_seq)
    net(x_seq)
    return net[0].sub_module.v.item(), decision.reason


def test_equal_functions_are_read_once_and_different_ones_are_not_confused(recorded: list[int]) -> None:
    def scaled(gain: Any) -> Any:
        return lambda x, y: gain * x + y

    assert fed_back(scaled(2.0)) == (4.0, "")
    count = len(recorded)
    for _ in range(50):
        assert fed_back(scaled(2.0)) == (4.0, "")
    assert len(recorded) == count
    assert fed_back(scaled(3.0)) == (6.0, "")

    def looked_up(table: Any) -> Any:
        return lambda x, y: table["gain"] * x + y

    assert [fed_back(looked_up({"gain": gain}))[0] for gain in (2.0, 3.0)] == [4.0, 6.0]


def test_equal_equations_of_two_classes_are_one_program() -> None:
    first, second = (equations.program_of(expression(lambda self, x, v: 2 * x + v)())[0] for _ in range(2))
    assert first is second


def test_nothing_that_equations_were_read_from_is_kept() -> None:
    def network() -> tuple[nn.Module, weakref.ref[Any]]:
        table = np.full(4, 2.0)

        class Mine(Arithmetic):
            def step(self, x: Tensor, state: Any) -> Any:
                return super().step(table[0] * x, state)

            def of(self, x: Tensor, v: Tensor) -> Tensor:
                return x + v

        module = MultiStepContainer(
            Node(Mine), ElementWiseRecurrentContainer(IFNode(), lambda x, y: table[1] * x + y)
        )
        assert all(decision.fused for decision in explain(module, torch.ones(2, 1, 1)))
        module(torch.ones(2, 1, 1)).sum()
        return module, weakref.ref(table)

    held = [network()[1] for _ in range(3)]
    gc.collect()
    assert [ref() for ref in held] == [None] * 3


class Rooted(SurrogateFunction):
    def derivative(self, x: Tensor) -> Tensor:
        return math.sqrt(self.alpha) * torch.exp(-x.abs())


def test_a_program_for_each_value_is_reported_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equations, "MOST_RECORDED", 8)
    monkeypatch.setattr(equations, "_programs", {})
    neuron, programs = IFNode(surrogate_function=Rooted(1.0)), set()
    for step in range(20):
        neuron.surrogate_function.alpha = 1.0 + step
        (decision,) = explain(MultiStepContainer(neuron), torch.ones(2, 1, 1))
        assert decision.fused and "read anew for each value" in decision.remark
        assert decision.remark in str(decision)
        programs.add(equations.program_of(neuron.cell(torch.ones(1, 1)))[0])
    assert len(equations._programs) <= 8
    assert len(programs) == 1  # for which kernels are compiled once

    class Followed(SurrogateFunction):
        def derivative(self, x: Tensor) -> Tensor:
            return self.root * torch.exp(-x.abs())

    neuron.surrogate_function = Followed(4.0)
    neuron.surrogate_function.root = math.sqrt(4.0)
    assert explain(MultiStepContainer(neuron), torch.ones(2, 1, 1))[0].remark == ""


class Modal(SurrogateFunction):
    def derivative(self, x: Tensor) -> Tensor:
        return x * 0 + (1.0 if self.training else 0.25)


class Called(SurrogateFunction):
    def __call__(self, x: Tensor) -> Tensor:
        return 2 * super().__call__(x)

    def derivative(self, x: Tensor) -> Tensor:
        return torch.exp(-x.abs())


def test_a_surrogate_function_that_reads_whether_it_trains() -> None:
    neuron, gradients = IFNode(surrogate_function=Modal(1.0)), []
    for is_training in (True, False, True):
        x_seq = torch.full((1, 1, 1), 0.4, requires_grad=True)
        neuron.train(is_training).reset()
        neuron.forward_sequence(x_seq).sum().backward()
        gradients.append(x_seq.grad.item())
    assert gradients == [1.0, 0.25, 1.0]


def test_a_surrogate_function_with_a_call_of_its_own_takes_the_loop() -> None:
    neuron, x_seq = IFNode(surrogate_function=Called(1.0)), torch.ones(1, 1, 1)
    assert neuron.forward_sequence(x_seq).item() == 2.0
    assert "does more than its derivative says" in reason(neuron, x_seq)
