"""A check of a neuron, a synapse or a container of your own: does a sequence do what single steps do?

A module with a state can run in three ways: one time step after the other, which is its definition; as a sequence in
the readable loop; and as a sequence in a fused plan, whose kernels are derived from its cell's equations.
:func:`check_cell` compares them, with gradients, wherever a module may stand.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_core.cells import Cell
from snn_core.checks import Like, check_module, check_number, check_whole
from snn_core.functional import detach_net, explain, reset_net, scan, states
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.state import CellModule, MemoryModule, check_sequence

__all__ = ["Report", "check_cell"]

#: Differences of numbers near zero that count as none.
_ROUNDING = 1e-12
Results = dict[str, Tensor]


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


def check_cell(
    module: nn.Module, x_seq: Tensor | Sequence[int] = (20, 3, 5), tolerance: float = 1e-9
) -> Report:
    """Check that a module with a state computes the same step by step, in the loop, and fused.

    A copy of ``module`` in fp64 is compared in four places: alone, in an ``ElementWiseRecurrentContainer``, in a
    ``LinearRecurrentContainer``, and between two ``nn.Linear``; only alone if its output does not have the shape of its
    input. In each place a sequence runs from the beginning, again after ``reset_net``, from states set by hand, and in
    two pieces with ``detach_net`` between them, as in truncated BPTT. Compared are outputs (spikes bit for bit), all
    states, and the gradients with respect to the input, the first states and every parameter. The equations of a cell
    must also depend on its fields, the input and the states alone.

    ``print(check_cell(module))`` shows what was fused, and why the rest was not. A module in the loop passes too.

    Args:
        module: takes one time step, ``[N, *]``; usually a :class:`~snn_core.state.CellModule`. It stays as it is.
        x_seq: the input ``[T, N, *]`` with T >= 2, or its shape. For a shape, the input is drawn from a normal
            distribution with mean 1 and standard deviation 1.5, with a fixed seed.
        tolerance: largest difference of numbers that are not spikes, relative to the largest of them.

    Raises:
        AssertionError: something differs; the message says where, and what.
        TypeError: ``module`` is not a module for single steps, or ``x_seq`` not a floating-point tensor or a shape.
        ValueError: ``x_seq`` is not ``[T, N, *]`` with T >= 2, or ``tolerance`` is not positive.

    Warns:
        UserWarning: the output is the same number everywhere, a gradient is zero, or something is not finite, so that
            the check proves little. Another ``x_seq`` may help.
    """
    tolerance = check_number("tolerance", tolerance, above=0)
    kind = type(check_module("module", module)).__name__
    if getattr(type(module), "takes_sequences", False):
        raise TypeError(f"module must take one time step, {kind} takes whole sequences")
    x_seq = _input(x_seq)
    module = copy.deepcopy(module).to(x_seq.device, torch.float64)
    reset_net(module)
    runs, differences = {}, {}
    alone: Results = {}
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if isinstance(module, CellModule):
            _check_equations(module, x_seq[0])
        for place, net in _places(module, x_seq).items():
            where = f"{kind} {place}"
            single = _results(where, net, x_seq, "single steps", tolerance)
            alone = alone or single
            differences[place] = max(
                _difference(where, way, single, _results(where, net, x_seq, way, tolerance), tolerance)
                for way in ("the loop", "the plan")
            )
            runs[place] = _how(net, x_seq)
    _warn_of_what_says_nothing(kind, alone)
    return Report(kind, tuple(x_seq.shape), runs, differences)


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


def _input(x_seq: Any) -> Tensor:
    if isinstance(x_seq, Tensor):
        check_sequence(None, x_seq)
        x_seq = x_seq.detach().double()
    else:
        if isinstance(x_seq, str) or not isinstance(x_seq, Sequence):
            raise TypeError(f"x_seq must be a tensor or a shape [T, N, *], got {type(x_seq).__name__}")
        shape = [check_whole("x_seq: a size", size, 1) for size in x_seq]
        if len(shape) < 2:
            raise ValueError(f"x_seq must have shape [T, N, *], got {shape}")
        x_seq = 1 + 1.5 * _drawn(torch.empty(shape), 0)
    if len(x_seq) < 2:
        raise ValueError(f"x_seq must have at least two time steps, got shape {list(x_seq.shape)}")
    return x_seq


def _numbers(cell: Cell) -> dict[str, Any]:
    """Return the numbers and a copy of the tensors that a cell holds, and cells in it."""
    found: dict[str, Any] = {}
    for name, value in vars(cell).items():
        if isinstance(value, Cell):
            found |= {f"{name}.{inner}": one for inner, one in _numbers(value).items()}
        elif isinstance(value, Tensor):
            found[name] = value.detach().clone()
        elif isinstance(value, (bool, int, float, str, type(None))):
            found[name] = value
    return found


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    return type(a) is type(b) and (a == b or a != a)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the name of the first number or tensor that is not what it was, or nothing."""
    names = dict.fromkeys([*before, *after])
    return next((name for name in names if not _equal(before.get(name), after.get(name))), "")


def _check_equations(module: CellModule, x: Tensor) -> None:
    """Refuse a cell that is not a pure function of its fields, the input and as many states as the module names."""
    kind, like = type(module).__name__, Like(x.shape, x.dtype, x.device)
    cell = module.cell(like)
    fields, name = _numbers(cell), f"{kind}: {type(cell).__name__}"
    changed = _changed(fields, _numbers(module.cell(like)))
    _hold(not changed, f"{kind}.cell gives another {changed} each time it is called")
    initial, states = cell.initial, module.states
    _hold(isinstance(initial, tuple), f"{name}.initial must be a tuple, got {type(initial).__name__}")
    _hold(
        len(initial) == len(states),
        f"{name}.initial has {len(initial)} values, {kind}.states names {len(states)}: {', '.join(states)}",
    )
    first = [0.3 * torch.randn_like(x) + torch.as_tensor(one).detach().to(x) for one in initial]
    given = {"x": x, **dict(zip(states, first, strict=True))}
    kept = {key: value.clone() for key, value in given.items()}
    found = [_stepped(name, cell, x, first) for _ in range(2)]
    changed = _changed(kept, given)
    _hold(not changed, f"{name}.step changes {changed} in place: it must make new tensors")
    changed = _changed(fields, _numbers(cell))
    _hold(not changed, f"{name}.step changes the cell's {changed}: what it remembers must be a state")
    _hold(
        all(map(_equal, *found)),
        f"{name}.step gives something else the second time: it may depend on its fields, x and the states only",
    )


def _stepped(name: str, cell: Cell, x: Tensor, first: Sequence[Tensor]) -> list[Tensor]:
    """Return output and states of one step."""
    found = cell.step(x, tuple(first))
    is_pair = isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], tuple)
    _hold(is_pair, f"{name}.step must return y and a tuple of states")
    y, after = found
    _hold(len(after) == len(first), f"{name}.step returns {len(after)} states, initial has {len(first)}")
    for what, value in (("y", y), *((f"state {k}", state) for k, state in enumerate(after))):
        _hold(isinstance(value, Tensor), f"{name}.step: {what} must be a tensor, got {type(value).__name__}")
        _hold(
            value.shape == x.shape and value.dtype == x.dtype,
            f"{name}.step: {what} must be as the input, {list(x.shape)} of {x.dtype}, got {list(value.shape)} of "
            f"{value.dtype}",
        )
    return [y.detach().clone(), *(state.detach().clone() for state in after)]


def _places(module: nn.Module, x_seq: Tensor) -> dict[str, nn.ModuleDict]:
    """Return networks with a copy of the module in each; their linear layers let most of the input through."""
    with torch.no_grad():
        y = copy.deepcopy(module)(x_seq[0])
    _hold(isinstance(y, Tensor), f"{type(module).__name__} must return a tensor, got {type(y).__name__}")
    made: dict[str, dict[str, nn.Module]] = {"alone": {"module": module}}
    if y.shape == x_seq.shape[1:]:
        container = ElementWiseRecurrentContainer(module, lambda x, y: x - 0.5 * y)
        made["in ElementWiseRecurrentContainer"] = {"container": container}
    if y.shape == x_seq.shape[1:] and y.dim() > 1:
        size = y.shape[-1]
        linear = LinearRecurrentContainer(module, size, size)
        first, last = nn.Linear(size, size), nn.Linear(size, size)
        with torch.no_grad():
            for each in (linear.rc, first, last):
                each.weight.mul_(0.5).add_(torch.eye(size, each.in_features))
        made["in LinearRecurrentContainer"] = {"container": linear}
        made["between two nn.Linear"] = {"first": first, "module": module, "last": last}
    places = {place: copy.deepcopy(nn.ModuleDict(parts)) for place, parts in made.items()}
    return {place: net.to(x_seq.device, torch.float64) for place, net in places.items()}


def _run(net: nn.ModuleDict, x_seq: Tensor, way: str) -> Tensor:
    if way == "the plan":
        return scan(x_seq, *net.values())
    if way == "single steps":
        return torch.stack([nn.Sequential(*net.values())(x) for x in x_seq])
    part: Any
    for part in net.modules():
        if hasattr(part, "backend"):
            part.backend = "torch"
    for module in net.values():
        if isinstance(module, MemoryModule):
            x_seq = module.forward_sequence(x_seq)
        else:
            x_seq = torch.stack([module(x) for x in x_seq])
    return x_seq


def _drawn(like: Tensor, seed: int) -> Tensor:
    """Return normal numbers, the same every time."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64, device="cpu")
    return drawn.to(like.device)


def _differentiated(
    net: nn.ModuleDict, x_seq: Tensor, way: str, first: Mapping[str, Tensor] | None = None
) -> Results:
    """Return output, last states, and the gradients of a weighted sum of them."""
    x_seq = x_seq.clone().requires_grad_()
    found = {"the output": _run(net, x_seq, way)}
    found |= {f"the last {name}": state for name, state in states(net).items()}
    total = torch.stack(
        [(value * _drawn(value, seed)).sum() for seed, value in enumerate(found.values())]
    ).sum()
    leaves = {"the input": x_seq} | {f"the first {name}": state for name, state in (first or {}).items()}
    leaves |= {name: one for name, one in net.named_parameters() if one.requires_grad}
    gradients = [torch.zeros_like(leaf) for leaf in leaves.values()]
    if total.requires_grad:
        wanted = list(leaves.values())
        gradients = list(torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True))
    found |= {f"the gradient to {name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in found.items()}


def _results(where: str, net: nn.ModuleDict, x_seq: Tensor, way: str, tolerance: float) -> Results:
    """Return what a network gives in one way: from the beginning, from states set by hand, and in two pieces.

    Names of results say all that a message needs.
    """
    net, where = copy.deepcopy(net), f"{where}, {way}"
    begun = _differentiated(net, x_seq, way)
    first = {name: state.detach().clone() for name, state in states(net).items()}
    reset_net(net)
    changed = _changed(begun, _differentiated(net, x_seq, way))
    _hold(
        not changed,
        f"{where}: {changed} is not the same after reset_net: something is remembered that is not a registered state, "
        "or is drawn at random",
    )
    reset_net(net)
    for name, state in first.items():  # reached ones, moved a little
        first[name] = (state + 0.1 * _drawn(state, 2)).requires_grad_()
        path, _, own = name.rpartition(".")
        setattr(net.get_submodule(path), own, first[name])
    by_hand = _differentiated(net, x_seq, way, first)
    reset_net(net)
    pieces = []
    for piece in x_seq.split([len(x_seq) // 2, len(x_seq) - len(x_seq) // 2]):
        pieces.append(_differentiated(net, piece, way))
        detach_net(net)
    joined = {"the output": torch.cat([piece["the output"] for piece in pieces])}
    joined |= {name: value for name, value in pieces[1].items() if name.startswith("the last ")}
    for name, value in joined.items():
        _compare(f"{where}: in two pieces {name}", begun.get(name), value, "in one", tolerance)
    found = {f"from the beginning, {name}": value for name, value in begun.items()}
    found |= {f"from states set by hand, {name}": value for name, value in by_hand.items()}
    for k, piece in enumerate(pieces):
        found |= {f"in piece {k + 1} of 2, {name}": value for name, value in piece.items()}
    return found


def _difference(where: str, way: str, single: Results, other: Results, tolerance: float) -> float:
    """Return the largest relative difference; refuse the first that is too large."""
    return max(
        _compare(f"{where}: {name} in {way}", single.get(name), other.get(name), "in single steps", tolerance)
        for name in dict.fromkeys([*single, *other])
    )


def _compare(what: str, a: Tensor | None, b: Tensor | None, than: str, tolerance: float) -> float:
    """Return the difference of two results, relative to the largest number; refuse one that is too large."""
    if a is None or b is None:
        raise AssertionError(f"{what}: it is missing {than if a is None else 'there'}")
    _hold(a.shape == b.shape, f"{what} has shape {list(b.shape)}, {than} {list(a.shape)}")
    apart = (a - b).abs().masked_fill((a == b) | (a.isnan() & b.isnan()), 0.0).nan_to_num(torch.inf)
    largest, scale = (value.max().item() if value.numel() else 0.0 for value in (apart, a.nan_to_num().abs()))
    allowed = 0.0 if _is_spikes(what, a) else max(tolerance * scale, _ROUNDING)
    if largest > allowed:
        at = [index.item() for index in torch.unravel_index(apart.argmax(), apart.shape)]
        raise AssertionError(
            f"{what} differs from that {than} by {largest:.3g} at {at}, where the largest number is {scale:.3g}"
        )
    return largest / scale if scale > _ROUNDING else 0.0


def _is_spikes(what: str, values: Tensor) -> bool:
    return "the output" in what and bool(((values == 0) | (values == 1)).all())


def _warn_of_what_says_nothing(kind: str, results: Results) -> None:
    """Warn where a comparison cannot fail: nothing spikes, or no gradient arrives."""
    for name, value in results.items():
        place, _, what = name.partition(", ")
        if place != "from the beginning" or value.numel() == 0:
            continue
        problem = ""
        if not value.isfinite().all():
            problem = "is not finite"
        elif what == "the output" and value.min() == value.max():
            problem = f"is {value.max().item():g} everywhere"
        elif what.startswith("the gradient") and not value.any():
            problem = "is zero everywhere"
        if problem:
            warnings.warn(
                f"{kind}: {what} {problem}, so that this check says little: try another x_seq", stacklevel=3
            )


def _how(net: nn.ModuleDict, x_seq: Tensor) -> str:
    """Return "fused", or why a part of a network is not."""
    decisions = explain(MultiStepContainer(*net.values()), x_seq)
    return next((f"not fused: {one.reason}" for one in decisions if not one.fused), "fused")
