"""A cell's equations as a program of scalar statements, and their derivative.

:func:`program_of` calls a cell's ``step`` once with symbols instead of tensors. What it does with them is recorded, one
statement for each operation, and differentiated in reverse. The result is a :class:`Program`, from which
:mod:`snn_core.backend.rows` makes the functions of the CPU kernels and :mod:`snn_core.backend.cuda` those for CUDA. So
a cell, a user's own included, is written once, in torch.

A statement is Python and C at the same time, such as ``r3 = r1 * c0`` or ``r5 = select(f4, r3, zero)``; names that
begin with f are flags. Others are the input x, states v0, v1, ..., parameters p0, ..., constants c0, ... with one and
zero, and in the derivative the gradients g_y of the output and g_v0, ... of the states after the step. A spike is a
step forward and the surrogate function's derivative backward. Numbers of the cell become constants in the order in
which they are met, so that cells that differ only in numbers share a program.
"""

from __future__ import annotations

import copy
import dis
import itertools
import operator
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from inspect import CO_VARARGS, CO_VARKEYWORDS
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_core.backend.decisions import does_only_forward
from snn_core.cells import Cell
from snn_core.surrogate import SurrogateFunction


class NotScalarError(Exception):
    """The equations do something other than arithmetic on each neuron by itself; the message says what."""


class Program(NamedTuple):
    """What one neuron computes in one time step, and its gradients.

    ``outputs`` are the names of y and of the states after the step; ``gradients`` those of the gradients to x, to the
    states before the step and to the parameters. ``backward`` holds all that these need.
    """

    states: int
    parameters: int
    constants: int
    forward: tuple[str, ...]
    outputs: tuple[str, ...]
    backward: tuple[str, ...]
    gradients: tuple[str, ...]

    def text(self) -> str:
        """Return the program in one string, from which :func:`parse` makes it again."""
        sizes, *parts = self[:3], *self[3:]
        return "\n\n".join([" ".join(map(str, sizes)), *("\n".join(part) for part in parts)])


@lru_cache(maxsize=1024)
def parse(text: str) -> Program:
    """Return the program that :meth:`Program.text` wrote.

    Raises:
        ValueError: ``text`` is not a program.
    """
    try:
        sizes, *parts = text.split("\n\n")
        states, parameters, constants = map(int, sizes.split())
        forward, outputs, backward, gradients = (tuple(part.split("\n")) if part else () for part in parts)
    except ValueError:
        raise ValueError(f"no kernel knows a cell {text!r}") from None
    return Program(states, parameters, constants, forward, outputs, backward, gradients)


class Symbol:
    """A number of one neuron while equations are recorded, or a flag, which is True or False."""

    __array_ufunc__ = None

    def __init__(self, tape: Tape, name: str) -> None:
        self.tape, self.name = tape, name

    @property
    def is_flag(self) -> bool:
        return self.name[0] == "f"

    @classmethod
    def __torch_function__(cls, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _ALIASES.get(function.__name__, function.__name__)
        if not (name in _METHODS and all(isinstance(one, (Symbol, int, float, type(None))) for one in args)):
            raise NotScalarError(f"kernels do not know torch.{name} of these arguments")
        return _METHODS[name](*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        method = _METHODS.get(_ALIASES.get(name, name))
        if method is None:
            raise NotScalarError(f"kernels do not know .{name} of a tensor")
        return lambda *args, **kwargs: method(self, *args, **kwargs)

    def __bool__(self) -> bool:
        raise NotScalarError("a kernel cannot branch on the value of a tensor: use torch.where")

    def to(self, other: Any) -> Symbol:
        if not isinstance(other, Symbol) or other.is_flag:
            raise NotScalarError("a kernel computes in one precision")
        return self.tape.number(self)

    type_as = to


class Tape:
    """Statements in their order: what is assigned to which name, and from what."""

    def __init__(self) -> None:
        self.statements: list[tuple[Symbol, str, tuple[Symbol, ...], Any]] = []
        self.constants: list[float] = []
        self.one, self.zero = Symbol(self, "one"), Symbol(self, "zero")

    def symbol(self, value: Any) -> Symbol:
        """Return ``value`` as a symbol; a number becomes a constant."""
        if isinstance(value, Symbol):
            return value
        if not isinstance(value, (int, float)):
            raise NotScalarError(f"kernels take numbers, not {type(value).__name__}")
        self.constants.append(float(value))
        return Symbol(self, f"c{len(self.constants) - 1}")

    def number(self, value: Symbol) -> Symbol:
        """Return a flag as 1 or 0, anything else as it is."""
        return self.record("where", value, self.one, self.zero) if value.is_flag else value

    def record(self, name: str, *values: Any, rule: Any = None) -> Symbol:
        """Add a statement; ``rule`` is what its derivative needs besides."""
        operation = _OPERATIONS[name]
        conditions, numbers = values[: operation.conditions], values[operation.conditions :]
        if not all(isinstance(one, Symbol) and one.is_flag for one in conditions):
            raise NotScalarError(f"kernels know torch.{name} of comparisons alone")
        # Of these torch makes a flag again: True + True is True.
        if operation.derivative and all(
            isinstance(one, bool) or getattr(one, "is_flag", False) for one in numbers
        ):
            raise NotScalarError(f"kernels do not know torch.{name} of comparisons: write flag.to(x)")
        arguments = *conditions, *(self.number(self.symbol(one)) for one in numbers)
        result = Symbol(self, f"{'f' if operation.derivative is None else 'r'}{len(self.statements)}")
        self.statements.append((result, name, arguments, rule))
        # As torch does, for equations that switch the gradient off in between.
        return result if torch.is_grad_enabled() or result.is_flag else self.record_detached(result)

    def record_detached(self, value: Symbol) -> Symbol:
        result = Symbol(self, f"r{len(self.statements)}")
        self.statements.append((result, "detach", (value,), None))
        return result

    def differentiate(self, seeds: Sequence[tuple[Symbol, Symbol]], wanted: Sequence[Symbol]) -> list[Symbol]:
        """Return the gradients to the symbols ``wanted``, given those of results."""
        gradients: dict[str, Any] = {}

        def add(to: Symbol, gradient: Symbol) -> None:
            known = gradients.get(to.name)
            gradients[to.name] = gradient if known is None else known + gradient

        for result, seed in seeds:
            add(result, seed)
        for result, name, arguments, rule in reversed(self.statements.copy()):
            gradient, derivative = gradients.get(result.name), _OPERATIONS[name].derivative
            if gradient is None or derivative is None:
                continue
            for argument, found in zip(
                arguments, derivative(gradient, result, *arguments, rule), strict=True
            ):
                if found is not None and argument.name[0] != "c" and not argument.is_flag:
                    add(argument, found)
        return [gradients.get(one.name, self.zero) for one in wanted]

    def is_of_step(self, value: Symbol) -> bool:
        """Say whether a value has the shape and dtype of a step: it is no flag, and not made of parameters alone."""
        names = {value.name}
        for result, _, arguments, _ in reversed(self.statements):
            if result.name in names:
                names |= {argument.name for argument in arguments}
        return not value.is_flag and any(name in ("x", "one", "zero") or name[0] == "v" for name in names)

    def needed(self, results: Sequence[Symbol]) -> tuple[str, ...]:
        """Return the statements that ``results`` need, as text."""
        names, lines = {one.name for one in results}, []
        for result, name, arguments, _ in reversed(self.statements):
            if result.name in names:
                names |= {argument.name for argument in arguments}
                lines.append(f"{result.name} = {_OPERATIONS[name].text.format(*(a.name for a in arguments))}")
        return tuple(reversed(lines))


class _Operation(NamedTuple):
    """How a statement is written, and the gradients to its arguments, None where there is none; flags have none.

    The first ``conditions`` arguments are flags, the others numbers.
    """

    text: str
    derivative: Callable[..., tuple[Symbol | None, ...]] | None = None
    conditions: int = 0


def _select(condition: Symbol, a: Symbol, b: Symbol) -> Symbol:
    tape = condition.tape
    return tape.record("where", condition, tape.number(a), tape.number(b))


def _of_one(g: Any, is_second: Any, is_first: Any, a: Any, b: Any) -> tuple[Symbol, Symbol]:
    """Return the gradients of max or min: whole to one of the two, half to each where they are equal."""
    shared = _select(a == b, g / (g.tape.one + g.tape.one), g)
    return _select(is_second, g.tape.zero, shared), _select(is_first, g.tape.zero, shared)


_OPERATIONS = {
    "add": _Operation("{0} + {1}", lambda g, r, a, b, _: (g, g)),
    "sub": _Operation("{0} - {1}", lambda g, r, a, b, _: (g, -g)),
    "mul": _Operation("{0} * {1}", lambda g, r, a, b, _: (g * b, g * a)),
    "div": _Operation("{0} / {1}", lambda g, r, a, b, _: (g / b, -(g * r / b))),
    "neg": _Operation("-{0}", lambda g, r, a, _: (-g,)),
    "exp": _Operation("exp({0})", lambda g, r, a, _: (g * r,)),
    "log": _Operation("log({0})", lambda g, r, a, _: (g / a,)),
    "sqrt": _Operation("sqrt({0})", lambda g, r, a, _: (g / (r + r),)),
    "tanh": _Operation("tanh({0})", lambda g, r, a, _: (g * (a.tape.one - r * r),)),
    "atan": _Operation("atan({0})", lambda g, r, a, _: (g / (a.tape.one + a * a),)),
    "erf": _Operation("erf({0})", lambda g, r, a, _: (g * 1.1283791670955126 * (-(a * a)).exp(),)),
    "sigmoid": _Operation("one / (one + exp(-{0}))", lambda g, r, a, _: (g * (r * (a.tape.one - r)),)),
    "abs": _Operation(
        "fabs({0})",
        lambda g, r, a, _: (_select(a < g.tape.zero, -g, _select(a > g.tape.zero, g, g.tape.zero)),),
    ),
    "where": _Operation(
        "select({0}, {1}, {2})",
        lambda g, r, c, a, b, _: (None, _select(c, g, g.tape.zero), _select(c, g.tape.zero, g)),
        conditions=1,
    ),
    "maximum": _Operation("maximum({0}, {1})", lambda g, r, a, b, _: _of_one(g, a < b, a > b, a, b)),
    "minimum": _Operation("minimum({0}, {1})", lambda g, r, a, b, _: _of_one(g, a > b, a < b, a, b)),
    "detach": _Operation("{0}", lambda g, r, a, _: (None,)),
    "spike": _Operation("select({0} >= zero, one, zero)", lambda g, r, a, derivative: (g * derivative(a),)),
    "ge": _Operation("{0} >= {1}"),
    "gt": _Operation("{0} > {1}"),
    "le": _Operation("{0} <= {1}"),
    "lt": _Operation("{0} < {1}"),
    "eq": _Operation("{0} == {1}"),
    "ne": _Operation("{0} != {1}"),
    "and": _Operation("{0} & {1}", conditions=2),
    "or": _Operation("{0} | {1}", conditions=2),
}


def _recorder(name: str) -> Callable[..., Symbol]:
    def record(*arguments: Any) -> Symbol:
        tape = next(one for one in arguments if isinstance(one, Symbol)).tape
        return tape.record(name, *arguments)

    return record


def _clamp(x: Any, min: Any = None, max: Any = None) -> Symbol:
    for border, inside, outside in ((min, "ge", "lt"), (max, "le", "gt")):
        if border is None:
            continue
        kept, is_outside = x, x.tape.record(outside, x, border)
        if isinstance(border, Symbol):  # which may be NaN, too
            kept = _select(x.tape.record(inside, x, border), x, (x + border).detach())
        x = x.tape.record("where", is_outside, border, kept)
    return x


def _power(x: Any, exponent: Any) -> Symbol:
    if exponent not in (2, 3):
        raise NotScalarError(f"kernels know the powers 2 and 3, not {exponent}")
    return x * x if exponent == 2 else x * x * x


def _refuse_change(*_: Any) -> Symbol:
    raise NotScalarError("kernels know no change in place: write v = v + x for v += x")


_METHODS: dict[str, Callable[..., Any]] = {
    name: _recorder(name) for name in _OPERATIONS if name != "spike"
} | {
    "clamp": _clamp,
    "detach": lambda x: x if x.is_flag else x.tape.record("detach", x),
    "pow": _power,
    "square": lambda x: x * x,
    "reciprocal": lambda x: x.tape.record("div", x.tape.one, x),
    "relu": lambda x: _METHODS["where"](x <= x.tape.zero, x.tape.zero, x),  # NaN stays NaN
    "logical_not": lambda x: x.tape.number(x) == x.tape.zero,
    "ones_like": lambda x: x.tape.one,
    "zeros_like": lambda x: x.tape.zero,
    "to": Symbol.to,
    "type_as": Symbol.to,
}
_ALIASES = {
    "absolute": "abs", "clip": "clamp", "divide": "div", "true_divide": "div", "multiply": "mul", "negative": "neg",
    "subtract": "sub", "arctan": "atan", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "not_equal": "ne", "logical_and": "and", "logical_or": "or", "bitwise_and": "and", "bitwise_or": "or",
}  # fmt: skip
for _operator, _name in {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "ge": "ge", "gt": "gt", "le": "le", "lt": "lt",
    "eq": "eq", "ne": "ne", "and": "and", "or": "or",
}.items():  # fmt: skip
    setattr(Symbol, f"__{_operator}__", _recorder(_name))
    if _operator in ("add", "sub", "mul", "truediv", "and", "or"):
        setattr(
            Symbol, f"__r{_operator}__", lambda self, other, name=_name: self.tape.record(name, other, self)
        )
for _operator in ("iadd", "isub", "imul", "itruediv", "iand", "ior"):
    setattr(Symbol, f"__{_operator}__", _refuse_change)
for _operator, _name in {"neg": "neg", "abs": "abs", "pow": "pow", "invert": "logical_not"}.items():
    setattr(Symbol, f"__{_operator}__", _METHODS[_name])


class Recorded(NamedTuple):
    """A cell's program, and the numbers that stand for its constants."""

    program: Program
    constants: tuple[float, ...]


class _Spike:
    """A surrogate function for symbols."""

    def __init__(self, surrogate: SurrogateFunction) -> None:
        self.surrogate = surrogate

    def __call__(self, x: Symbol) -> Symbol:
        if not self.surrogate.spiking:
            return self.surrogate.primitive(x)  # type: ignore[arg-type, return-value]
        return x.tape.record("spike", x, rule=self.surrogate.derivative)


#: What equations may hold besides tensors, surrogate functions and other cells; they may branch on it.
_PLAIN = (bool, int, float, str, type(None))


def _fields(cell: Cell) -> Iterator[tuple[Cell, str, Any]]:
    """Yield the fields of a cell, and of cells that it holds: owner, name and value."""
    for name, value in vars(cell).items():
        if isinstance(value, Cell):
            yield from _fields(value)
        yield cell, name, value


def parameters_of(cell: Cell) -> list[Tensor]:
    """Return the tensors of a cell in the order in which its program has them."""
    return [value for _, _, value in _fields(cell) if isinstance(value, Tensor)]


#: Instructions of Python's that only compute with a function's own arguments, variables and constants.
_COMPUTING = (
    "RESUME", "NOP", "CACHE", "LOAD_FAST", "STORE_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "COPY", "SWAP", "POP_TOP",
    "BINARY_OP", "UNARY_NEGATIVE", "COMPARE_OP", "RETURN_VALUE",
)  # fmt: skip


@torch.compiler.assume_constant_result
def is_pure(function: Any) -> bool:
    """Say whether a function is arithmetic on its arguments and nothing else, so that a kernel may take its place.

    True for functions of torch and ``operator`` that kernels know, and for a function or lambda written in Python
    without defaults that uses only its arguments, numbers, ``+ - * /`` and comparisons: no call, global name, closure,
    branch, or change in place. Any other one may do something else in each step.
    """
    if isinstance(function, types.FunctionType):
        return function.__defaults__ is None and _computes(function.__code__)
    name = getattr(function, "__name__", "")
    known = function is getattr(torch, name, None) or function is getattr(operator, name, None)
    return known and _ALIASES.get(name, name) in _METHODS


@lru_cache(maxsize=256)
def _computes(code: types.CodeType) -> bool:
    steps = [
        step
        for step in dis.get_instructions(code)
        if step.opname != "BINARY_OP" or step.argrepr not in "+-*/"
    ]
    return not (code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS)) and all(
        step.opname.startswith(_COMPUTING) and step.opname != "BINARY_OP" for step in steps
    )


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
    """Return what stands for a field: equal for fields that give equal programs and constants.

    Raises:
        NotScalarError: the field is something that a program cannot hold.
    """
    if isinstance(value, Tensor):
        return Tensor
    if isinstance(value, _PLAIN) or is_pure(value):
        return type(value), value
    if isinstance(value, Cell):
        return _class_key(type(value))
    if not _known_surrogate(value):
        raise NotScalarError(f"its {name} is not one that kernels know")
    own = [(key, one) for key, one in vars(value).items() if key not in _MODULE]
    if not all(isinstance(one, _PLAIN) for _, one in own):
        raise NotScalarError(f"its {name} holds something else than numbers")
    return _class_key(type(value)), *own


#: Where classes, functions and modules are that users do not change.
_PACKAGES = "snn_core.", "torch.", "builtins.", "math.", "operator."
#: What tells a tensor from anything else.
_ASKS = "isinstance", "type", "is_tensor"
#: Special methods that equations may call.
_CALLED = "__call__", "__getattr__", "__getattribute__"
#: What is found of members of a class by the functions in them.
_WRAPPED = {property: "fget", staticmethod: "__func__", classmethod: "__func__", cached_property: "func"}


def _is_fixed(value: Any) -> bool:
    """Say whether this is a class, a function or a module that users do not change."""
    if isinstance(value, types.BuiltinFunctionType):
        value = value.__self__
    if isinstance(value, (type, types.FunctionType)):
        return f"{value.__module__}.".startswith(_PACKAGES)
    return isinstance(value, types.ModuleType) and f"{value.__name__}.".startswith(_PACKAGES)


_fixed: set[type] = set()


def _classes_of_users(kind: type) -> tuple[type, ...]:
    if kind in _fixed:
        return ()
    found = tuple(each for each in kind.__mro__ if not _is_fixed(each))
    if not found:
        _fixed.add(kind)
    return found


def _class_key(kind: type) -> Any:
    """Return what stands for a class: a number, another one when what its user may change of it has changed.

    Raises:
        NotScalarError: its methods read something that may change unseen.
    """
    if not _classes_of_users(kind):
        return kind
    found = _class_number(kind)
    if isinstance(found, str):
        raise NotScalarError(found)
    return found


@torch.compiler.assume_constant_result
def _class_number(kind: type) -> int | str:
    """Return the number of a class, or why it has none."""
    try:
        return _numbers.setdefault(_members(kind), next(_next_number))
    except NotScalarError as error:
        return str(error)


_numbers: dict[Any, int] = {}
_next_number = itertools.count()  # no two threads get the same


def _members(kind: type) -> Any:
    """Return what a user may change of a class: numbers, methods, and functions that these call.

    Raises:
        NotScalarError: its methods read something that may change unseen.
    """
    own = []
    for each in _classes_of_users(kind):
        for name, value in vars(each).items():
            value = getattr(value, _WRAPPED.get(type(value), ""), value)
            if name == "__slots__" and value:
                raise NotScalarError("it has slots: kernels read fields from __dict__")
            is_read = name in _CALLED or not name.startswith(("__", "_abc_impl"))
            if not is_read or isinstance(value, types.MemberDescriptorType):
                continue
            if not isinstance(value, (*_PLAIN, types.FunctionType)):
                raise NotScalarError(f"its class holds {name}, which may change: make it a field")
            own.append((name, type(value), value))
    return (kind, *own, *_outside(kind, [value for *_, value in own])) if own else kind


def _outside(kind: type, waiting: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the variables that functions read, of their module or of a function around, by name and value.

    Raises:
        NotScalarError: one is neither a function nor something that nobody changes.
    """
    seen = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, types.FunctionType) or function in seen or _is_fixed(function):
            continue
        seen.add(function)
        code = function.__code__
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            if not isinstance(value, _PLAIN):
                raise NotScalarError(
                    f"its equations read a default of {function.__name__}, which may change: make it a field"
                )
            yield "", value
        around = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        for name in _variables(code):
            if name in _ASKS:
                raise NotScalarError(
                    f"its equations ask {name}, which a symbol would answer otherwise than a tensor"
                )
            value = function.__globals__.get(name, sys.modules.get(name))
            value = around[name].cell_contents if name in around else value
            if isinstance(value, types.FunctionType):
                waiting.append(value)
            elif not (value is None or any(value is one for one in kind.__mro__) or _is_fixed(value)):
                raise NotScalarError(f"its equations read {name}, which may change: make it a field")
            yield name, value


@lru_cache(maxsize=1024)
def _variables(code: types.CodeType) -> tuple[str, ...]:
    found: list[str] = []
    for step in dis.get_instructions(code):
        if (
            step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "IMPORT_NAME")
            or step.argval == "is_tensor"
        ):
            found.append(step.argval)
        elif isinstance(step.argval, types.CodeType):
            found += _variables(step.argval)
    return tuple(dict.fromkeys(found))


def program_of(cell: Cell) -> Recorded:
    """Return the program of a cell's equations.

    Raises:
        NotScalarError: they do something that kernels do not know.
    """
    fields = list(_fields(cell))
    key = (_class_key(type(cell)), *[(name, _key(name, value)) for _, name, value in fields])
    found = _recorded.get(key)
    if found is None:
        try:
            found = _record(cell)
            if _record(cell) != found:
                raise NotScalarError("its equations give something else each time")
        except NotScalarError as error:
            found = error
        except Exception as error:  # equations are anybody's
            found = NotScalarError(f"its equations fail without tensors: {error}")
        if len(_recorded) >= 4096:
            _recorded.clear()
        _recorded[key] = found
    if isinstance(found, NotScalarError):
        raise found
    return found


_recorded: dict[Any, Recorded | NotScalarError] = {}


def _with_symbols(cell: Cell, tape: Tape, names: Iterator[int]) -> Cell:
    """Return a copy of a cell with symbols for its tensors."""
    made = copy.copy(cell)
    for name, value in vars(cell).items():
        if isinstance(value, Cell):
            made.__dict__[name] = _with_symbols(value, tape, names)
        elif isinstance(value, Tensor):
            made.__dict__[name] = Symbol(tape, f"p{next(names)}")
        elif isinstance(value, SurrogateFunction):
            made.__dict__[name] = _Spike(value)
    return made


@torch.enable_grad()
def _record(cell: Cell) -> Recorded:
    tape = Tape()
    count = len(cell.initial)
    x, states = Symbol(tape, "x"), tuple(Symbol(tape, f"v{k}") for k in range(count))
    parameters = [Symbol(tape, f"p{k}") for k in range(len(parameters_of(cell)))]
    made = _with_symbols(cell, tape, iter(range(len(parameters))))
    before = list(_fields(made))
    y, after = made.step(x, states)  # type: ignore[arg-type]
    for owner, name, value in _fields(made):
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
    program = Program(
        count, len(parameters), len(tape.constants), forward, tuple(one.name for one in results),
        tape.needed(gradients), tuple(one.name for one in gradients),
    )  # fmt: skip
    return Recorded(program, tuple(tape.constants))
