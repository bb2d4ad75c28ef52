"""A cell's equations as a program of scalar statements, and their derivative.

:func:`program_of` calls a cell's ``step`` once with symbols instead of tensors. What it does with them is recorded, one
statement for each operation, and differentiated in reverse. The result is a :class:`Program`, from which
``cpu/rows.py`` makes the functions of the CPU kernels and ``cuda/launch.py`` those for CUDA. So a cell, a user's own
included, is written once, in torch.

``symbols.py`` has the statements and their derivatives; ``purity.py`` says which equations may be recorded. Numbers of
the cell become constants in the order in which they are met, so that cells that differ only in numbers share a program.
"""

from __future__ import annotations

import copy
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from snn_core.cells import Cell, fields, parameters_of
from snn_core.checks import does_only_forward
from snn_core.kernels.record.purity import PLAIN, class_key, is_pure
from snn_core.kernels.record.symbols import NotScalarError, Number, Program, Symbol, Tape, parse, program
from snn_core.surrogate import SurrogateFunction

#: Chapter 09 shows how equations are recorded with these.
__all__ = ["Symbol", "Tape", "parameters_of", "parse", "program_of"]


class Recorded(NamedTuple):
    """A cell's program, the numbers that stand for its constants, and how they follow from the cell's own numbers."""

    program: Program
    constants: tuple[float, ...]
    rule: tuple[float | Number, ...] | None = None

    def constants_of(self, cell: Cell) -> tuple[float, ...] | None:
        """Return the constants of a cell that differs in numbers alone; None if another program may stand for it."""
        if self.rule is None:
            return None
        with suppress(ArithmeticError, TypeError):
            return _values(self.rule, list(_numbers_of(cell)))
        return None


class _Spike:
    """A surrogate function for symbols."""

    def __init__(self, surrogate: SurrogateFunction) -> None:
        self.surrogate = surrogate

    def __call__(self, x: Symbol) -> Symbol:
        if not self.surrogate.spiking:
            return self.surrogate.primitive(x)  # type: ignore[arg-type, return-value]
        return x.tape.record("spike", x, rule=self.surrogate.derivative)


def _known_surrogate(value: Any) -> bool:
    """Say whether a surrogate function is what its class says, without tensors."""
    return (
        isinstance(value, SurrogateFunction)
        and type(value).forward is SurrogateFunction.forward
        and type(value).__call__ is nn.Module.__call__
        and does_only_forward(value)
        and not vars(value).keys() & {"derivative", "primitive"}
        and not (value._parameters or value._buffers or value._modules)
    )


_MODULE = frozenset(vars(nn.Module())) - {"training"}


def _key(name: str, value: Any) -> Any:
    """Return what stands for a field: equal for fields that give equal programs, whatever number one is.

    Raises:
        NotScalarError: the field is something that a program cannot hold.
    """
    if isinstance(value, Tensor):
        return Tensor
    if isinstance(value, float):
        return float
    if isinstance(value, PLAIN):
        return type(value), value
    if is_pure(value):
        return value, getattr(value, "__code__", None)  # which an editor's reload replaces in place
    if isinstance(value, Cell):
        return class_key(type(value))
    if not _known_surrogate(value):
        raise NotScalarError(f"its {name} is not one that kernels know")
    own = [(key, one) for key, one in vars(value).items() if key not in _MODULE]
    if not all(isinstance(one, PLAIN) for _, one in own):
        raise NotScalarError(f"its {name} holds something else than numbers")
    return class_key(type(value)), *[(key, _key(key, one)) for key, one in own]


def program_of(cell: Cell, dtype: torch.dtype | None = None) -> Recorded | str:
    """Return the program of a cell's equations, or why kernels do not know them, for steps of this dtype if given."""
    found = _known(cell)
    if isinstance(found, str):
        return found
    recorded, in_default_dtype = found
    if in_default_dtype and dtype not in (None, torch.get_default_dtype()):
        return f"torch rounds numbers made of comparisons to {torch.get_default_dtype()}: write flag.to(x)"
    return recorded


def _known(cell: Cell) -> tuple[Recorded, bool] | str:
    """Return a cell's program, and whether torch computes some of it in its default dtype; or why there is none."""
    own = list(fields(cell))
    try:
        key = (class_key(type(cell)), *[(name, _key(name, value)) for _, name, value in own])
    except NotScalarError as error:
        return str(error)
    if is_compiling():  # a compiler would watch what is kept here
        return _recording(cell)
    numbers = list(_numbers_of(cell))
    found = _kept(key, lambda: _recording(cell, numbers))
    if not isinstance(found, str):
        constants = found[0].constants_of(cell)
        if constants is not None:
            return found[0]._replace(constants=constants), found[1]
    # 0.0 and -0.0 are equal and divide to other infinities.
    return _kept((key, *[number.hex() for number in numbers]), lambda: _recording(cell))


def _kept(key: Any, make: Callable[[], Any]) -> Any:
    if key not in _recorded:
        if len(_recorded) >= MOST_RECORDED:
            _recorded.pop(next(iter(_recorded)), None)
        _recorded[key] = make()
    return _recorded[key]


_recorded: dict[Any, tuple[Recorded, bool] | str] = {}
#: Cells of which programs are kept.
MOST_RECORDED = 1024


def _recording(cell: Cell, numbers: Sequence[float] | None = None) -> tuple[Recorded, bool] | str:
    """Return what :func:`_known` does, anew; if its numbers are given, with constants that follow from them."""
    try:
        given = None if numbers is None else (Number(operator.itemgetter(k)) for k in itertools.count())
        parts, rule, in_default_dtype = _record(cell, given)
        constants = _values(rule, numbers or ())
        again, values, _ = _record(cell)
        if again != parts or [one.hex() for one in values] != [one.hex() for one in constants]:
            return "its equations give something else each time"
        recorded = Recorded(program(*parts), constants, None if numbers is None else rule)
        return recorded.program.misses or (recorded, in_default_dtype)
    except NotScalarError as error:
        return str(error)
    except Exception as error:  # equations are anybody's
        return f"its equations fail without tensors: {error}"


def _values(constants: Sequence[float | Number], numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple([float(one.of(numbers)) if isinstance(one, Number) else one for one in constants])


def _numbers_of(cell: Cell) -> Iterator[float]:
    """Yield the numbers of a cell, of those within and of their surrogate functions, as they are replaced."""
    for value in vars(cell).values():
        if isinstance(value, Cell):
            yield from _numbers_of(value)
        elif isinstance(value, SurrogateFunction):
            yield from [one for one in vars(value).values() if isinstance(one, float)]
        elif isinstance(value, float):
            yield value


def _with_symbols(cell: Cell, tape: Tape, names: Iterator[int], numbers: Iterator[Number] | None) -> Cell:
    """Return a copy of a cell with symbols for its tensors, and with these for its numbers."""
    made = copy.copy(cell)
    for name, value in vars(cell).items():
        if isinstance(value, Cell):
            made.__dict__[name] = _with_symbols(value, tape, names, numbers)
        elif isinstance(value, Tensor):
            made.__dict__[name] = Symbol(tape, f"p{next(names)}")
        elif isinstance(value, SurrogateFunction):
            if numbers is not None:
                value = copy.copy(value)
                own = [key for key, one in vars(value).items() if isinstance(one, float)]
                value.__dict__.update(zip(own, numbers, strict=False))
            made.__dict__[name] = _Spike(value)
        elif isinstance(value, float) and numbers is not None:
            made.__dict__[name] = next(numbers)
    return made


@torch.enable_grad()
def _record(cell: Cell, numbers: Iterator[Number] | None = None) -> tuple[Any, tuple[Any, ...], bool]:
    """Return what makes a cell's program, see ``symbols.program``, its constants, and see :func:`_known`."""
    tape = Tape()
    count = len(cell.initial)
    x, states = Symbol(tape, "x"), tuple(Symbol(tape, f"v{k}") for k in range(count))
    parameters = [Symbol(tape, f"p{k}") for k in range(len(parameters_of(cell)))]
    made = _with_symbols(cell, tape, iter(range(len(parameters))), numbers)
    before = list(fields(made))
    y, after = made.step(x, states)  # type: ignore[arg-type]
    for owner, name, value in fields(made):
        is_known = any(owner is one and name == known and value is held for one, known, held in before)
        if not (is_known or isinstance(getattr(type(owner), name, None), cached_property)):
            raise NotScalarError(f"its step changes {name}, which is no state")
    results = [tape.symbol(one) for one in (y, *after)]
    if len(results) != 1 + count:
        raise NotScalarError(f"its step gives {len(results) - 1} states, its initial has {count}")
    if not all(map(tape.is_of_step, results)):
        raise NotScalarError("its step gives something of another shape or dtype than x")
    forward = tape.needed(results)
    seeds = zip(
        results, (Symbol(tape, name) for name in ("g_y", *(f"g_v{k}" for k in range(count)))), strict=True
    )
    gradients = tape.differentiate(list(seeds), [x, *states, *parameters])
    parts = (
        (count, len(parameters), len(tape.constants)), forward, tuple(one.name for one in results),
        tape.needed(gradients), tuple(one.name for one in gradients),
    )  # fmt: skip
    return parts, tuple(tape.constants), bool(tape.apart)
