"""The plan of a scan: which stages a kernel takes a sequence through, read off modules.

A stage is a linear layer, or a cell, with or without feedback. A module that can be planned offers a method
``part(like)``, which returns a :class:`Part`, or None, whose reason :func:`~snn_core.kernels.decisions.loop` keeps. A
plan takes exactly what it knows: a module that has hooks, or whose class overrides what a plan would not call, is
called as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_core import kernels as backend
from snn_core.cells import Cell
from snn_core.checks import Like
from snn_core.kernels.decisions import does_only_forward, loop, loop_within, note
from snn_core.kernels.limits import MOST_CONSTANTS, MOST_PARAMETERS, MOST_STATES
from snn_core.kernels.record.equations import parameters_of, program_of
from snn_core.kernels.record.symbols import NotScalarError, Program, parse

#: Numbers of a stage: the first values of its states, and the constants of its program.
NUMBERS = MOST_STATES + MOST_CONSTANTS
#: Samples of a block on the CPU, twice as many where a matrix of this many numbers is too large for a core's cache and
#: is read anew for each; neurons of a block where none are connected.
SAMPLES, LARGE, COLUMNS = 16, 1 << 18, 256
#: Numbers that a block may have in a core's cache, and the fewest steps of a segment nevertheless.
SCRATCH, FEWEST_STEPS = 1 << 20, 8


class Stage(NamedTuple):
    """What a kernel must know about a stage besides its tensors.

    ``kernel`` is "linear" or the text of a cell's program. ``feedback`` says how many outputs y[t-1], ..., y[t-D] go
    back through a linear layer; those of each neuron are first added up by ``taps`` [D, J] if this is 1, else the
    weight [J, (1 + D) J] has a matrix for each. ``states`` and ``parameters`` are the numbers of the cell's. Tensors of
    a linear stage are weight and bias; those of a cell its states, with feedback the outputs [D, N, J], weight, bias
    and, if there are, taps; then its parameters.
    """

    kernel: str
    feedback: int
    taps: int
    inputs: int
    outputs: int
    states: int
    parameters: int
    numbers: tuple[float, ...]

    @property
    def tensors(self) -> int:
        if self.kernel == "linear":
            return 2
        return self.states + (3 + self.taps) * (self.feedback > 0) + self.parameters

    @property
    def is_dense(self) -> bool:
        return self.kernel == "linear" or self.feedback > 0

    @property
    def products(self) -> int:
        """Numbers of its weight matrix, which are multiplications of one sample in one step, too."""
        if self.kernel == "linear":
            return self.inputs * self.outputs
        matrices = 1 if self.taps else self.feedback
        return (1 + matrices) * self.outputs**2 if self.feedback else 0

    @property
    def state_size(self) -> int:
        """Numbers of one sample's states, the outputs that go back among them."""
        return (self.states + self.feedback) * self.outputs

    @property
    def width(self) -> int:
        """Numbers that the backward pass must know of one sample and step: the output; of cells the state, too."""
        return (1 + self.states + 2 * (self.feedback > 0) + self.taps) * self.outputs


class Plan:
    """Stages, and what follows from them.

    Args:
        kernels, sizes, numbers: the stages in flat lists, as an op of torch takes them.
    """

    def __init__(self, kernels: tuple[str, ...], sizes: tuple[int, ...], numbers: tuple[float, ...]) -> None:
        self.flat = kernels, sizes, numbers
        self.stages = [
            Stage._make((kernel, *sizes[6 * k : 6 * k + 6], numbers[NUMBERS * k : NUMBERS * (k + 1)]))
            for k, kernel in enumerate(kernels)
        ]
        self.tensors = sum(stage.tensors for stage in self.stages)
        self.state_size = sum(stage.state_size for stage in self.stages)
        #: Whether a sample is a row of neurons that are connected, and not a single neuron.
        self.is_dense = any(stage.is_dense for stage in self.stages)
        self.widest = max(max(stage.inputs, stage.outputs) for stage in self.stages)
        self.width = self.stages[0].inputs + sum(stage.width for stage in self.stages) + 2 * self.widest

    @property
    def samples(self) -> int:
        """How many samples make a block on the CPU."""
        if not self.is_dense:
            return COLUMNS
        return SAMPLES if max(stage.products for stage in self.stages) < LARGE else 2 * SAMPLES

    def segments(self, T: int) -> tuple[int, int]:
        """Return the steps of a segment of T, and how many borders there are between segments.

        States are kept at the borders, and the backward pass computes a segment forward again.
        """
        steps = max(min(T, SCRATCH // (self.width * self.samples)), min(T, FEWEST_STEPS))
        steps = -(-T // -(-T // steps))
        return steps, -(-T // steps) - 1


@lru_cache(maxsize=256)
def plan_of(kernels: tuple[str, ...], sizes: tuple[int, ...], numbers: tuple[float, ...]) -> Plan:
    """Return the plan of these stages; the same one every time."""
    return Plan(kernels, sizes, numbers)


class Part(NamedTuple):
    """A stage with its tensors, see :class:`Stage`, and where its states are kept: modules and names.

    ``has_history`` says that outputs that go back are kept with a dimension of their own behind that of samples, and
    ``is_whole`` that a sample of any shape is one row of connected neurons, which no other stage knows.
    """

    stage: Stage
    tensors: tuple[Tensor | None, ...]
    owners: tuple[tuple[Any, str], ...]
    module: nn.Module
    has_history: bool = False
    is_whole: bool = False


def is_heard(tensor: Tensor) -> bool:
    """Say whether hooks wait for the gradient of a tensor."""
    return bool(tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None))


def defines(module: nn.Module, method: str, *overridden: str) -> bool:
    """Say whether ``module`` has a ``method`` that stands for its calls: nothing is replaced below its class."""
    for kind in type(module).__mro__:
        if method in vars(kind):
            return does_only_forward(module)
        if "forward" in vars(kind) or any(name in vars(kind) for name in overridden):
            return False
    return False


def is_chain(module: nn.Module) -> bool:
    """Say whether a module stands for its children, one after the other."""
    known = type(module) is nn.Sequential or "is_chain" in vars(type(module))
    return known and does_only_forward(module)


def read(module: Any, like: Like, backend_name: str = "auto") -> Part | None:
    """Return the part of a plan that stands for ``module`` on a sequence whose steps are like ``like``, or None."""
    if type(module) is nn.Linear:
        return _linear(module, like, backend_name)
    if not hasattr(type(module), "part"):
        return loop(f"no kernel knows {type(module).__name__}")
    if not defines(module, "part", "forward_sequence"):
        return loop("it has hooks, or a forward of its own")
    return module.part(like)


def _linear(module: nn.Linear, like: Like, backend_name: str) -> Part | None:
    if not does_only_forward(module):
        return loop("it has hooks or a forward of its own")
    if not backend.runs_fused(backend_name, like):
        return None
    weight, bias = module.weight, module.bias
    fits = (
        like.dtype == weight.dtype
        and like.device == weight.device
        and len(like.shape) > 0
        and like.shape[-1] == module.in_features
    )
    left_to_torch = torch.is_autocast_enabled(like.device.type)
    if not fits or left_to_torch or like.dtype not in (torch.float32, torch.float64):
        return loop(f"torch's own product for {like.dtype} on {like.device.type}, or autocast")
    stage = Stage("linear", 0, 0, module.in_features, module.out_features, 0, 0, (0.0,) * NUMBERS)
    return Part(stage, (weight, bias), (), module)


def cell_part(module: Any, cell: Cell, like: Like, owners: Sequence[tuple[Any, str]]) -> Part | None:
    """Return the part of a module's cell, or None if kernels do not know its equations.

    Args:
        module: what the part stands for.
        cell: its equations.
        like: what a time step is like.
        owners: who keeps each state, and its name.
    """
    try:
        program, constants = program_of(cell)
    except NotScalarError as error:
        return loop(str(error))
    if not _fits(program):
        return loop(
            f"kernels take {MOST_STATES} states, {MOST_PARAMETERS} parameters and {MOST_CONSTANTS} numbers at most, it "
            f"has {program.states}, {program.parameters} and {program.constants}"
        )
    parameters = [_row(parameter, like) for parameter in parameters_of(cell)]
    if any(one is None for one in parameters):
        return loop("a parameter has another dtype, or does not fit the neurons of a sample")
    initial = cell.initial
    states = [
        owner.checked_state(name, like, first) if isinstance(first, Tensor) else owner.kept_state(name, like)
        for (owner, name), first in zip(owners, initial, strict=True)
    ]
    numbers = [
        *(0.0 if isinstance(first, Tensor) else first for first in initial),
        *(0.0,) * (MOST_STATES - len(initial)),
    ]
    numbers += [*constants, *(0.0,) * (MOST_CONSTANTS - len(constants))]
    features = like.shape[-1] if like.shape else 1
    stage = Stage(program.text(), 0, 0, features, features, len(states), len(parameters), tuple(numbers))
    return Part(stage, (*states, *parameters), tuple(owners), module)


def _fits(program: Program) -> bool:
    """Say whether kernels have room for a cell."""
    return (
        program.states <= MOST_STATES
        and program.parameters <= MOST_PARAMETERS
        and program.constants <= MOST_CONSTANTS
    )


@lru_cache(maxsize=1024)
def _joined(first: str, second: str) -> tuple[str, int, int] | None:
    """Return the program of two cells in one and the numbers of their constants; None if kernels lack the room."""
    programs = parse(first), parse(second)
    both = programs[0].then(programs[1])
    return (both.text(), programs[0].constants, programs[1].constants) if _fits(both) else None


@torch.compiler.assume_constant_result  # else torch.compile follows the function behind the cache, and warns
def _programs_in_series(first: str, second: str) -> tuple[str, int, int] | None:
    return _joined(first, second)


def _in_series(first: Stage, second: Stage) -> Stage | None:
    """Return two cells as one, so that what lies between them stays in registers; None if that is not possible."""
    if "linear" in (first.kernel, second.kernel) or first.feedback or second.feedback:
        return None
    found = _programs_in_series(first.kernel, second.kernel)
    if found is None:
        return None
    text, constants, more = found
    a, b = first.states, second.states
    numbers = (
        *first.numbers[:a], *second.numbers[:b], *(0.0,) * (MOST_STATES - a - b),
        *first.numbers[MOST_STATES : MOST_STATES + constants], *second.numbers[MOST_STATES : MOST_STATES + more],
        *(0.0,) * (MOST_CONSTANTS - constants - more),
    )  # fmt: skip
    parameters = first.parameters + second.parameters
    return first._replace(kernel=text, states=a + b, parameters=parameters, numbers=numbers)


def merged(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with neighbours that are cells, without feedback, as one."""
    found: list[Part] = []
    for part in parts:
        stage = _in_series(found[-1].stage, part.stage) if found else None
        if stage is None:
            found.append(part)
            continue
        before = found.pop()
        (a, b), ours, theirs = (len(before.owners), len(part.owners)), before.tensors, part.tensors
        tensors = (*ours[:a], *theirs[:b], *ours[a:], *theirs[b:])
        found.append(Part(stage, tensors, before.owners + part.owners, before.module))
    return found


def _row(parameter: Tensor, like: Like) -> Tensor | None:
    """Return a parameter as one number, or as one for each neuron of a sample; None if it is neither."""
    if parameter.dim() == 0 and parameter.is_floating_point():
        return parameter.reshape(1)
    neurons = tuple(like.shape[1:])
    fits = parameter.dtype == like.dtype and parameter.dim() <= len(neurons)
    fits = fits and all(
        have in (1, want) for have, want in zip(reversed(parameter.shape), reversed(neurons), strict=False)
    )
    if not fits:
        return None
    return parameter.reshape(1) if parameter.numel() == 1 else parameter.expand(neurons).reshape(-1)


def single_cell(sub_module: Any, like: Like) -> Part | None:
    """Return the part of a container's sub_module, if that is a single cell."""
    part = read(sub_module, like)
    if part is None:
        return loop_within("its sub_module")
    if part.stage.is_dense or part.module is not sub_module or not hasattr(sub_module, "cell"):
        return loop("its sub_module is not a single cell")
    return part


def cells_in_series(sub_module: Any, like: Like) -> Part | None:
    """Return the part of a container's sub_module, if that is a single cell, or an ``nn.Sequential`` of cells."""
    if type(sub_module) is not nn.Sequential:
        return single_cell(sub_module, like)
    if not is_chain(sub_module):
        return loop("its sub_module has hooks")
    parts: list[Part] = []
    for cell in sub_module._modules.values():  # children() leaves out what is there twice
        part = cells_in_series(cell, like)
        if part is None:
            return None
        if _shares_state(part, parts):
            return loop("its sub_module has a cell twice")
        parts.append(part)
    found = merged(parts)
    if len(found) != 1:
        return loop("its sub_module is not a chain of cells, few enough for a kernel")
    return found[0]


def with_element_wise_feedback(
    module: Any, sub_module: Any, like: Like, around: Callable[[Cell], Cell]
) -> Part | None:
    """Return the part of a container that feeds its neuron back element by element, ``around`` the neuron's cell."""
    part = single_cell(sub_module, like)
    if part is None:
        return None
    return cell_part(module, around(sub_module.cell(like)), like, [*part.owners, (module, "y")])


def with_linear_feedback(
    module: Any,
    sub_module: Any,
    like: Like,
    weight: Tensor,
    bias: Tensor | None,
    history: tuple[str, int] | None = None,
    taps: Tensor | None = None,
    whole: bool = False,
) -> Part | None:
    """Return the part of a container that feeds its cells back through a linear layer, see :class:`Stage`.

    Args:
        module: the container.
        sub_module: its neuron, or a neuron and what it gives its spikes to, in an ``nn.Sequential``.
        like: what a time step is like.
        weight: of the layer.
        bias: of the layer.
        history: the state ``[N, D, *, J]`` that holds the outputs that go back, and D; None for y[t-1] in ``y``.
        taps: factors ``[D, J]`` of each neuron's earlier outputs.
        whole: whether the neurons of a sample are all connected, and not those along its last dimension.
    """
    part = cells_in_series(sub_module, like)
    if part is None:
        return None
    own, parameters = part.tensors[: part.stage.states], part.tensors[part.stage.states :]
    name, depth = history or ("y", 1)
    at = place_of_history(like.shape)
    shape = (*like.shape[:at], depth, *like.shape[at:]) if history else like.shape
    kept = module.kept_state(name, like._replace(shape=shape))
    if kept is not None and history:
        kept = kept.movedim(at, 0)
    features = len(weight) if whole else part.stage.outputs
    return Part(
        part.stage._replace(feedback=depth, taps=int(taps is not None), inputs=features, outputs=features),
        (*own, kept, weight, bias, *([] if taps is None else [taps]), *parameters),
        (*part.owners, (module, name)),
        module,
        history is not None,
        whole,
    )


def place_of_history(step: Sequence[int]) -> int:
    """Return the dimension of a state of earlier outputs that counts them, behind that of samples."""
    return min(1, len(step) - 1)


def run(x_seq: Tensor, parts: Sequence[Part]) -> Tensor:
    """Take ``x_seq`` through the parts in one scan, at once or as a part of one that is deferred."""
    from snn_core.kernels import deferred

    if not parts:
        return x_seq
    _check_steps(x_seq, parts)
    if deferred.defers(x_seq) and not any(part.is_whole for part in parts):
        return deferred.extend(x_seq, list(parts), _output_shape(x_seq.shape, parts))
    return run_now(x_seq, merged(parts))


def _check_steps(x_seq: Tensor, parts: Sequence[Part]) -> None:
    for part in parts:
        if part.has_history:
            part.module.check_steps(len(x_seq))  # type: ignore[operator]


def _output_shape(shape: Sequence[int], parts: Sequence[Part]) -> tuple[int, ...]:
    last = next((part.stage.outputs for part in reversed(parts) if part.stage.kernel == "linear"), shape[-1])
    return *shape[:-1], last


def prepared(x_seq: Tensor, parts: Sequence[Part]) -> tuple[Tensor, tuple[Any, ...]]:
    """Return ``x_seq`` as ``[T, N, K]`` and the plan in flat lists; unless connected, each neuron is a sample."""
    stages = [part.stage for part in parts]
    if any(stage.is_dense for stage in stages):
        features = stages[0].inputs
        samples = math.prod(x_seq.shape[1:]) // features if features else math.prod(x_seq.shape[1:-1])
    else:
        stages = [stage._replace(inputs=1, outputs=1) for stage in stages]
        samples, features = math.prod(x_seq.shape[1:]), 1
    kernels = tuple([stage.kernel for stage in stages])
    sizes = tuple([size for stage in stages for size in stage[1:7]])
    numbers = tuple([number for stage in stages for number in stage.numbers])
    return x_seq.reshape(len(x_seq), samples, features), (kernels, sizes, numbers)


def run_with_lengths(x_seq: Tensor, parts: Sequence[Part], lengths: Tensor) -> Tensor:
    """Take ``x_seq`` through the parts, each sample through as many steps as it has; see :func:`run_now`.

    Samples are sorted by length, so that those of a block end together, and steps that nobody takes cost nothing.
    """
    _check_steps(x_seq, parts)
    if x_seq.dim() == 2 and any(part.stage.is_dense for part in parts):
        raise ValueError(f"with lengths x_seq must be [T, N, features], got {list(x_seq.shape)}")
    parts = merged(parts)
    order = lengths.argsort(descending=True, stable=True)
    back = order.argsort()
    padding = mask_of(lengths, len(x_seq)).logical_not()
    padding = padding.view(*padding.shape, *[1] * (x_seq.dim() - 2))

    def picked(part: Part, k: int, tensor: Tensor | None, by: Tensor) -> Tensor | None:
        is_state = k < len(part.owners) and tensor is not None
        return tensor.index_select(len(_deep(part, k)), by) if is_state else tensor  # type: ignore[union-attr]

    sorted_parts = [
        part._replace(tensors=tuple(picked(part, k, one, order) for k, one in enumerate(part.tensors)))
        for part in parts
    ]
    x_seq = x_seq.masked_fill(padding, 0)
    y_seq = run_now(x_seq.index_select(1, order), sorted_parts, lengths[order])
    for part in parts:
        for owner, name in part.owners:
            owner.keep_state(name, getattr(owner, name).index_select(0, back))
    return y_seq.index_select(1, back).masked_fill(padding, 0)


def mask_of(lengths: Tensor, T: int) -> Tensor:
    """Return which steps sequences of these lengths have, bool ``[T, N]``."""
    return torch.arange(T, device=lengths.device)[:, None] < lengths


def run_now(x_seq: Tensor, parts: Sequence[Part], lengths: Tensor | None = None) -> Tensor:
    """Take ``x_seq`` through the parts in one scan, and keep the last states where they belong.

    ``lengths``, in descending order, say how many steps each sample has.
    """
    from snn_core.kernels import op as ops  # here and not above, because importing numba takes half a second

    rows, flat = prepared(x_seq, parts)
    is_dense, N, tensors = any(part.stage.is_dense for part in parts), rows.shape[1], []
    for part in parts:
        for k, tensor in enumerate(part.tensors):
            if k < len(part.owners) and tensor is not None:
                tensor = tensor.reshape(-1, part.stage.outputs if is_dense else 1)
            tensors.append(tensor)
    if lengths is not None and len(lengths) != N:
        lengths = lengths.repeat_interleave(N // max(len(lengths), 1))
    y_seq, last = ops.scan(rows, tensors, flat, lengths)
    at, step = 0, x_seq.shape[1:]
    for part in parts:
        shape = (*step[:-1], part.stage.outputs) if is_dense and not part.is_whole else step
        for k, (owner, name) in enumerate(part.owners):
            deep = (*_deep(part, k), *shape)
            size = math.prod(deep)
            state = last[at : at + size].view(deep)
            owner.keep_state(name, state.movedim(0, place_of_history(shape)) if _deep(part, k) else state)
            at += size
    return y_seq.view(_output_shape(x_seq.shape, parts))


def _deep(part: Part, k: int) -> tuple[int, ...]:
    """Return the dimension that state ``k`` has in addition, of the earlier outputs."""
    return (part.stage.feedback,) if k == part.stage.states and part.has_history else ()


def _shares_state(part: Part, others: Sequence[Part]) -> bool:
    """Say whether a module keeps a state for ``part`` and for one of the others, too."""
    theirs = [owner for other in others for owner, _ in other.owners]
    return any(owner is other for owner, _ in part.owners for other in theirs)


def scan(
    x_seq: Tensor,
    modules: Sequence[Any],
    call: Callable[[Any, Tensor], Tensor],
    backend_name: str = "auto",
    lengths: Tensor | None = None,
) -> Tensor:
    """Take ``x_seq`` through modules, neighbours that have a part in one scan, the others by ``call``.

    ``lengths``, int64 ``[N]`` on the CPU, say how many steps each sample has; ``call`` knows them.
    """

    def flush(x_seq: Tensor, parts: Sequence[Part]) -> Tensor:
        if lengths is None or not parts or bool((lengths == len(x_seq)).all()):
            return run(x_seq, parts)
        return run_with_lengths(x_seq, parts, lengths.to(x_seq.device))

    waiting: list[Part] = []
    shape: Sequence[int] = x_seq.shape[1:]
    for module in modules:
        part = read(module, Like(shape, x_seq.dtype, x_seq.device), backend_name)
        if part is not None and _shares_state(part, waiting):
            # It goes on from the states that it has at the end of its first time.
            x_seq, waiting = flush(x_seq, waiting), []
            part = read(module, Like(shape, x_seq.dtype, x_seq.device), backend_name)
        note(
            module, part is not None, bool(waiting) and not (part and (part.is_whole or waiting[-1].is_whole))
        )
        if part is None:
            x_seq, waiting = call(module, flush(x_seq, waiting)), []
            shape = x_seq.shape[1:]
        else:
            if part.is_whole or any(one.is_whole for one in waiting):
                x_seq, waiting = flush(x_seq, waiting), []
            waiting.append(part)
            if part.stage.kernel == "linear":
                shape = (*shape[:-1], part.stage.outputs)
    return flush(x_seq, waiting)
