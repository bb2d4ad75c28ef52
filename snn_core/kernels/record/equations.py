"""A cell's equations as a program of scalar statements, and their derivative.

:func:`program_of` calls a cell's ``step`` once with symbols instead of tensors. What it does with them is recorded, one
statement for each operation, and differentiated in reverse. The result is a :class:`Program`, from which
``cpu/rows.py`` makes the functions of the CPU kernels and ``cuda/launch.py`` those for CUDA. So a cell, a user's own
included, is written once, in torch.

``symbols.py`` has the statements and their derivatives; ``sources.py`` says by what equations are found again. Numbers
of the cell become constants in the order in which they are met, so that cells that differ only in numbers share a
program.
"""

from __future__ import annotations

import copy
import itertools
import operator
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snn_core.cells import Cell
from snn_core.kernels.limits import MOST_CONSTANTS, MOST_PARAMETERS, MOST_STATES
from snn_core.kernels.record.sources import PLAIN, is_fixed, is_plain, source_of
from snn_core.kernels.record.symbols import OPERATIONS, NotScalarError, Number, Statement, Symbol, Tape
from snn_core.surrogate import SurrogateFunction

__all__ = [
    "OPERATIONS", "Code", "Program", "Symbol", "Tape", "joined", "joined_numbers", "pack", "program_of", "unpacked",
]  # fmt: skip


class Code(NamedTuple):
    """What one neuron computes in one time step, and its gradients: all that kernels are compiled from.

    ``outputs`` are the names of y and of the states after the step; ``gradients`` those of the gradients to x, to the
    states before the step and to the parameters. ``backward`` holds all that these need.
    """

    states: int
    parameters: int
    constants: int
    forward: tuple[Statement, ...]
    outputs: tuple[str, ...]
    backward: tuple[Statement, ...]
    gradients: tuple[str, ...]

    def then(self, second: Code) -> Code:
        """Return the code of two cells of which the second takes the output of the first."""
        results = [int(line.result[1:]) for line in self.forward + self.backward]
        shift = {"v": self.states, "p": self.parameters, "c": self.constants}
        shift["r"] = shift["f"] = 1 + max(results, default=-1)

        def of_second(name: str) -> str:
            letters = name.rstrip("0123456789")
            if name == "x":
                return self.outputs[0]
            return name if letters == name else f"{letters}{int(name[len(letters) :]) + shift[letters[-1]]}"

        def of_first(name: str) -> str:
            return g_x if name == "g_y" else name

        def renamed(lines: Sequence[Statement], by: Callable[[str], str]) -> list[Statement]:
            return [Statement(by(one.result), one.operation, tuple(map(by, one.arguments))) for one in lines]

        y, *after = map(of_second, second.outputs)
        g_x, *g_second = map(of_second, second.gradients)
        g_first = list(map(of_first, self.gradients))
        forward = *self.forward, *renamed(second.forward, of_second)
        backward = *renamed(second.backward, of_second), *renamed(self.backward, of_first)
        return Code(
            self.states + second.states, self.parameters + second.parameters, self.constants + second.constants,
            forward, (y, *self.outputs[1:], *after), tuple(dict.fromkeys((*self.forward, *backward))),
            (
                *g_first[: 1 + self.states], *g_second[: second.states],
                *g_first[1 + self.states :], *g_second[second.states :],
            ),
        )  # fmt: skip

    def misses(self) -> str:
        """Return what kernels lack for it, "" where they have room."""
        most, have = (MOST_STATES, MOST_PARAMETERS, MOST_CONSTANTS), self[:3]
        if all(map(operator.le, have, most)):
            return ""
        return "kernels take {} states, {} parameters and {} numbers at most, it has {}, {} and {}".format(
            *most, *have
        )


class Program:
    """The equations of a cell, as kernels take them; one object for all cells that differ in numbers alone.

    Attributes:
        code: what kernels are compiled from.
        reaches: for y and each state after the step the names of what it has a gradient to.
        has_first_tensors: whether a state begins at a parameter.
        remark: what :func:`~snn_core.functional.explain` says of it, "" if nothing.
    """

    def __init__(
        self,
        code: Code,
        reaches: tuple[frozenset[str], ...],
        has_first_tensors: bool = False,
        remark: str = "",
    ) -> None:
        self.code, self.reaches, self.remark = code, reaches, remark
        self.has_first_tensors = has_first_tensors


#: Equal programs are one object.
_one = lru_cache(maxsize=1024)(Program)


class _Recorded(NamedTuple):
    """A program, and how the first values of states and the constants follow from the numbers of a cell."""

    program: Program
    firsts: Sequence[float | Number]
    constants: Sequence[float | Number]
    #: What has been packed, by the numbers.
    kept: dict[bytes, bytes]

    def packed(self, scalars: Sequence[float]) -> bytes:
        """Return the first values of states and the constants that follow from a cell's numbers, see :func:`pack`."""
        key = array("d", scalars).tobytes()  # in which 0.0 is not -0.0
        packed = self.kept.get(key)
        if packed is None:
            if len(self.kept) >= MOST_KEPT:
                self.kept.clear()
            packed = self.kept[key] = pack(
                *([_value(one, scalars) for one in numbers] for numbers in (self.firsts, self.constants))
            )
        return packed


def _value(number: float | Number, scalars: Sequence[float]) -> float:
    return float(number.of(scalars) if isinstance(number, Number) else number)


def pack(firsts: Sequence[float], constants: Sequence[float]) -> bytes:
    """Return the numbers of a stage as kernels take them: one, zero, first values of states, constants."""
    numbers = array("d", [1.0, 0.0, *[0.0] * (MOST_STATES + MOST_CONSTANTS)])
    numbers[2 : 2 + len(firsts)] = array("d", firsts)
    numbers[2 + MOST_STATES : 2 + MOST_STATES + len(constants)] = array("d", constants)
    return numbers.tobytes()


def unpacked(numbers: bytes, code: Code) -> tuple[list[float], list[float]]:
    """Return the first values of a cell's states and its constants from what :func:`pack` gave."""
    values = list(array("d", numbers))[2:]
    return values[: code.states], values[MOST_STATES : MOST_STATES + code.constants]


@lru_cache(maxsize=1024)
def joined(first: Program, second: Program) -> Program | None:
    """Return the program of two cells in series; None if kernels have no room for it."""
    code = first.code.then(second.code)
    if code.misses():
        return None
    y = first.reaches[0]

    def of_second(names: frozenset[str]) -> frozenset[str]:
        numbered = {"v": first.code.states, "p": first.code.parameters}
        shifted = {f"{name[0]}{int(name[1:]) + numbered[name[0]]}" for name in names if name[0] in numbered}
        return frozenset(shifted) | (y if "x" in names else frozenset())

    y, *after = map(of_second, second.reaches)
    has_first_tensors = first.has_first_tensors or second.has_first_tensors
    remark = first.remark or second.remark
    return _one(code, (y, *first.reaches[1:], *after), has_first_tensors, remark)


@lru_cache(maxsize=1024)
def joined_numbers(first: Program, second: Program, numbers: bytes, others: bytes) -> bytes:
    """Return the packed numbers of two cells in series."""
    (firsts, constants), (of_second, more) = unpacked(numbers, first.code), unpacked(others, second.code)
    return pack(firsts + of_second, constants + more)


class _Spike:
    """A surrogate function for symbols."""

    def __init__(self, surrogate: SurrogateFunction) -> None:
        self.surrogate = surrogate

    def __call__(self, x: Symbol) -> Symbol:
        if not self.surrogate.spiking:
            return self.surrogate.primitive(x)  # type: ignore[arg-type, return-value]
        return x.tape.record("spike", x, rule=self.surrogate.derivative)


#: What a module has besides its user's attributes, and what stands in the way of a kernel.
_MODULE = frozenset(vars(nn.Module()))
_MUST_BE_EMPTY = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_parameters", "_buffers",
    "_modules",
)  # fmt: skip
#: The types of a cell's numbers; NumPy's is Python's with another name.
_NUMBERS = float, np.float64


def _flatten(cell: Cell, key: list[Any], scalars: list[float], tensors: list[Tensor]) -> None:
    """Append what a cell is: what its program depends on, its numbers, and its tensors.

    Raises:
        NotScalarError: a field is something that a program cannot hold.
    """
    attributes = cell.__dict__
    key += (source_of(type(cell)), *attributes)
    for name, value in attributes.items():
        kind = type(value)
        if kind in _NUMBERS:
            scalars.append(value)
            key.append(float)
        elif kind in PLAIN:
            key.append(value if value is None else (kind, value))
        elif isinstance(value, Tensor):
            tensors.append(value)
            key.append(Tensor)
        elif isinstance(value, SurrogateFunction):
            _flatten_surrogate(name, value, key, scalars)
        elif isinstance(value, Cell):
            _flatten(value, key, scalars, tensors)
        elif is_fixed(value):
            key.append(value)
        elif kind is FunctionType:
            key.append(source_of(value))
        elif is_plain(value):
            key.append(repr(value))
        else:
            known = "a field is a number, a tensor, a surrogate function, a function or a cell"
            raise NotScalarError(f"its {name} is of type {kind.__name__}, which kernels do not know: {known}")


def _flatten_surrogate(name: str, surrogate: SurrogateFunction, key: list[Any], scalars: list[float]) -> None:
    """Append what a surrogate function is, if it is what its class says, without tensors."""
    attributes, kind = surrogate.__dict__, type(surrogate)
    if (
        kind.forward is not SurrogateFunction.forward
        or kind.__call__ is not nn.Module.__call__
        or any(map(attributes.get, _MUST_BE_EMPTY))
    ):
        raise NotScalarError(f"its {name} does more than its derivative says")
    key += (source_of(kind), attributes["training"])
    if (
        len(attributes) == len(_MODULE) + 2 and "alpha" in attributes and "spiking" in attributes
    ):  # nearly all
        scalars.append(attributes["alpha"])
        key.append(attributes["spiking"])
        return
    for field in sorted(attributes.keys() - _MODULE):
        value = attributes[field]
        if type(value) in _NUMBERS:
            scalars.append(value)
            key.append(field)
        elif is_plain(value):
            key.append((field, repr(value)))
        else:
            raise NotScalarError(f"its {name} holds something else than numbers")


#: Cells of which programs are kept, and numbers of which each program keeps what follows from them.
MOST_RECORDED, MOST_KEPT = 1024, 64
_programs: dict[Any, _Recorded | str] = {}


def program_of(cell: Cell, dtype: torch.dtype | None = None) -> tuple[Program, bytes, list[Tensor]] | str:
    """Return the program of a cell's equations, its numbers as :func:`pack` has them, and its tensors.

    ``dtype`` is that of a step; None for double precision in which torch's default dtype does not matter.

    Returns:
        Why kernels do not know its equations, if they do not.
    """
    key: list[Any] = [dtype, torch.get_default_dtype()]
    scalars: list[float] = []
    tensors: list[Tensor] = []
    try:
        _flatten(cell, key, scalars, tensors)
        known = tuple(key)
        recorded = _programs.get(known)
        if type(recorded) is not _Recorded:
            recorded = _kept(known, cell, scalars, dtype)
        numbers = b"" if isinstance(recorded, str) else recorded.packed(scalars)
    except (NotScalarError, ArithmeticError, TypeError) as error:
        return str(error)
    return recorded if isinstance(recorded, str) else (recorded.program, numbers, tensors)


#: Stands for a program in its place where each value of its numbers has one of its own.
_BY_VALUE = "by value"
_REMARK = (
    "its equations branch on a number, or give it to another function than torch's, so they are read anew for each "
    "value: make a field of what follows from the number"
)


def _kept(
    key: tuple[Any, ...], cell: Cell, scalars: Sequence[float], dtype: torch.dtype | None
) -> _Recorded | str:
    found = _programs.get(key)
    if found is None:
        found = _recording(cell, scalars, dtype, True)
        found = _keep(key, _BY_VALUE if isinstance(found, str) else found)
    if found is _BY_VALUE:
        by_value = (
            key,
            array("d", scalars).tobytes(),
        )  # 0.0 and -0.0 are equal and divide to other infinities
        found = _programs.get(by_value) or _keep(by_value, _recording(cell, scalars, dtype, False))
    return found


def _keep(key: tuple[Any, ...], found: _Recorded | str) -> _Recorded | str:
    if len(_programs) >= MOST_RECORDED:
        _programs.pop(next(iter(_programs)), None)
    return _programs.setdefault(key, found)


def _recording(
    cell: Cell, scalars: Sequence[float], dtype: torch.dtype | None, follows: bool
) -> _Recorded | str:
    """Return the program of a cell, or why there is none; if it ``follows`` its numbers, for all values of them."""
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            found = _record(cell, dtype, map(_number_at, itertools.count()) if follows else None)
            again = _record(cell, dtype)
        if found.program.code != again.program.code or found.packed(scalars) != again.packed(scalars):
            return "its equations give something else each time"
        return found.program.code.misses() or found
    except NotScalarError as error:
        return str(error)
    except Exception as error:  # equations are anybody's
        return f"its equations fail without tensors: {error}"


def _number_at(k: int) -> Number:
    return Number(operator.itemgetter(k))


def _with_symbols(cell: Cell, tape: Tape, names: Iterator[int], numbers: Iterator[Number] | None) -> Cell:
    """Return a copy of a cell with symbols for its tensors, and with these for its numbers."""
    made = object.__new__(type(cell))
    made.__dict__.update(cell.__dict__)
    for name, value in cell.__dict__.items():
        if isinstance(value, Cell):
            made.__dict__[name] = _with_symbols(value, tape, names, numbers)
        elif isinstance(value, Tensor):
            made.__dict__[name] = Symbol(tape, f"p{next(names)}")
        elif isinstance(value, SurrogateFunction):
            if numbers is not None:
                value = copy.copy(value)
                own = sorted([key for key, one in value.__dict__.items() if type(one) in _NUMBERS])
                value.__dict__.update(zip(own, numbers, strict=False))
            made.__dict__[name] = _Spike(value)
        elif type(value) in _NUMBERS and numbers is not None:
            made.__dict__[name] = next(numbers)
    return made


def _fields(cell: Cell) -> Iterator[tuple[Cell, str, Any]]:
    for name, value in cell.__dict__.items():
        if isinstance(value, Cell):
            yield from _fields(value)
        yield cell, name, value


def _refuse_function(frame: Any, event: str, called: Any) -> None:
    """Refuse a function with a gradient of its own, however a step gets hold of it: its forward would be derived."""
    owner = getattr(called, "__self__", None) if event == "c_call" else None
    if isinstance(owner, type) and issubclass(owner, torch.autograd.Function):
        raise NotScalarError("kernels cannot derive an autograd.Function: make it a surrogate function")


def _record(cell: Cell, dtype: torch.dtype | None, numbers: Iterator[Number] | None = None) -> _Recorded:
    """Return what one call of a cell's step gives."""
    tape = Tape(dtype)
    made = _with_symbols(cell, tape, parameters := itertools.count(), numbers)
    firsts, count = made.initial, len(made.initial)
    x, states = Symbol(tape, "x", True), tuple(Symbol(tape, f"v{k}", True) for k in range(count))
    before = list(_fields(made))
    profile = sys.getprofile()
    sys.setprofile(_refuse_function)
    try:
        y, after = made.step(x, states)  # type: ignore[arg-type]
    finally:
        sys.setprofile(profile)
    for owner, name, value in _fields(made):
        is_known = any(owner is one and name == known and value is held for one, known, held in before)
        if not (is_known or isinstance(getattr(type(owner), name, None), cached_property)):
            raise NotScalarError(f"its step changes {name}, which is no state")
    results = [tape.symbol(one) for one in (y, *after)]
    if len(results) != 1 + count:
        raise NotScalarError(f"its step gives {len(results) - 1} states, its initial has {count}")
    if not all(map(tape.is_result, results)):
        raise NotScalarError("its step gives something of another shape or dtype than x")
    forward = tape.needed(results)
    reached = tape.reached_from(results)
    seeds = [Symbol(tape, name, True) for name in ("g_y", *(f"g_v{k}" for k in range(count)))]
    wanted = [x, *states, *(Symbol(tape, f"p{k}") for k in range(next(parameters)))]
    gradients = tape.differentiate(list(zip(results, seeds, strict=True)), wanted)
    code = Code(
        count, len(wanted) - 1 - count, len(tape.constants), forward, tuple([one.name for one in results]),
        tape.needed(gradients), tuple([one.name for one in gradients]),
    )  # fmt: skip
    values = [0.0 if isinstance(one, (Symbol, Tensor)) else one for one in firsts]
    has_first_tensors = any(isinstance(one, (Symbol, Tensor)) for one in firsts)
    program = _one(code, reached, has_first_tensors, "" if numbers else _REMARK)
    return _Recorded(program, values, tape.constants, {})
