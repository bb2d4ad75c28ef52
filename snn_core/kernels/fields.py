"""The structure that kernels take of each stage, described once for all who read or write it.

The kernels for the CPU read a row of integers, in which :data:`CPU` has a column for each field, as a constant of this
module under its name, such as ``fields.WEIGHT``. Those for CUDA read the structure that :func:`struct` writes in C. All
fields are 64 bits wide; tensors are addresses, 0 where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from snn_core.kernels.limits import MOST_PARAMETERS, MOST_STATES


class Field(NamedTuple):
    """A field: its name, in C in small letters, how many words it has, and its type in C."""

    name: str
    words: int = 1
    kind: str = "Index"


def _fields(names: str, words: int = 1, kind: str = "Index") -> list[Field]:
    return [Field(name, words, kind) for name in names.split()]


#: Outputs that go back, whether by taps, numbers of a row before and after, states and parameters of the cell.
_SIZES = _fields("FEEDBACK TAPS INPUTS OUTPUTS STATES PARAMETERS")
#: The weights; parameters and how many numbers each has; for each state, and last for the outputs that go back, what is
#: before the first step, and the gradient of what is after the last.
_TENSORS = [
    *_fields("WEIGHT BIAS TAP", kind="const Compute*"),
    *_fields("PARAMETER", MOST_PARAMETERS, "const Compute*"),
    *_fields("SIZE", MOST_PARAMETERS),
    *_fields("FIRST G_LAST", MOST_STATES + 1, "const Compute*"),
]
#: Those of a row for the CPU.
CPU = [
    *_SIZES,
    *_TENSORS,
    # For each state, and last for outputs: what is after the last step, the gradient of what is before the first, and
    # what is returned of all steps, with its gradient.
    *_fields("LAST G_FIRST SEQ G_SEQ", MOST_STATES + 1),
    # How many outputs before a segment are kept, at least one; the addresses of the cell's functions.
    *_fields("BEFORE FORWARD BACKWARD"),
    # Offsets in ``w`` of outputs, states, parameters, currents and sums by taps; in ``u`` of gradients.
    *_fields("Y V P CURRENT Z GY GV GP GZ"),
    # Those of packed weights.
    *_fields("TO_Y FROM_Y OF_Y FROM_OF_Y PACKED_BIAS"),
    # Those of the gradients of weights and parameters, and of its states among those of all stages at a border.
    *_fields("GRADIENT STATE"),
]
#: Those for a GPU.
CUDA = [
    *_SIZES,
    *_TENSORS,
    # The last states of the forward pass, or the gradients of the first of the backward pass, one after the other; and
    # what is returned of all steps, or its gradients.
    *_fields("LAST SEQ", kind="Compute*"),
    # A bit for each state, and for the outputs, of which all steps are returned; the cell; where the rings of its input
    # and its outputs begin in shared memory, in numbers of a sample, and how many rows they have.
    *_fields("STORED CELL FROM FROM_ROWS AT ROWS"),
    # The transposed weight, and, of the backward kernel, [T, N, J], the input that was kept.
    *_fields("WEIGHT_T INPUT", kind="const Compute*"),
    # What the forward pass keeps, for each state, of the sum with the feedback, of the output, and of earlier outputs
    # added up by taps; the gradient of what goes into the cell; of parameters, [P, N, J], and of taps, [D, N, J].
    *_fields("KEPT_V KEPT_I KEPT_Y KEPT_Z G_I G_P G_TAPS", kind="Compute*"),
]
#: What a kernel for CUDA takes besides its stages: steps, all samples, those of a block, threads side by side in a row,
#: stages, and sequences.
HEAD = [
    *_fields("STEPS ALL SAMPLES THREADS COUNT"), *_fields("X G_Y", kind="const Scalar*"),
    *_fields("Y G_X", kind="Scalar*"),
]  # fmt: skip


def columns(fields: Sequence[Field]) -> dict[str, int]:
    """Return the column of each field, or the first of its columns; ``COLUMNS`` is how many there are."""
    columns, at = {}, 0
    for field in fields:
        columns[field.name], at = at, at + field.words
    return columns | {"COLUMNS": at}


def struct(name: str, fields: Sequence[Field], more: str = "") -> str:
    """Return a structure in C, with ``more`` at its end."""
    lines = [
        f"    {field.kind} {field.name.lower()}{f'[{field.words}]' if field.words > 1 else ''};"
        for field in fields
    ]
    return "\n".join([f"struct {name} {{", *lines, *[f"    {more}"] * bool(more), "};\n"])


def __getattr__(name: str) -> int:  # for type checkers: the columns follow from the list
    raise AttributeError(name)


globals().update(columns(CPU))
