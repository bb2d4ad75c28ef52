"""The structures that kernels take, described once for all who read or write them.

All fields are 64 bits wide; tensors are addresses, 0 where there is none. :func:`struct` writes a structure in C,
:func:`columns` says at which of its words each field begins. Kernels for the CPU take :data:`CALL`, those for CUDA
:data:`HEAD`; either has a structure ``Stage`` for each stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from snn_core.kernels.limits import MOST_CONSTANTS, MOST_PARAMETERS, MOST_STATES


class Field(NamedTuple):
    """A field: its name, in C in small letters, how many words it has, and its type in C."""

    name: str
    words: int = 1
    kind: str = "Index"


def _fields(names: str, words: int = 1, kind: str = "Index") -> list[Field]:
    return [Field(name, words, kind) for name in names.split()]


#: What a tensor that is read, and one that is written, are in C.
_READ, _WRITTEN = "const Compute*", "Compute*"
#: Outputs that go back, whether by taps, numbers of a row before and after, states and parameters of the cell.
_SIZES = _fields("FEEDBACK TAPS INPUTS OUTPUTS STATES PARAMETERS")
#: The weights; parameters and how many numbers each has; for each state, and last for the outputs that go back, what is
#: before the first step, and the gradient of what is after the last.
_TENSORS = [
    *_fields("WEIGHT BIAS TAP", kind=_READ),
    *_fields("PARAMETER", MOST_PARAMETERS, _READ),
    *_fields("SIZE", MOST_PARAMETERS),
    *_fields("FIRST G_LAST", MOST_STATES + 1, _READ),
]
#: Those of a stage for the CPU.
CPU = [
    *_SIZES,
    *_TENSORS,
    # For each state, and last for outputs: what is after the last step, the gradient of what is before the first, and
    # what is returned of all steps, with its gradient.
    *_fields("LAST G_FIRST SEQ", MOST_STATES + 1, _WRITTEN),
    *_fields("G_SEQ", MOST_STATES + 1, _READ),
    # Which kind of stage; how many outputs before a segment are kept, at least one; the cell's functions.
    *_fields("KIND BEFORE"),
    Field("FORWARD", kind="Forward*"),
    Field("BACKWARD", kind="Backward*"),
    # Offsets in ``w`` of outputs, states, parameters, currents and sums by taps; in ``u`` of gradients.
    *_fields("Y V P CURRENT Z GY GV GP GZ"),
    # Those of packed weights.
    *_fields("TO_Y FROM_Y OF_Y FROM_OF_Y PACKED_BIAS"),
    # Those of the gradients of weights and parameters, and of its states among those of all stages at a border.
    *_fields("GRADIENT STATE"),
]
#: What a kernel for the CPU takes. First the next item of work, the threads that have taken one, and their memory.
CALL = [
    *_fields("COUNTER THREADS"),
    Field("SCRATCH", kind=_WRITTEN),
    # Items of work, stages, steps and samples; steps of a segment, samples of a block, blocks of an item.
    *_fields("ITEMS COUNT STEPS ALL SEGMENT BLOCK PER_ITEM"),
    # Numbers of w, u, the memory in u to pack inputs in, and all states, for each sample; of the widest row. Where in u
    # the gradients before and after a stage begin.
    *_fields("SCRATCH_SIZE WORK_SIZE PACKED_WORK STATE_SIZE WIDEST SIDES"),
    Field("STAGES", kind="const Stage*"),
    Field("NUMBERS", kind=_READ),
    # The input with what lies between steps, samples and numbers, and which samples; the outputs; so of gradients.
    Field("X", kind=_READ), *_fields("X_T X_N X_I"), Field("INDEX", kind="const Index*"),
    Field("Y_SEQ", kind=_WRITTEN),
    Field("G_Y", kind=_READ), *_fields("G_T G_N G_I"), Field("G_X", kind=_WRITTEN),
    # Packed weights; what is kept of each block, if anything is; states at the borders between segments.
    Field("PACKED", kind=_WRITTEN), Field("KEPT", kind="Compute* const*"), Field("BORDERS", kind=_WRITTEN),
    # The gradients of weights and parameters and two numbers of the loss, a row for each item.
    Field("SUMS", kind=_WRITTEN), *_fields("SUM_SIZE"),
    # Which loss, the labels, and memory for the mean of the outputs.
    *_fields("LOSS"), Field("LABELS", kind="const Index*"), Field("OUT", kind=_WRITTEN),
]  # fmt: skip
#: What the threads know of a job: its function, what that takes, and when the first of them found no item left. What
#: the caller knows: until when it works alone, for how long it did so the last time, both in nanoseconds; OpenMP's
#: function, that of the clock, and which clock.
JOB = [
    Field("FUNCTION", kind="void (*{})(void *)"), Field("ARGUMENTS", kind="void*"), *_fields("ENDED ALONE_UNTIL ALONE"),
    Field("PARALLEL", kind="void (*{})(void (*)(void *), void *, unsigned, unsigned)"),
    Field("CLOCK", kind="int (*{})(Index, Index *)"), *_fields("CLOCK_NUMBER"),
]  # fmt: skip
#: A piece of a weight: where its gradient begins, how long it is; the weight, what the optimizer keeps of it, and its
#: sigmoid if that is what the plan takes.
PIECE = [*_fields("AT COUNT"), *_fields("WEIGHT FIRST SECOND SIGMOID", kind=_WRITTEN)]
#: Of each piece: its gradient's sum of squares, and later 0 or NaN; its gradient's largest number.
NOTE = _fields("SQUARES LARGEST", kind="double")
#: Numbers of the optimizer; the last are the factor by which gradients are clipped, the scale, 0 for none, and how many
#: good steps it has seen.
SETTINGS = _fields(
    "LEARNING_RATE DECAY BETA_1 BETA_2 EPSILON TAKEN MOST_NORM FACTOR SCALE GOOD", kind="double"
)
#: What is recorded of a step: the mean loss, how many samples were right, 0 where all weights are finite, else NaN, and
#: whether it was left out.
RECORD = _fields("LOSS RIGHT BAD SKIPPED", kind="double")
#: Steps of training: the next piece, the scan, how many steps; pieces, the last of which is the loss's, how long they
#: are at most; which optimizer.
TRAINING = [
    *_fields("COUNTER"), Field("CALL", kind="Call*"), *_fields("STEPS PIECES PIECE OPTIMIZER"),
    Field("TABLE", kind="const Piece*"), Field("NOTES", kind="Note*"), Field("SETTINGS", kind="Settings*"),
    Field("RECORD", kind="Record*"),
]  # fmt: skip
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
    lines = []
    for kind, words, label in [(field.kind, field.words, field.name.lower()) for field in fields]:
        label += f"[{words}]" * (words > 1)
        lines.append(f"    {kind.format(label) if '{}' in kind else f'{kind} {label}'};")
    return "\n".join([f"typedef struct {name} {{", *lines, *[f"    {more}"] * bool(more), f"}} {name};\n"])


def header() -> str:
    """Return what ``engine/engine.c`` includes as ``fields.h``."""
    numbers = 2 + MOST_STATES + MOST_CONSTANTS  # one, zero, first values of states, constants
    structures = {
        "Stage": CPU, "Call": CALL, "Job": JOB, "Piece": PIECE, "Note": NOTE, "Settings": SETTINGS, "Record": RECORD,
        "Training": TRAINING,
    }  # fmt: skip
    limits = f"enum {{ MOST_STATES = {MOST_STATES}, NUMBERS = {numbers} }};\n"
    return "\n".join([limits, *[struct(name, fields) for name, fields in structures.items()]])
