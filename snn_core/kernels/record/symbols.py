"""Numbers of one neuron that record what is done with them, and derive it.

Names in statements: the input x, states v0, v1, ..., parameters p0, ..., constants c0, ... with one and zero, results
r0, ... and flags f0, ...; in the derivative also the gradients g_y of the output and g_v0, ... of the states after the
step. A spike is a step forward and the surrogate function's derivative backward.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch


class NotScalarError(Exception):
    """The equations do something other than arithmetic on each neuron by itself; the message says what."""


_OTHER_TENSOR = "its equations use a tensor that is none of its fields: make it one"


class Statement(NamedTuple):
    """``result = operation(*arguments)``, with names for numbers; a name that begins with f is a flag."""

    result: str
    operation: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        """Return the statement as text that is Python, C and JavaScript, up to the functions that it calls."""
        return f"{self.result} = {OPERATIONS[self.operation].text.format(*self.arguments)}"


class Symbol:
    """A number of one neuron while equations are recorded, or a flag, which is True or False."""

    __array_ufunc__ = None

    def __init__(self, tape: Tape, name: str, is_of_step: bool = False) -> None:
        self.tape, self.name = tape, name
        #: Whether it has the shape of a step, and is not made of parameters and numbers alone.
        self.is_of_step = is_of_step

    @property
    def is_flag(self) -> bool:
        return self.name[0] == "f"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of a step."""
        if self.is_flag:
            raise NotScalarError("kernels do not know .dtype of a comparison")
        return self.tape.dtype

    @classmethod
    def __torch_function__(cls, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _ALIASES.get(function.__name__, function.__name__)
        if any(isinstance(one, torch.Tensor) for one in args):
            raise NotScalarError(_OTHER_TENSOR)
        if not (
            name in _METHODS
            and all(isinstance(one, (Symbol, Number, int, float, np.number, type(None))) for one in args)
        ):
            raise NotScalarError(f"kernels do not know torch.{name} of these arguments")
        return _METHODS[name](*args, **(kwargs or {}))

    def where(self, condition: Any, other: Any) -> Symbol:
        """Record the method, whose arguments have another order than those of ``torch.where``."""
        return self.tape.record("where", condition, self, other)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        method = _METHODS.get(_ALIASES.get(name, name))
        if method is None:
            raise NotScalarError(f"kernels do not know .{name} of a tensor")
        return lambda *args, **kwargs: method(self, *args, **kwargs)

    def __bool__(self) -> bool:
        raise NotScalarError("a kernel cannot branch on the value of a tensor: use torch.where")


class Number:
    """A cell's number while equations are recorded: what is computed from it follows when the number changes.

    ``of`` computes it from all numbers of the cell. Anything but arithmetic fails; then a program is recorded for each
    value.
    """

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, of: Callable[[Sequence[float]], float]) -> None:
        self.of = of

    @classmethod
    def __torch_function__(cls, *arguments: Any) -> Any:
        return Symbol.__torch_function__(*arguments)

    def _refuse(self, *_: Any) -> Any:
        raise NotScalarError("its equations branch on a number")

    __bool__ = __float__ = __int__ = __index__ = _refuse

    def _compare(self, other: Any) -> Any:
        return NotImplemented if type(other) is Symbol else self._refuse()

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compare


def _of_python(value: Any) -> Any:
    """Return a number of NumPy as one of Python, which torch makes of it, too."""
    return value.item() if isinstance(value, np.number) else value


def _arithmetic(operation: Callable[..., float], is_reversed: bool = False) -> Callable[..., Any]:
    def compute(self: Number, *others: Any) -> Any:
        if not all(type(one) in (int, float, np.float64, Number) for one in others):
            return NotImplemented
        terms = [one.of if isinstance(one, Number) else (lambda _, one=one: one) for one in (self, *others)]
        if is_reversed:
            terms.reverse()
        return Number(lambda numbers: operation(*[term(numbers) for term in terms]))

    return compute


for _operator in ("add", "sub", "mul", "truediv", "mod", "pow", "neg", "abs"):
    setattr(Number, f"__{_operator}__", _arithmetic(getattr(operator, _operator)))
    setattr(Number, f"__r{_operator}__", _arithmetic(getattr(operator, _operator), True))


class Tape:
    """Statements in their order, as symbols: the result, the operation, its arguments, what its derivative needs."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        #: That of a step, and that in which torch computes what is made of comparisons and Python's numbers.
        self.dtype = dtype or torch.float64
        self.default = torch.get_default_dtype() if dtype else self.dtype
        self.statements: list[tuple[Symbol, str, tuple[Symbol, ...], Any]] = []
        self.constants: list[float | Number] = []
        #: Values made of flags and Python's numbers alone, and whether they are whole: torch computes these in its
        #: default dtype, or in int64, whatever the dtype of a step is.
        self.apart: dict[str, bool] = {}
        self.one, self.zero = Symbol(self, "one"), Symbol(self, "zero")

    def symbol(self, value: Any) -> Symbol:
        """Return ``value`` as a symbol; a number becomes a constant."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, torch.Tensor):
            raise NotScalarError(_OTHER_TENSOR)
        if not isinstance(value, (int, float, Number)):
            raise NotScalarError(f"kernels take numbers, not {type(value).__name__}")
        self.constants.append(value if isinstance(value, Number) else float(value))
        return Symbol(self, f"c{len(self.constants) - 1}")

    def number(self, value: Symbol) -> Symbol:
        """Return a flag as 1 or 0, anything else as it is."""
        return self.record("where", value, self.one, self.zero) if value.is_flag else value

    def record(self, name: str, *values: Any, rule: Any = None) -> Symbol:
        """Add a statement; ``rule`` is what its derivative needs besides."""
        operation = OPERATIONS[name]
        values = tuple([_of_python(one) for one in values])
        conditions, numbers = values[: operation.conditions], values[operation.conditions :]
        if not all(isinstance(one, Symbol) and one.is_flag for one in conditions):
            raise NotScalarError(f"kernels know torch.{name} of comparisons alone")
        # Of these torch makes a flag again: True + True is True.
        if operation.derivative and all(
            type(one) is bool or getattr(one, "is_flag", False) for one in numbers
        ):
            raise NotScalarError(f"kernels do not know torch.{name} of comparisons: write flag.to(x)")
        if name == "sub" and any(type(one) is bool or getattr(one, "is_flag", False) for one in numbers):
            raise NotScalarError("torch subtracts no comparisons: write flag.to(x)")
        arguments = *conditions, *(self.number(self.symbol(one)) for one in numbers)
        letter = "f" if operation.derivative is None else "r"
        result = Symbol(self, f"{letter}{len(self.statements)}", any(one.is_of_step for one in arguments))
        self.statements.append((result, name, arguments, rule))
        if operation.derivative and all(map(self._is_apart, numbers)):
            if self.dtype is not self.default:
                raise NotScalarError(
                    f"torch rounds numbers made of comparisons to {self.default}: write flag.to(x)"
                )
            self.apart[result.name] = name in _WHOLE and not any(
                type(one) in (float, Number) or not self.apart.get(getattr(one, "name", ""), True)
                for one in numbers
            )
        # As torch does, for equations that switch the gradient off in between.
        keeps = torch.is_grad_enabled() or result.is_flag or name == "detach"
        return result if keeps else self.record("detach", result)

    def _is_apart(self, value: Any) -> bool:
        return not isinstance(value, Symbol) or value.is_flag or value.name in self.apart

    def differentiate(self, seeds: Sequence[tuple[Symbol, Symbol]], wanted: Sequence[Symbol]) -> list[Symbol]:
        """Return the gradients to the symbols ``wanted``, given those of results."""
        gradients: dict[str, Any] = {}
        sources: dict[str, dict[str, Symbol]] = {}  # the seeds that a gradient is made of

        def add(to: Symbol, gradient: Symbol, made_of: dict[str, Symbol]) -> None:
            known = gradients.get(to.name)
            gradients[to.name] = gradient if known is None else known + gradient
            sources[to.name] = sources.get(to.name, {}) | made_of

        for result, seed in seeds:
            add(result, seed, {seed.name: seed})
        for result, name, arguments, rule in reversed(self.statements.copy()):
            gradient, operation = gradients.get(result.name), OPERATIONS[name]
            if gradient is None or operation.derivative is None:
                continue
            own = sources[result.name]
            # A state that nothing uses later has no gradient in torch. Here it is 0, which infinity would make NaN.
            at = operation.infinite_at
            may_be_infinite = at is not None and arguments[at].name[0] != "c"
            is_used = self.any_differs_from_zero(own) if may_be_infinite and "g_y" not in own else None
            results = operation.derivative(gradient, result, *arguments, rule)
            for argument, one in zip(arguments, results, strict=True):
                if one is not None and argument.name[0] != "c" and not argument.is_flag:
                    add(argument, one if is_used is None else _select(is_used, one, self.zero), own)
        return [gradients.get(one.name, self.zero) for one in wanted]

    def any_differs_from_zero(self, values: dict[str, Symbol]) -> Symbol:
        found, *others = [self.record("ne", value, self.zero) for value in values.values()]
        for other in others:
            found = self.record("or", found, other)
        return found

    def is_result(self, value: Symbol) -> bool:
        """Say whether a value has the shape and dtype of a step."""
        return value.is_of_step and not value.is_flag and not self.apart.get(value.name, False)

    def needed(self, results: Sequence[Symbol]) -> tuple[Statement, ...]:
        """Return the statements that ``results`` need."""
        names, found = {one.name for one in results}, []
        for result, name, arguments, _ in reversed(self.statements):
            if result.name in names:
                names |= {argument.name for argument in arguments}
                found.append(Statement(result.name, name, tuple([argument.name for argument in arguments])))
        return tuple(reversed(found))

    def reached_from(self, results: Sequence[Symbol]) -> tuple[frozenset[str], ...]:
        """Return for each of the results the names of inputs, states and parameters to which it has a gradient."""
        reached: dict[str, frozenset[str]] = {}

        def of(name: str) -> frozenset[str]:
            return reached.get(name, frozenset([name] if name == "x" or name[0] in "vp" else []))

        for result, name, arguments, _ in self.statements:
            operation = OPERATIONS[name]
            numbers = arguments[operation.conditions :] if operation.derivative and name != "detach" else ()
            reached[result.name] = frozenset().union(*[of(one.name) for one in numbers])
        return tuple([of(one.name) for one in results])


class _Operation(NamedTuple):
    """How a statement is written, and the gradients to its arguments, None where there is none; flags have none.

    ``text`` is for CUDA and for JavaScript, ``llvm``, an instruction for numbers of type ``n``, for the CPU; functions
    that these call stand in ``engine/cell.c``, ``engine/functions.h`` and a page's scripts. The first ``conditions``
    arguments are flags, the others numbers. The derivative is infinite for some numbers ``infinite_at`` that argument.
    """

    text: str
    llvm: str
    derivative: Callable[..., tuple[Symbol | None, ...]] | None = None
    conditions: int = 0
    infinite_at: int | None = None


def _of_c(
    name: str, derivative: Callable[..., tuple[Symbol | None, ...]], infinite_at: int | None = None
) -> _Operation:
    """Return a function of one number of C's library."""
    llvm = f"call {{n}} @c_{name}({{n}} {{0}})"
    return _Operation(f"{name}({{0}})", llvm, derivative, infinite_at=infinite_at)


def _select(condition: Symbol, a: Symbol, b: Symbol) -> Symbol:
    tape = condition.tape
    return tape.record("where", condition, tape.number(a), tape.number(b))


def _of_one(g: Any, is_second: Any, is_first: Any, a: Any, b: Any) -> tuple[Symbol, Symbol]:
    """Return the gradients of max or min: whole to one of the two, half to each where they are equal."""
    shared = _select(a == b, g / (g.tape.one + g.tape.one), g)
    return _select(is_second, g.tape.zero, shared), _select(is_first, g.tape.zero, shared)


@cache
def _shares_ties() -> bool:
    """Say whether torch gives a clamp no gradient at a border that is a number, and half of it at one of tensors."""
    with torch.inference_mode(False), torch.enable_grad():
        x = torch.ones((), requires_grad=True)
        return torch.autograd.grad(x.clamp(max=1.0), x)[0].item() == 0


def _above(a: Any, b: Any) -> Any:
    return a > b if _shares_ties() else a >= b


def _of_inside(g: Any, is_inside: Any, is_outside: Any) -> tuple[Symbol, Symbol]:
    """Return the gradients of a clamp to its argument and to the border, of which NaN gets none."""
    return _select(is_inside, g, g.tape.zero), _select(is_outside, g, g.tape.zero)


OPERATIONS = {
    "add": _Operation("{0} + {1}", "fadd {n} {0}, {1}", lambda g, r, a, b, _: (g, g)),
    "sub": _Operation("{0} - {1}", "fsub {n} {0}, {1}", lambda g, r, a, b, _: (g, -g)),
    "mul": _Operation("{0} * {1}", "fmul {n} {0}, {1}", lambda g, r, a, b, _: (g * b, g * a)),
    "div": _Operation(
        "{0} / {1}", "fdiv {n} {0}, {1}", lambda g, r, a, b, _: (g / b, -(g * r / b)), infinite_at=1
    ),
    "neg": _Operation("-{0}", "fneg {n} {0}", lambda g, r, a, _: (-g,)),
    "exp": _of_c("exp", lambda g, r, a, _: (g * r,), 0),
    "log": _of_c("log", lambda g, r, a, _: (g / a,), 0),
    "log1p": _of_c("log1p", lambda g, r, a, _: (g / (a.tape.one + a),), 0),
    "sqrt": _of_c("sqrt", lambda g, r, a, _: (g / (r + r),), 0),
    "sin": _of_c("sin", lambda g, r, a, _: (g * a.cos(),)),
    "cos": _of_c("cos", lambda g, r, a, _: (g * -a.sin(),)),
    "tanh": _of_c("tanh", lambda g, r, a, _: (g * (a.tape.one - r * r),)),
    "atan": _of_c("atan", lambda g, r, a, _: (g / (a.tape.one + a * a),)),
    "erf": _of_c("erf", lambda g, r, a, _: (g * 1.1283791670955126 * (-(a * a)).exp(),)),
    "floor": _of_c("floor", lambda g, r, a, _: (a.tape.zero,)),
    "round": _of_c("rint", lambda g, r, a, _: (a.tape.zero,)),
    # g times the sign: infinity times 0 is NaN.
    "abs": _of_c(
        "fabs",
        lambda g, r, a, _: (_select(a < g.tape.zero, -g, _select(a > g.tape.zero, g, g * g.tape.zero)),),
    ),
    "pow": _Operation(
        "pow({0}, {1})",
        "call {n} @c_pow({n} {0}, {n} {1})",
        lambda g, r, a, b, _: (g * (b * a.tape.record("pow", a, b - a.tape.one)), None),
        infinite_at=0,
    ),
    # The remainder with the sign of the divisor, as Python has it.
    "modulo": _Operation(
        "modulo({0}, {1})",
        "call {n} @modulo({n} {0}, {n} {1})",
        lambda g, r, a, b, _: (g, -g * ((a - r) / b).round()),
        infinite_at=1,
    ),
    "sigmoid": _Operation(
        "one / (one + exp(-{0}))",
        "call {n} @sigmoid({n} {0})",
        lambda g, r, a, _: (g * (r * (a.tape.one - r)),),
    ),
    "where": _Operation(
        "select({0}, {1}, {2})",
        "select i1 {0}, {n} {1}, {n} {2}",
        lambda g, r, c, a, b, _: (None, _select(c, g, g.tape.zero), _select(c, g.tape.zero, g)),
        conditions=1,
    ),
    "maximum": _Operation(
        "maximum({0}, {1})",
        "call {n} @maximum({n} {0}, {n} {1})",
        lambda g, r, a, b, _: _of_one(g, a < b, a > b, a, b),
    ),
    "minimum": _Operation(
        "minimum({0}, {1})",
        "call {n} @minimum({n} {0}, {n} {1})",
        lambda g, r, a, b, _: _of_one(g, a > b, a < b, a, b),
    ),
    # What equals a border is not the border itself, which may be a zero of another sign.
    "clamp_min": _Operation(
        "maximum({1}, {0})",
        "call {n} @maximum({n} {1}, {n} {0})",
        lambda g, r, a, b, _: _of_inside(g, _above(a, b), a < b),
    ),
    "clamp_max": _Operation(
        "minimum({1}, {0})",
        "call {n} @minimum({n} {1}, {n} {0})",
        lambda g, r, a, b, _: _of_inside(g, _above(b, a), a > b),
    ),
    "relu": _Operation(
        "maximum(zero, {0})",
        "call {n} @maximum({n} {zero}, {n} {0})",
        lambda g, r, a, _: (_select(a <= g.tape.zero, g.tape.zero, g),),
    ),
    "detach": _Operation("{0}", "bitcast {n} {0} to {n}", lambda g, r, a, _: (None,)),
    "spike": _Operation(
        "select({0} >= zero, one, zero)",
        "call {n} @spike({n} {0})",
        lambda g, r, a, derivative: (g * derivative(a),),
    ),
    "ge": _Operation("{0} >= {1}", "fcmp oge {n} {0}, {1}"),
    "gt": _Operation("{0} > {1}", "fcmp ogt {n} {0}, {1}"),
    "le": _Operation("{0} <= {1}", "fcmp ole {n} {0}, {1}"),
    "lt": _Operation("{0} < {1}", "fcmp olt {n} {0}, {1}"),
    "eq": _Operation("{0} == {1}", "fcmp oeq {n} {0}, {1}"),
    "ne": _Operation("{0} != {1}", "fcmp une {n} {0}, {1}"),
    "and": _Operation("{0} & {1}", "and i1 {0}, {1}", conditions=2),
    "or": _Operation("{0} | {1}", "or i1 {0}, {1}", conditions=2),
}


#: The functions of C's library among them, called ``c_...`` on the CPU.
C_FUNCTIONS = [name for one in OPERATIONS.values() for name in re.findall(r"@c_(\w+)", one.llvm)]
#: Operations that make whole numbers of whole numbers.
_WHOLE = ("add", "sub", "mul", "neg", "abs", "where", "clamp_min", "clamp_max", "relu", "detach")


def _recorder(name: str) -> Callable[..., Symbol]:
    def record(*arguments: Any) -> Symbol:
        tape = next(one for one in arguments if isinstance(one, Symbol)).tape
        return tape.record(name, *arguments)

    return record


def _clamp(x: Any, min: Any = None, max: Any = None) -> Symbol:
    if _shares_ties() and isinstance(max if min is None else min, Symbol):
        if min is not None and max is not None:
            raise NotScalarError(
                "kernels know a clamp between numbers: write torch.minimum(torch.maximum(x, a), b)"
            )
        return x.tape.record("minimum", x, max) if min is None else x.tape.record("maximum", x, min)
    if min is not None:
        if isinstance(min, Symbol) and max is not None:  # torch gives no gradient to borders that are equal
            min = _select(min < max, min, min.detach())
        x = x.tape.record("clamp_min", x, min)
    return x if max is None else x.tape.record("clamp_max", x, max)


def _power(x: Any, exponent: Any) -> Symbol:
    exponent = _of_python(exponent)
    if type(exponent) not in (int, float, Number) or exponent == 0:
        raise NotScalarError("kernels know powers whose exponent is a number, not 0")
    if exponent in (2, 3):  # torch multiplies
        return x * x if exponent == 2 else x * x * x
    return x.tape.record("pow", x, exponent)


def _softplus(x: Any, beta: Any = 1.0, threshold: Any = 20.0) -> Symbol:
    z = x * beta
    inside = _select(z > threshold, x.tape.zero, z).exp()  # beyond, a gradient would be 0 times infinity
    return _select(z > threshold, x, inside.log1p() / beta)


def _to(x: Symbol, other: Any = None, dtype: Any = None) -> Symbol:
    other = dtype if other is None else other
    if other is not x.tape.dtype and (type(other) is not Symbol or other.is_flag):
        raise NotScalarError("a kernel computes in one precision")
    return x.tape.number(x)


def _number(x: Symbol) -> Symbol:
    if x.is_flag or x.name in x.tape.apart:
        raise NotScalarError("kernels know this of numbers in the dtype of a step: write flag.to(x)")
    return x


def _relu(x: Symbol, inplace: bool = False) -> Symbol:
    return _refuse_change() if inplace else x.tape.record("relu", x)


def _refuse_change(*_: Any) -> Symbol:
    raise NotScalarError("kernels know no change in place: write v = v + x for v += x")


_METHODS: dict[str, Callable[..., Any]] = {
    name: _recorder(name) for name in OPERATIONS if name != "spike"
} | {
    "clamp": _clamp,
    "detach": lambda x: x if x.is_flag else x.tape.record("detach", x),
    "pow": _power,
    "square": lambda x: x * x,
    "reciprocal": lambda x: _number(x).tape.record("div", x.tape.one, x),
    "relu": _relu,
    "logical_not": lambda x: x.tape.number(x) == x.tape.zero,
    "ones_like": lambda x: Symbol(x.tape, "one", _number(x).is_of_step),
    "zeros_like": lambda x: Symbol(x.tape, "zero", _number(x).is_of_step),
    "softplus": _softplus,
    "to": _to,
    "type_as": _to,
}
_ALIASES = {
    "absolute": "abs", "clip": "clamp", "divide": "div", "true_divide": "div", "multiply": "mul", "negative": "neg",
    "subtract": "sub", "arctan": "atan", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "not_equal": "ne", "remainder": "modulo", "logical_and": "and", "logical_or": "or", "bitwise_and": "and",
    "bitwise_or": "or",
}  # fmt: skip
for _operator, _name in {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "mod": "modulo", "ge": "ge", "gt": "gt", "le": "le",
    "lt": "lt", "eq": "eq", "ne": "ne", "and": "and", "or": "or",
}.items():  # fmt: skip
    setattr(Symbol, f"__{_operator}__", _recorder(_name))
    if _operator in ("add", "sub", "mul", "truediv", "mod", "and", "or"):
        setattr(
            Symbol, f"__r{_operator}__", lambda self, other, name=_name: self.tape.record(name, other, self)
        )
for _operator in ("iadd", "isub", "imul", "itruediv", "imod", "iand", "ior"):
    setattr(Symbol, f"__{_operator}__", _refuse_change)
for _operator, _name in {"neg": "neg", "abs": "abs", "pow": "pow", "invert": "logical_not"}.items():
    setattr(Symbol, f"__{_operator}__", _METHODS[_name])
