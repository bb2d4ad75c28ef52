"""A check of a neuron, a synapse or a container of your own: does a sequence do what single steps do?"""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_core.checks import Like, check_module, check_sequence, takes_sequences
from snn_core.functional import copied, detach_net, explain, reset_net, scan, set_backend, states
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.module import CellModule

__all__ = ["Report", "check_cell"]

#: Differences that count as none: relative to the largest number, and of numbers near zero.
_TOLERANCE, _ROUNDING = 1e-9, 1e-12
#: Relative differences up to which float32 somewhere in fp64 explains them.
_SINGLE = 1e-6


class Report(NamedTuple):
    """What :func:`check_cell` found.

    ``kind`` is the module's class, ``shape`` that of the input. For each place where the module stood, ``runs`` says
    "fused", or why not, and ``differences`` the largest difference, relative to the largest number.
    """

    kind: str
    shape: tuple[int, ...]
    runs: dict[str, str]
    differences: dict[str, float]

    def __str__(self) -> str:
        lines = [f"{self.kind}: single steps, loop and plan agree on a sequence {list(self.shape)}"]
        for place, how in self.runs.items():
            lines.append(f"{place:32} differences up to {self.differences[place]:.0e}, {how}")
        return "\n".join(lines)


def check_cell(module: nn.Module, x_seq: Tensor | Sequence[int] = (20, 3, 5)) -> Report:
    """Check that a module computes the same step by step, which defines it, in the readable loop, and fused.

    A copy of ``module`` in fp64 stands alone, in two recurrent containers, and between two ``nn.Linear``; only alone if
    its output does not have the shape of its input. A sequence runs whole, and after ``reset_net`` in two pieces with
    ``detach_net`` between them. Compared are outputs (spikes bit for bit), all states, and the gradients with
    respect to the input, the first states and every parameter. The equations of a cell must also depend on its fields,
    the input and the states alone. A module that is not fused passes too; the report says why it is not.

    Args:
        module: takes one time step, ``[N, *]``; usually a :class:`~snn_core.module.CellModule`. It stays as it is.
        x_seq: the input ``[T, N, *]`` with T >= 2, or its shape, for normal numbers of mean 1 and deviation 1.5.

    Raises:
        AssertionError: something differs; the message says where, and what.
        TypeError, ValueError: an argument is not what it must be, or ``module`` takes steps of another shape.

    Warns:
        UserWarning: the check proves little, since the output is constant, a gradient zero, or something not finite.
    """
    kind = type(check_module("module", module)).__name__
    if takes_sequences(module):
        raise TypeError(f"module must take one time step, {kind} takes whole sequences")
    if not isinstance(x_seq, Tensor):
        x_seq = 1 + 1.5 * _drawn(torch.empty(torch.Size(x_seq)), 0)
    check_sequence("x_seq", x_seq)
    if len(x_seq) < 2 or x_seq.numel() == 0:
        raise ValueError(f"x_seq must have at least two time steps of a sample, got {list(x_seq.shape)}")
    x_seq = x_seq.detach().double()
    module = copied(module).to(x_seq.device, torch.float64)
    for name in set(getattr(module, "state_names", ())) & module._parameters.keys():
        raise AssertionError(f"{kind}: the state {name} has the name of a parameter: give one another name")
    reset_net(module)
    runs, differences = {}, {}
    alone: dict[str, Tensor] = {}
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            if isinstance(module, CellModule):
                _check_equations(module, x_seq[0])
            else:
                copy.deepcopy(module)(x_seq[0])
        except RuntimeError as error:  # as torch says that sizes do not fit
            size = f"x_seq=({', '.join(map(str, x_seq.shape[:2]))}, 8) for 8 neurons"
            raise ValueError(
                f"{kind} does not take a time step {list(x_seq.shape[1:])}: give check_cell the shape that it takes, "
                f"such as {size} ({error})"
            ) from error
        for place, net in _places(module, x_seq).items():
            where, differences[place] = f"{kind} {place}", 0.0
            expected = _results(where, net, x_seq, "single steps")
            alone = alone or expected
            for way in ("the loop", "the plan"):
                actual = _results(where, net, x_seq, way)
                for name in expected | actual:
                    what = f"{where}: {name} in {way} differs from that in single steps"
                    apart = _difference(what, expected.get(name), actual.get(name))
                    differences[place] = max(differences[place], apart)
            decisions = explain(MultiStepContainer(*net), x_seq)
            runs[place] = next((f"not fused: {one.reason}" for one in decisions if not one.fused), "fused")
    for name, value in alone.items():
        varies = value.min() < value.max() if name == "the output" else value.any() or "gradient" not in name
        if not (varies and value.isfinite().all()) and "second piece" not in name:
            problem = f"{kind}: {name} is {value.max().item():g} everywhere, or not finite"
            warnings.warn(f"{problem}, so that this check says little: try another x_seq", stacklevel=2)
    return Report(kind, tuple(x_seq.shape), runs, differences)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    return a is b or (type(a) is type(b) and not isinstance(a, Tensor) and a == b)


def _check_equations(module: CellModule, x: Tensor) -> None:
    """Refuse a cell whose step is not a pure function of its fields, the input and the states."""
    cell, names = module.cell(Like(x.shape, x.dtype, x.device)), module.states
    name, listed = f"{type(module).__name__}: {type(cell).__name__}", ", ".join(names)
    if not (isinstance(cell.initial, tuple) and len(cell.initial) == len(names)):
        raise AssertionError(f"{name}.initial must be a tuple of a value for each of the states {listed}")
    state = tuple(0.3 * torch.randn_like(x) + torch.as_tensor(one).detach().to(x) for one in cell.initial)

    def values() -> dict[str, Any]:
        fields = {f"the cell's {field}": value for field, value in vars(cell).items()}
        return {"x": x, **dict(zip(names, state, strict=True)), **fields}

    before = {what: one.clone() if isinstance(one, Tensor) else one for what, one in values().items()}
    results: list[list[Any]] = []
    for _ in range(2):
        result = cell.step(x, state)
        is_pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], tuple)
        if not (is_pair and len(result[1]) == len(names)):
            raise AssertionError(f"{name}.step must return y and a tuple of the states {listed}")
        results.append([result[0], *result[1]])
    for what, value in zip(("y", *names), results[0], strict=True):
        if not isinstance(value, Tensor) or (value.shape, value.dtype) != (x.shape, x.dtype):
            wanted = f"{list(x.shape)} of {x.dtype}"
            raise AssertionError(f"{name}.step: {what} must be a tensor as the input is, {wanted}")
    for what, after in values().items():
        if not _same(before.get(what), after):
            raise AssertionError(f"{name}.step changes {what}: make new tensors, and remember in states")
    if not all(map(_same, *results)):
        raise AssertionError(f"{name}.step gives something else the second time, from the same x and states")


def _places(module: nn.Module, x_seq: Tensor) -> dict[str, nn.Sequential]:
    """Return networks with a copy of the module in each; their linear layers let most of the input through."""
    y, size = copy.deepcopy(module)(x_seq[0]), x_seq.shape[-1]
    made: dict[str, dict[str, nn.Module]] = {"alone": {"module": module}}
    if y.shape == x_seq.shape[1:]:
        container = ElementWiseRecurrentContainer(module, lambda x, y: x - 0.5 * y)
        made["in ElementWiseRecurrentContainer"] = {"container": container}
    if y.shape == x_seq.shape[1:] and y.dim() > 1:
        first, last = nn.Linear(size, size), nn.Linear(size, size)
        linear = LinearRecurrentContainer(module, size, size)
        with torch.no_grad():
            for each in (linear.rc, first, last):
                each.weight.mul_(0.5).add_(torch.eye(size, each.in_features))
        made["in LinearRecurrentContainer"] = {"container": linear}
        made["between two nn.Linear"] = {"first": first, "module": module, "last": last}
    places = {place: copy.deepcopy(nn.Sequential(OrderedDict(parts))) for place, parts in made.items()}
    return {place: net.to(x_seq.device, torch.float64) for place, net in places.items()}


def _results(where: str, net: Any, x_seq: Tensor, way: str) -> dict[str, Tensor]:
    """Return what a network gives in one way, on the whole sequence and on its second half after the first."""
    net, where = copy.deepcopy(net), f"{where}, {way}"
    if way == "the loop":
        set_backend(net, "torch")
    whole = _differentiated(net, x_seq, way)
    reset_net(net)
    pieces = []
    for piece in x_seq.tensor_split(2):
        pieces.append(_differentiated(net, piece, way))
        detach_net(net)
    joined = {name: value for name, value in pieces[1].items() if name.startswith("the last")}
    joined["the output"] = torch.cat([piece["the output"] for piece in pieces])
    for name, value in joined.items():
        what = f"{where}: {name} in two pieces after reset_net differs"
        _difference(f"{what} (memory must be registered states, nothing random)", whole.get(name), value)
    return whole | {f"{name} of the second piece": value for name, value in pieces[1].items()}


def _run(net: Any, x_seq: Tensor, way: str) -> Tensor:
    if way == "the plan":
        return scan(x_seq, *net)
    if way == "single steps":
        return torch.stack([net(x) for x in x_seq])
    return scan(x_seq, *net, backend="torch")


def _differentiated(net: nn.Sequential, x_seq: Tensor, way: str) -> dict[str, Tensor]:
    """Return output, last states, and the gradients of a weighted sum of them."""
    leaves = {"the input": x_seq.clone().requires_grad_()}
    leaves |= {f"the first {name}": state.requires_grad_() for name, state in states(net).items()}
    leaves |= {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    values = {"the output": _run(net, leaves["the input"], way)}
    values |= {f"the last {name}": state for name, state in states(net).items()}
    total = 0 * leaves["the input"].sum()
    for k, value in enumerate(values.values()):
        total = total + (value * _drawn(value, k)).sum()
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
    values |= {f"the gradient to {name}": one for name, one in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in values.items()}


def _drawn(like: Tensor, seed: int) -> Tensor:
    """Return normal numbers, the same every time."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64, device="cpu").to(like.device)


def _difference(what: str, expected: Tensor | None, actual: Tensor | None) -> float:
    """Return the largest difference, relative to the largest number; refuse one that is too large."""
    if expected is None or actual is None or expected.shape != actual.shape:
        raise AssertionError(f"{what}, in its shape or in that it is there")
    is_spikes = "the output" in what and bool(((expected == 0) | (expected == 1)).all())
    same = (expected == actual) | (expected.isnan() & actual.isnan())
    largest = (expected - actual).abs().masked_fill(same, 0.0).nan_to_num(torch.inf).max().item()
    scale = expected.nan_to_num().abs().max().item()
    if largest > (0.0 if is_spikes else max(_TOLERANCE * scale, _ROUNDING)):
        is_rounding = 0 < largest < _SINGLE * scale
        why = " (as numbers in another dtype than the input's make it: use like.dtype)" if is_rounding else ""
        raise AssertionError(f"{what} by {largest:.3g}, where the largest number is {scale:.3g}{why}")
    return largest / scale if scale > _ROUNDING else 0.0
