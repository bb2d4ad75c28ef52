"""The CPU's functions of a cell: its program, see :mod:`snn_core.kernels.record`, as loops over a row of neurons.

``n`` neurons lie side by side, and the functions get pointers:

``forward(n, step, c, p, x, v, w, y)``
    reads the input ``x`` and the states ``v`` before the step; writes the states ``w`` after it and the output ``y``.
``backward(n, step, c, p, x, v, g_y, g_v, g_x, g_p)``
    reads the same and the gradients ``g_y`` of the output and ``g_v`` of the states after the step; writes the
    gradient ``g_x`` of the input, turns ``g_v`` into that of the states before the step, and adds those of parameters
    to ``g_p``.

``c`` are one, zero, the first values of states, and from :data:`CONSTANTS` on the program's constants. ``p``, ``v``,
``w``, ``g_v`` and ``g_p`` hold a row for each parameter or state, ``step`` numbers apart.

LLVM turns the loops into vector instructions. It takes each operation as it stands, without fused multiply-add, so that
spikes equal those of the torch loop to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from snn_core.kernels.limits import MOST_STATES
from snn_core.kernels.record.equations import Code
from snn_core.kernels.record.symbols import Statement

#: Where the constants of a program begin.
CONSTANTS = 2 + MOST_STATES

_INT = ir.IntType(64)
#: Operations that are one instruction of LLVM, and those that are a function; LLVM knows the first of these.
_INSTRUCTIONS = {
    "add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "neg": "fneg", "and": "and_", "or": "or_",
    "where": "select",
}  # fmt: skip
_INTRINSICS = {"log": "log", "sqrt": "sqrt", "abs": "fabs", "round": "rint", "floor": "floor", "pow": "pow"}
_FUNCTIONS = {name: name for name in ("log1p", "sin", "cos", "tanh", "atan", "erf")}
_COMPARISONS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "eq": "=="}
#: Of exp for 32 and 64 bits: where it is 0 and infinite, ln 2 in two parts of which the first has few digits, bits of
#: the mantissa, and the coefficients of S. L. Moshier's Cephes library, https://www.netlib.org/cephes/.
_EXP: dict[int, Any] = {
    32: (
        (-104.0, 89.0), (0.693359375, -2.12194440e-4), 23,
        (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    ),
    64: (
        (-746.0, 710.0), (6.93145751953125e-1, 1.42860682030941723212e-6), 52,
        (1.26177193074810590878e-4, 3.02994407707441961300e-2, 9.99999999999999999910e-1),
        (3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1, 2.0),
    ),
}  # fmt: skip
_libraries: list[Any] = []


class _Emitter:
    """Writes statements as LLVM instructions for one precision."""

    def __init__(self, builder: Any, number: Any, names: dict[str, Any]) -> None:
        self.builder, self.number, self.names = builder, number, names

    def assign(self, statement: Statement) -> None:
        arguments = [self.names[name] for name in statement.arguments]
        self.names[statement.result] = self.value(statement.operation, *arguments)

    def value(self, operation: str, *arguments: Any) -> Any:
        if operation in _INSTRUCTIONS:
            return getattr(self.builder, _INSTRUCTIONS[operation])(*arguments)
        if operation in _INTRINSICS or operation in _FUNCTIONS:
            return self.call(operation, arguments)
        if operation in _COMPARISONS:
            return self.builder.fcmp_ordered(_COMPARISONS[operation], *arguments)
        return getattr(self, operation)(*arguments)

    def ne(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_unordered("!=", a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        return self._larger(">", a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return self._larger("<", a, b)

    def _larger(self, comparison: str, a: Any, b: Any) -> Any:
        """Write the one of two that compares so with the other; NaN stays NaN."""
        build = self.builder
        is_first = build.or_(build.fcmp_ordered(comparison, a, b), build.fcmp_unordered("uno", a, a))
        return build.select(is_first, a, b)

    def clamp_min(self, x: Any, border: Any) -> Any:
        return self.maximum(border, x)

    def clamp_max(self, x: Any, border: Any) -> Any:
        return self.minimum(border, x)

    def relu(self, x: Any) -> Any:
        return self.maximum(self.names["zero"], x)

    def detach(self, x: Any) -> Any:
        return x

    def spike(self, x: Any) -> Any:
        is_spike = self.builder.fcmp_ordered(">=", x, self.names["zero"])
        return self.builder.select(is_spike, self.names["one"], self.names["zero"])

    def sigmoid(self, x: Any) -> Any:
        one = self.names["one"]
        return self.builder.fdiv(one, self.builder.fadd(one, self.exp(self.builder.fneg(x))))

    def modulo(self, a: Any, b: Any) -> Any:
        """Write the remainder with the sign of b."""
        build, zero = self.builder, self.names["zero"]
        rest = build.frem(a, b)
        is_other = build.xor(build.fcmp_ordered("<", b, zero), build.fcmp_ordered("<", rest, zero))
        is_other = build.and_(is_other, build.fcmp_unordered("!=", rest, zero))
        return build.select(is_other, build.fadd(rest, b), rest)

    def polynomial(self, x: Any, coefficients: tuple[float, ...]) -> Any:
        total = self.number(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.builder.fadd(self.builder.fmul(total, x), self.number(coefficient))
        return total

    def exp(self, x: Any) -> Any:
        """Write e^x = 2^n e^r, with |r| at most ln 2 / 2, so that a loop with it becomes vector instructions."""
        build, bits = self.builder, 32 if isinstance(self.number, ir.FloatType) else 64
        (lowest, highest), (ln_2, rest), mantissa, *coefficients = _EXP[bits]
        for kind, border in (("<", self.number(lowest)), (">", self.number(highest))):
            x = build.select(build.fcmp_ordered(kind, x, border), border, x)
        n = self.call("round", [build.fmul(x, self.number(1 / math.log(2)))])
        r = build.fsub(build.fsub(x, build.fmul(n, self.number(ln_2))), build.fmul(n, self.number(rest)))
        square, one = build.fmul(r, r), self.number(1.0)
        if bits == 32:
            y = build.fadd(build.fadd(build.fmul(self.polynomial(r, coefficients[0]), square), r), one)
        else:
            p = build.fmul(r, self.polynomial(square, coefficients[0]))
            quotient = build.fdiv(p, build.fsub(self.polynomial(square, coefficients[1]), p))
            y = build.fadd(build.fadd(quotient, quotient), one)
        integer = ir.IntType(bits)
        nothing = build.fcmp_unordered("uno", n, n)  # NaN has no whole number
        whole = build.fptosi(build.select(nothing, self.number(0.0), n), integer)
        half = build.ashr(whole, integer(1))
        for power in (half, build.sub(whole, half)):  # in two steps, since 2^n itself may be too large
            exponent = build.shl(build.add(power, integer((1 << bits - mantissa - 2) - 1)), integer(mantissa))
            y = build.fmul(y, build.bitcast(exponent, self.number))
        return y

    def call(self, operation: str, arguments: Sequence[Any]) -> Any:
        is_single = isinstance(self.number, ir.FloatType)
        if operation in _INTRINSICS:
            name = f"llvm.{_INTRINSICS[operation]}.f{32 if is_single else 64}"
        else:
            name = _FUNCTIONS[operation] + "f" * is_single
        kind = ir.FunctionType(self.number, [self.number] * len(arguments))
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)


def _rows(module: Any, number: Any, code: Code, direction: str) -> Any:
    """Write the loop: a function of n, the constants, and a pointer to each row."""
    states, parameters = range(code.states), range(code.parameters)
    read = ["x", *(f"v{k}" for k in states), *(f"p{k}" for k in parameters)]
    if direction == "forward":
        statements, results = code.forward, code.outputs
        written = ["y", *(f"w{k}" for k in states)]
    else:
        statements, results = code.backward, code.gradients
        read += ["g_y", *(f"g_v{k}" for k in states)]
        written = ["g_x", *(f"g_v{k}" for k in states), *(f"g_p{k}" for k in parameters)]
    rows = list(dict.fromkeys([*read, *written]))
    pointer = number.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [_INT, pointer, *[pointer] * len(rows)])
    function = ir.Function(module, kind, f"{direction}_rows")
    function.linkage = "internal"
    for argument in function.args[1:]:
        argument.add_attribute("noalias")
    builder = ir.IRBuilder(function.append_basic_block())
    n, constants, *pointers = function.args
    at = dict(zip(rows, pointers, strict=True))

    def constant(k: int) -> Any:
        return builder.load(builder.gep(constants, [ir.Constant(_INT, k)]))

    names = {"one": constant(0), "zero": constant(1)}
    names |= {f"c{k}": constant(CONSTANTS + k) for k in range(code.constants)}
    with cgutils.for_range(builder, n) as loop:
        here = {name: builder.gep(place, [loop.index]) for name, place in at.items()}
        emitter = _Emitter(builder, number, names | {name: builder.load(here[name]) for name in read})
        for statement in statements:
            emitter.assign(statement)
        values = [emitter.names[name] for name in results]
        for name, value in zip(written, values, strict=True):
            if name.startswith("g_p"):
                value = builder.fadd(builder.load(here[name]), value)
            builder.store(value, here[name])
    builder.ret_void()
    return function, rows


def _entry(module: Any, number: Any, code: Code, direction: str) -> None:
    """Write the function that kernels call."""
    rows_function, rows = _rows(module, number, code, direction)
    groups = ["c", "p", "x", "v", *(["w", "y"] if direction == "forward" else ["g_y", "g_v", "g_x", "g_p"])]
    pointer = number.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [_INT, _INT, *[pointer] * len(groups)])
    function = ir.Function(module, kind, direction)
    builder = ir.IRBuilder(function.append_basic_block())
    n, step, *pointers = function.args
    groups_at = dict(zip(groups, pointers, strict=True))
    places = []
    for name in rows:
        if name in groups_at:
            places.append(groups_at[name])
        else:
            group, k = name.rstrip("0123456789"), int(name.lstrip("g_pvw"))
            places.append(builder.gep(groups_at[group], [builder.mul(step, ir.Constant(_INT, k))]))
    builder.call(rows_function, [n, groups_at["c"], *places])
    builder.ret_void()


@cache
@global_compiler_lock
def addresses(code: Code, dtype: Any) -> tuple[int, int]:
    """Return where the forward and the backward function of a program for numbers of this numpy dtype lie."""
    number = ir.DoubleType() if dtype == np.float64 else ir.FloatType()
    library = cpu_target.target_context.codegen().create_library("snn_core")
    module = library.create_ir_module("rows")
    for direction in ("forward", "backward"):
        _entry(module, number, code, direction)
    library.add_ir_module(module)
    library.finalize()
    _libraries.append(library)  # its code is freed with it
    return library.get_pointer_to_function("forward"), library.get_pointer_to_function("backward")
