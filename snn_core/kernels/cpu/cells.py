"""The functions of a cell for the CPU: its program, see :mod:`snn_core.kernels.record`, as loops over a row.

``n`` neurons lie side by side. In C the functions are the ``Forward`` and the ``Backward`` of ``engine/engine.c``:

``forward(n, step, c, p, x, v, w, y)``
    reads the input ``x`` and the states ``v`` before the step; writes the states ``w`` after it and the output ``y``.
``backward(n, step, c, p, x, v, g_y, g_v, g_x, g_p)``
    reads the same and the gradients ``g_y`` of the output and ``g_v`` of the states after the step; writes the
    gradient ``g_x`` of the input, turns ``g_v`` into that of the states before the step, and adds those of parameters
    to ``g_p``.

``c`` are one, zero, the first values of states, and from :data:`CONSTANTS` on the program's constants. ``p``, ``v``,
``w``, ``g_v`` and ``g_p`` hold a row for each parameter or state, ``step`` numbers apart.

The optimiser turns the loops into vector instructions. It takes each operation as it stands, without fused
multiply-add, so that spikes equal those of the torch loop to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from snn_core.kernels.cpu import load
from snn_core.kernels.limits import MOST_STATES
from snn_core.kernels.record.equations import Code
from snn_core.kernels.record.symbols import OPERATIONS, Statement

#: Where the constants of a program begin.
CONSTANTS = 2 + MOST_STATES


def _loop(
    name: str,
    n: str,
    code: Code,
    read: Sequence[str],
    statements: Sequence[Statement],
    results: dict[str, str],
) -> str:
    """Return a function whose arguments are the constants and a row for each name, which do not overlap."""
    rows = list(dict.fromkeys([*read, *results]))
    constants = {"one": 0, "zero": 1} | {f"c{k}": CONSTANTS + k for k in range(code.constants)}
    given = ", ".join(f"ptr noalias %at.{row}" for row in rows)
    lines = [f"define internal void @{name}_rows(i64 %n, ptr noalias %c, {given}) {{"]
    for constant, at in constants.items():
        lines += [
            f"  %c.{constant} = getelementptr {n}, ptr %c, i64 {at}",
            f"  %{constant} = load {n}, ptr %c.{constant}",
        ]
    lines += ["  %some = icmp sgt i64 %n, 0", "  br i1 %some, label %loop, label %end", "loop:"]
    lines += ["  %m = phi i64 [ 0, %0 ], [ %next, %loop ]"]
    lines += [f"  %in.{row} = getelementptr {n}, ptr %at.{row}, i64 %m" for row in rows]
    lines += [f"  %{row} = load {n}, ptr %in.{row}" for row in read]
    for result, operation, arguments in statements:
        text = OPERATIONS[operation].llvm.format(*[f"%{one}" for one in arguments], n=n, zero="%zero")
        lines.append(f"  %{result} = {text}")
    for row, value in results.items():
        if row.startswith("g_p"):
            lines += [
                f"  %old.{row} = load {n}, ptr %in.{row}",
                f"  %new.{row} = fadd {n} %old.{row}, %{value}",
            ]
            value = f"new.{row}"
        lines.append(f"  store {n} %{value}, ptr %in.{row}")
    lines += [
        "  %next = add i64 %m, 1",
        "  %more = icmp slt i64 %next, %n",
        "  br i1 %more, label %loop, label %end",
    ]
    return "\n".join([*lines, "end:", "  ret void", "}", _entry(name, n, rows)])


def _entry(name: str, n: str, rows: Sequence[str]) -> str:
    """Return the function that the engine calls, which cuts its arguments into rows."""
    groups = ["c", "p", "x", "v", *(["w", "y"] if name == "forward" else ["g_y", "g_v", "g_x", "g_p"])]
    lines = [f"define void @{name}(i64 %n, i64 %step, {', '.join(f'ptr %{group}' for group in groups)}) {{"]
    places = ["c"]
    for row in rows:
        if row not in groups:
            group, k = row.rstrip("0123456789"), row.lstrip("g_pvw")
            lines += [
                f"  %skip.{row} = mul i64 %step, {k}",
                f"  %{row} = getelementptr {n}, ptr %{group}, i64 %skip.{row}",
            ]
        places.append(row)
    call = f"  call void @{name}_rows(i64 %n, {', '.join(f'ptr %{place}' for place in places)})"
    return "\n".join([*lines, call, "  ret void", "}"])


def text(code: Code, dtype: str) -> str:
    """Return the functions of a cell in LLVM's language for numbers of C's type."""
    states, parameters = range(code.states), range(code.parameters)
    read = ["x", *(f"v{k}" for k in states), *(f"p{k}" for k in parameters)]
    forward = ["y", *(f"w{k}" for k in states)]
    backward = ["g_x", *(f"g_v{k}" for k in states), *(f"g_p{k}" for k in parameters)]
    seeds = ["g_y", *(f"g_v{k}" for k in states)]
    return "\n\n".join(
        [
            _loop("forward", dtype, code, read, code.forward, dict(zip(forward, code.outputs, strict=True))),
            _loop(
                "backward",
                dtype,
                code,
                read + seeds,
                code.backward,
                dict(zip(backward, code.gradients, strict=True)),
            ),
        ]
    )


@lru_cache(maxsize=1024)
def functions(code: Code, dtype: str) -> load.Functions:
    """Return the forward and the backward function of a program for numbers of C's type."""
    module = f"{text(code, dtype)}\n{load.texts()[load.CELL.format(dtype)]}"
    return load.functions_of(module, "forward", "backward")
