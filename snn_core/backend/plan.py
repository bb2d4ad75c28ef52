"""The plan of a scan: which stages a kernel takes a sequence through, read off modules.

A stage is a linear layer, or a cell, with or without feedback. A module that can be planned offers a method
``part(like)``, which returns a :class:`Part`, or None, whose reason :func:`~snn_core.backend.decisions.loop` keeps. A
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
from torch.nn.modules.module import _has_any_global_hook

from snn_core import backend
from snn_core.backend.decisions import loop, loop_within, note
from snn_core.cells import IF, Cell
from snn_core.checks import Like
from snn_core.surrogate import SurrogateFunction

NONE, ELEMENT_WISE, DENSE = range(3)
#: Numbers of a stage, in the order in which kernels take them: ``keep`` and ``jump`` write both resets as
#: v = (1 - keep s) h + jump s, and ``slope_1 + slope_h h`` is the derivative of v to s, 0 where the reset is detached;
#: ``a`` and ``b`` are the surrogate's. The cell's own follow.
FIRE = ("v_initial", "v_threshold", "keep", "jump", "slope_1", "slope_h", "a", "b")
MOST_OWN = 6
_LENGTH = len(FIRE) + MOST_OWN
#: Samples of a block on the CPU, twice as many where a matrix of this many numbers is too large for a core's cache and
#: is read anew for each; neurons of a block where none are connected.
SAMPLES, LARGE, COLUMNS = 16, 1 << 18, 1024
#: Numbers that a block may have in a core's cache, and the fewest steps of a segment nevertheless.
SCRATCH, FEWEST_STEPS = 1 << 20, 8


class Stage(NamedTuple):
    """What a kernel must know about a stage besides its tensors.

    ``kernel`` is "linear" or the name of a cell's kernel, followed by ":" and that of its surrogate function if it has
    one; ``states`` and ``parameters`` are the numbers of the cell's. Tensors of a linear stage are weight and bias;
    those of a cell its states, y[t-1] with feedback, weight and bias of the feedback if that is dense, its parameters.
    """

    kernel: str
    feedback: int
    inputs: int
    outputs: int
    states: int
    parameters: int
    numbers: tuple[float, ...]

    @property
    def tensors(self) -> int:
        if self.kernel == "linear":
            return 2
        return self.states + (0, 1, 3)[self.feedback] + self.parameters

    @property
    def is_dense(self) -> bool:
        return self.kernel == "linear" or self.feedback == DENSE

    @property
    def products(self) -> int:
        """Numbers of its weight matrix, which are multiplications of one sample in one step, too."""
        if self.kernel == "linear":
            return self.inputs * self.outputs
        return 2 * self.outputs**2 if self.feedback == DENSE else 0

    @property
    def state_size(self) -> int:
        """Numbers of one sample's states, y[t-1] among them."""
        return (self.states + bool(self.feedback)) * self.outputs

    @property
    def width(self) -> int:
        """Numbers that the backward pass must know of one sample and step: the output; of cells the state, too."""
        own = 0 if self.kernel == "linear" else self.states + 1 + bool(self.feedback)
        return (1 + own) * self.outputs


class Plan:
    """Stages, and what follows from them.

    Args:
        kernels, sizes, numbers: the stages in flat lists, as an op of torch takes them.
    """

    def __init__(self, kernels: tuple[str, ...], sizes: tuple[int, ...], numbers: tuple[float, ...]) -> None:
        self.flat = kernels, sizes, numbers
        self.stages = [
            Stage._make((kernel, *sizes[5 * k : 5 * k + 5], numbers[_LENGTH * k : _LENGTH * (k + 1)]))
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
    """A stage with its tensors, see :class:`Stage`, and where its states are kept: modules and names."""

    stage: Stage
    tensors: tuple[Tensor | None, ...]
    owners: tuple[tuple[Any, str], ...]
    module: nn.Module


def does_only_forward(module: nn.Module) -> bool:
    """Say whether calling ``module`` does nothing but what its class says: no hooks, no ``forward`` of its own."""
    hooks = (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _has_any_global_hook()
    )
    return not (hooks or "forward" in module.__dict__)


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
    stage = Stage("linear", NONE, module.in_features, module.out_features, 0, 0, (0.0,) * _LENGTH)
    return Part(stage, (weight, bias), (), module)


def cell_part(module: Any, cell: Cell, like: Like, states: tuple[Tensor | None, ...]) -> Part | None:
    """Return the part of a module's cell, None if no kernel knows it; a state is None where it is still to be made."""
    if "kernel" not in vars(type(cell)):  # a subclass may compute something else
        return loop("its cell is not one that kernels know")
    rows = cell.tensors
    tensors = [name for name, value in vars(cell).items() if isinstance(value, Tensor) and name not in rows]
    if tensors:  # which may want a gradient
        return loop(f"{', '.join(tensors)} is a tensor, kernels take numbers")
    kernel, fire = cell.kernel, (0.0,) * 7
    if isinstance(cell, IF):
        surrogate: Any = cell.surrogate_function
        if not _is_known(surrogate):
            return loop("its surrogate function is not one that kernels know")
        kernel, fire = f"{kernel}:{surrogate.kernel}", (*_reset(cell), *surrogate.kernel_constants())
    own = cell.numbers()
    numbers = (cell.initial[0], *fire, *own, *(0.0,) * (MOST_OWN - len(own)))
    parameters = [_row(getattr(cell, name), like.shape) for name in rows]
    features = like.shape[-1] if like.shape else 1
    stage = Stage(kernel, NONE, features, features, len(states), len(parameters), numbers)
    return Part(stage, (*states, *parameters), tuple((module, name) for name in module.states), module)


def _is_known(surrogate: Any) -> bool:
    """Say whether the kernels compute this surrogate function: its class's, with nothing replaced."""
    return (
        isinstance(surrogate, SurrogateFunction)
        and "kernel" in vars(type(surrogate))  # a subclass may compute something else
        and surrogate.spiking
        and not isinstance(surrogate.alpha, Tensor)
        and does_only_forward(surrogate)
        and not vars(surrogate).keys() & {"derivative", "primitive"}
    )


def _reset(cell: IF) -> tuple[float, ...]:
    """Return v_threshold, keep, jump, slope_1 and slope_h, see :data:`FIRE`."""
    keep, jump = (0.0, -cell.v_threshold) if cell.v_reset is None else (1.0, cell.v_reset)
    slope = (0.0, 0.0) if cell.detach_reset else (jump, -keep)
    return cell.v_threshold, keep, jump, *slope  # type: ignore[return-value]


def _row(parameter: Tensor, step: Sequence[int]) -> Tensor:
    """Return a parameter as one number, or as one for each neuron of a sample ``step[1:]``."""
    return parameter.reshape(1) if parameter.numel() == 1 else parameter.expand(step[1:]).reshape(-1)


def with_feedback(module: Any, sub_module: Any, like: Like, linear: nn.Linear | None = None) -> Part | None:
    """Return the part of a container: its neuron, fed back element by element or through a linear layer."""
    part = read(sub_module, like)
    if part is None:
        return loop_within("its sub_module")
    if part.stage.kernel == "linear" or part.stage.feedback:
        return loop("its sub_module is not a single cell")
    own, parameters = part.tensors[: part.stage.states], part.tensors[part.stage.states :]
    weights = () if linear is None else (linear.weight, linear.bias)
    return Part(
        part.stage._replace(feedback=ELEMENT_WISE if linear is None else DENSE),
        (*own, module.kept_state("y", like), *weights, *parameters),
        (*part.owners, (module, "y")),
        module,
    )


def run(x_seq: Tensor, parts: Sequence[Part]) -> Tensor:
    """Take ``x_seq`` through the parts in one scan, at once or as a part of one that is deferred."""
    from snn_core.backend import deferred

    if not parts:
        return x_seq
    if deferred.defers(x_seq):
        return deferred.extend(x_seq, list(parts), _output_shape(x_seq.shape, parts))
    return run_now(x_seq, parts)


def _output_shape(shape: Sequence[int], parts: Sequence[Part]) -> tuple[int, ...]:
    last = next((part.stage.outputs for part in reversed(parts) if part.stage.kernel == "linear"), shape[-1])
    return *shape[:-1], last


def prepared(x_seq: Tensor, parts: Sequence[Part]) -> tuple[Tensor, tuple[Any, ...]]:
    """Return ``x_seq`` as ``[T, N, K]`` and the plan in flat lists; unless connected, each neuron is a sample."""
    stages = [part.stage for part in parts]
    if any(stage.is_dense for stage in stages):
        samples, features = math.prod(x_seq.shape[1:-1]), stages[0].inputs
    else:
        stages = [stage._replace(inputs=1, outputs=1) for stage in stages]
        samples, features = math.prod(x_seq.shape[1:]), 1
    kernels = tuple([stage.kernel for stage in stages])
    sizes = tuple([size for stage in stages for size in stage[1:6]])
    numbers = tuple([number for stage in stages for number in stage.numbers])
    return x_seq.reshape(len(x_seq), samples, features), (kernels, sizes, numbers)


def run_now(x_seq: Tensor, parts: Sequence[Part]) -> Tensor:
    """Take ``x_seq`` through the parts in one scan, and keep the last states where they belong."""
    from snn_core.backend import ops  # here and not above, because importing numba takes half a second

    rows, flat = prepared(x_seq, parts)
    is_dense, N, tensors = any(part.stage.is_dense for part in parts), rows.shape[1], []
    for part in parts:
        for k, tensor in enumerate(part.tensors):
            if k < len(part.owners) and tensor is not None:
                tensor = tensor.reshape(N, part.stage.outputs if is_dense else 1)
            tensors.append(tensor)
    y_seq, last = ops.scan(rows, tensors, flat)
    at, step = 0, x_seq.shape[1:]
    for part in parts:
        size = N * (part.stage.outputs if is_dense else 1)
        for owner, name in part.owners:
            owner.keep_state(
                name, last[at : at + size].view((*step[:-1], part.stage.outputs) if is_dense else step)
            )
            at += size
    return y_seq.view(_output_shape(x_seq.shape, parts))


def scan(
    x_seq: Tensor,
    modules: Sequence[Any],
    call: Callable[[Any, Tensor], Tensor],
    backend_name: str = "auto",
) -> Tensor:
    """Take ``x_seq`` through modules, those in a row that are known in one scan, the others by ``call``."""
    waiting: list[Part] = []
    shape: Sequence[int] = x_seq.shape[1:]
    for module in modules:
        part = read(module, Like(shape, x_seq.dtype, x_seq.device), backend_name)
        note(module, part is not None, bool(waiting))
        if part is None:
            x_seq, waiting = call(module, run(x_seq, waiting)), []
            shape = x_seq.shape[1:]
        else:
            waiting.append(part)
            if part.stage.kernel == "linear":
                shape = (*shape[:-1], part.stage.outputs)
    return run(x_seq, waiting)
