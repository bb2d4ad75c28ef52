"""Networks that nobody thought of, over several calls: what a user changes meanwhile counts, fused as in the loop.

Each is made twice, one runs in the loop. Between the calls both are changed alike: numbers, flags and weights are
set, modules are exchanged, the dtype moves, batches of two shapes alternate, states are set, kept, detached or reset,
lengths and records are asked for, gradients are switched off.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from support import count, tries
from torch import Tensor, nn

from snn_core import functional, surrogate
from snn_core.cells import Cell
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.module import CellModule, MemoryModule
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.more.neuron import AdaptiveLIFNode, CUBALIFNode
from snn_core.more.synapse import DoubleExponentialSynapse
from snn_core.neuron import IFNode, LIFNode, LINode, MultiStepIFNode, MultiStepLIFNode, ParametricLIFNode
from snn_core.synapse import LowPassSynapse

J = 4
Draw = random.Random


@dataclass(eq=False)
class Threshold(Cell):
    """A neuron of one's own."""

    beta: Any
    decay: float
    surrogate_function: Any

    @property
    def initial(self) -> tuple[float, ...]:
        return 0.0, 0.2

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        v, a = state
        h = self.decay * v + x
        s = self.surrogate_function(h - 0.5 - self.beta * a)
        return s, (h - s, 0.9 * a + s)


class Own(CellModule):
    states = ("v", "a")

    def __init__(self) -> None:
        super().__init__()
        self.beta, self.decay = nn.Parameter(torch.tensor(0.3)), 0.7
        self.surrogate_function = surrogate.ATan()

    def cell(self, like: Any) -> Cell:
        return Threshold(self.beta.to(like.dtype), self.decay, self.surrogate_function)


def numbers(draw: Draw, low: float, high: float, kinds: str = "1np") -> Any:
    """Return a number, one for each neuron, or one that is trained."""
    kind, value = draw.choice(kinds), draw.uniform(low, high)
    if kind == "1":
        return value
    several = [draw.uniform(low, high) for _ in range(J)]
    return several if kind == "n" else nn.Parameter(torch.tensor(draw.choice([value, several])))


def neuron(draw: Draw) -> Any:
    options: dict[str, Any] = {"v_threshold": numbers(draw, 0.3, 1.0)}
    options |= {"v_reset": draw.choice([0.0, -0.3, None, "none"])}
    options |= {"surrogate_function": draw.choice([surrogate.ATan, surrogate.Sigmoid])(draw.uniform(0.5, 4))}
    options |= {"detach_reset": draw.random() < 0.5}
    tau = numbers(draw, 1.5, 5)
    return draw.choice([
        lambda: IFNode(**options, refractory=draw.choice([0, 2])), lambda: LIFNode(tau, draw.random() < 0.5, **options),
        lambda: ParametricLIFNode(2.0, **options), lambda: AdaptiveLIFNode(tau, **options),
        lambda: CUBALIFNode(tau, **options), lambda: LINode(tau), Own,
    ])()  # fmt: skip


def layer(draw: Draw) -> nn.Module:
    return draw.choice([
        lambda: nn.Linear(J, J, bias=draw.random() < 0.7), lambda: neuron(draw), lambda: neuron(draw),
        lambda: SynapseFilter(draw.uniform(1.5, 5), draw.random() < 0.5),
        lambda: LowPassSynapse(numbers(draw, 1.5, 5)), lambda: DoubleExponentialSynapse(2.0, 4.0, True),
        lambda: ElementWiseRecurrentContainer(neuron(draw), draw.choice([torch.add, lambda x, y: x - 0.5 * y])),
        lambda: LinearRecurrentContainer(neuron(draw), J, J, bias=draw.random() < 0.5),
        lambda: LinearRecurrentContainer(nn.Sequential(neuron(draw), SynapseFilter(3.0)), J, J),
        lambda: DelayedRecurrentContainer(neuron(draw), J, J, 3), lambda: MultiStepIFNode(0.5),
        lambda: MultiStepLIFNode(3.0, v_threshold=0.4), lambda: nn.Sequential(neuron(draw), nn.Linear(J, J)),
        lambda: SeqToANNContainer(nn.Linear(J, J), nn.Tanh()), lambda: MultiStepContainer(neuron(draw), nn.Tanh()),
    ])()  # fmt: skip


# What is done between two calls --------------------------------------------------------------------------------------


def parts(net: nn.Module, kind: Any) -> list[Any]:
    return [part for part in net.modules() if isinstance(part, kind)]


def set_number(net: Any, draw: Draw) -> None:
    low = {"v_threshold": 0.3, "tau": 1.5, "beta": 0.1, "tau_adaptation": 2.0, "decay": 0.1, "tau_decay": 3.0}
    found = [(part, name) for part in parts(net, CellModule) for name in low if hasattr(part, name)]
    if found:
        part, name = draw.choice(found)
        value = low[name] + draw.random()
        if isinstance(getattr(part, name), nn.Parameter) and type(part) is Own:
            part.beta.data.fill_(value)
        else:
            setattr(part, name, value)


def set_flag(net: Any, draw: Draw) -> None:
    names = "detach_reset", "decay_input"
    found = [(part, name) for part in parts(net, CellModule) for name in names if hasattr(part, name)]
    if found:
        part, name = draw.choice(found)
        setattr(part, name, not getattr(part, name))


def set_alpha(net: Any, draw: Draw) -> None:
    if found := parts(net, surrogate.SurrogateFunction):
        draw.choice(found).alpha = draw.uniform(0.5, 4)


def exchange_surrogate(net: Any, draw: Draw) -> None:
    if found := [part for part in net.modules() if hasattr(part, "surrogate_function")]:
        draw.choice(found).surrogate_function = surrogate.Sigmoid(draw.uniform(1, 4))


def exchange_neuron(net: Any, draw: Draw) -> None:
    kinds = LinearRecurrentContainer, ElementWiseRecurrentContainer
    if found := [part for part in parts(net, kinds) if not isinstance(part.sub_module, nn.Sequential)]:
        part = draw.choice(found)
        part.sub_module = neuron(draw).to(next(net.parameters()).dtype)


def change_weight(net: Any, draw: Draw) -> None:
    linear = draw.choice(parts(net, nn.Linear))
    generator = torch.Generator().manual_seed(draw.randrange(99))
    weight = torch.randn(linear.weight.shape, generator=generator).to(linear.weight)
    draw.choice([
        lambda: linear.weight.data.copy_(weight), lambda: setattr(linear, "weight", nn.Parameter(weight)),
        lambda: setattr(linear.weight, "data", weight.t().contiguous().t()), lambda: linear.requires_grad_(False),
        lambda: setattr(linear, "bias", None), lambda: linear.requires_grad_(True),
    ])()  # fmt: skip


def set_state(net: Any, draw: Draw) -> None:
    found = [(part, name) for part in parts(net, MemoryModule) for name in part.state_names]
    found = [(part, name) for part, name in found if getattr(part, name) is not None]
    if found:
        part, name = draw.choice(found)
        before = getattr(part, name)
        setattr(part, name, (before.detach() * draw.random()).requires_grad_(draw.random() < 0.5))


def move(net: Any, draw: Draw) -> None:
    functional.reset_net(net.to(draw.choice([torch.float64, torch.float64, torch.float32])))


def record(net: Any, draw: Draw) -> None:
    functional.reset_net(net)
    if found := [part for part in parts(net, MemoryModule) if part.recordable]:
        part = draw.choice(found)
        part.record(*[name for name in part.recordable if draw.random() < 0.5])


CHANGES: list[Callable[[Any, Draw], None]] = [
    set_number, set_flag, set_alpha, exchange_surrogate, exchange_neuron, change_weight, set_state, move, record,
    lambda net, draw: functional.reset_net(net), lambda net, draw: functional.detach_net(net),
]  # fmt: skip


# Calls ---------------------------------------------------------------------------------------------------------------


def call(net: Any, draw: Draw, batch: int, nudge: float) -> list[Tensor]:
    """Return outputs, states, records and, of some calls, gradients."""
    has_lengths, has_gradient = draw.random() < 0.25, draw.random() < 0.7
    has_lengths &= not any(part._records for part in parts(net, MemoryModule))  # padding is recorded, too
    T, dtype = draw.randint(1, 6), next(net.parameters()).dtype
    if any(state.shape[0] != batch for state in functional.states(net).values()):
        functional.reset_net(net)
    generator = torch.Generator().manual_seed(draw.randrange(1 << 30))
    x_seq = (
        torch.randn(T, batch, J, dtype=torch.float64, generator=generator).mul(1.5 * (1 + nudge)).to(dtype)
    )
    lengths = [draw.randint(1, T) for _ in range(batch)] if has_lengths else None
    x_seq.requires_grad_(has_gradient)
    with torch.set_grad_enabled(has_gradient):
        y_seq = functional.scan(x_seq, *net, lengths=lengths)
    found = [y_seq, *functional.states(net).values()]
    found += [
        torch.cat(steps) for part in parts(net, MemoryModule) for steps in part._records.values() if steps
    ]
    needs = [one for one in found if one.requires_grad]
    if needs:
        factors = [torch.randn(one.shape, dtype=torch.float64, generator=generator).to(one) for one in needs]
        total = sum((one * factor).sum() for one, factor in zip(needs, factors, strict=True))
        net.zero_grad()
        total.backward()
        found += [weight.grad for weight in (x_seq, *net.parameters()) if weight.grad is not None]
        functional.detach_net(net)
    return [one.detach().clone() for one in found] + [
        torch.tensor([1.0 * one.requires_grad for one in found])
    ]


def run(seed: int, calls: int, backend: str, nudge: float = 0.0) -> list[list[Any]]:
    """Return what each call gave, or the kind of error that it raised."""
    draw = Draw(seed)
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(J, J), *(layer(draw) for _ in range(draw.randint(1, 4)))).double()
    with torch.no_grad():
        for linear in parts(net, nn.Linear):
            linear.weight.mul_(2)
    found = []
    for _ in range(calls):
        functional.set_backend(net, backend)
        own = Draw(draw.random())
        try:
            found.append(call(net, own, own.choice([2, 3]), nudge))
        except (TypeError, ValueError, RuntimeError) as error:
            found.append([type(error)])
            functional.reset_net(net)
        for _ in range(draw.randint(0, 3)):
            draw.choice(CHANGES)(net, draw)
    return found


def first_difference(found: list[list[Any]], expected: list[list[Any]]) -> str:
    for k, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if type in map(type, ours + theirs):
            if ours != theirs:
                return f"call {k}: {ours} instead of {theirs}"
            continue
        if [one.shape for one in ours] != [one.shape for one in theirs]:
            return f"call {k}: other results"
        for n, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            close = (
                {"rtol": 1e-7, "atol": 1e-9} if one.dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-4}
            )
            if not torch.allclose(one, other, **close, equal_nan=True):
                return f"call {k}, result {n}: {one} instead of {other}"
    return ""


def check(seed: int) -> None:
    expected, found = (run(seed, 5, backend) for backend in ("torch", "auto"))
    difference = first_difference(found, expected)
    if difference:
        # A spike that hangs on the last bit is nobody's fault: nothing is said of what rounding alone changes.
        is_narrow = any(
            getattr(one, "dtype", 0) == torch.float32 for results in expected for one in results[:-1]
        )
        assume(not first_difference(run(seed, 5, "torch", nudge=3e-7 if is_narrow else 1e-13), expected))
    assert not difference


@tries(count(fast=150, full=20_000))
@given(st.integers(0, 1 << 30))
def test_random_networks_over_several_calls(seed: int) -> None:
    check(seed)
