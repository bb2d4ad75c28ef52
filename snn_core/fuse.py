"""What stands for a module in a fused scan, or why nothing does.

A module that can be fused has a method ``part(like)``, which returns a :class:`Part`, or the reason why not, a string.
A scan takes exactly what it knows: a module that has hooks, or whose class overrides what a scan would not call, is
called as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_core import kernels
from snn_core.cells import Cell, parameters_of
from snn_core.checks import Like, does_only_forward, is_autocast


class Part(NamedTuple):
    """What stands for a module in a scan.

    Args:
        stage: see :class:`snn_core.kernels.Stage`.
        states: of its cells, in their order: the module that keeps a state, its name, and its first value. With
            feedback the outputs that go back come last.
        constants: numbers of its program.
        weights: weight, bias and, if there are, taps; none of a cell without feedback.
        parameters: of its cells, each one number or one for each neuron of a sample.
        sources: how each of its cells is made, and what was recorded of it.
        module: the module.
        outputs: lists that get the outputs of all steps, see :meth:`snn_core.state.MemoryModule.record`.
        has_history: whether the outputs that go back have a dimension of their own, behind that of samples.
        is_whole: whether a sample of any shape is one row of connected neurons, which no other stage knows.
    """

    stage: kernels.Stage
    states: tuple[tuple[Any, str, float | Tensor], ...]
    constants: tuple[float, ...]
    weights: tuple[Tensor | None, ...]
    parameters: tuple[Tensor, ...]
    sources: tuple[tuple[Callable[[], Cell], Any], ...]
    module: Any
    outputs: tuple[list[Tensor], ...] = ()
    has_history: bool = False
    is_whole: bool = False

    @property
    def numbers(self) -> tuple[float, ...]:
        """The first values of its states and its constants, as a scan takes them."""
        firsts = [0.0 if isinstance(first, Tensor) else first for *_, first in self.states]
        return self.stage.numbers(firsts[: self.stage.states], self.constants)


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
    # One that asks for a backend passes it on to its own layers.
    return known and does_only_forward(module) and getattr(module, "backend", "auto") == "auto"


def flattened(modules: Any, chains: list[nn.Module] | None = None) -> Iterator[nn.Module]:
    """Yield modules, the children of a chain in place of it; ``chains`` gets the chains."""
    for module in modules:
        if not is_chain(module):
            yield module
            continue
        if chains is not None:
            chains.append(module)
        yield from flattened(module._modules.values(), chains)  # children() leaves out what is there twice


# What is read off modules.

#: Most weights of a linear layer in a scan: in fp32 they are 1 MiB, which fits into a core's cache.
LARGEST = 1 << 18


def read(module: Any, like: Like, backend: str = "auto", is_direct: bool = False) -> Part | str:
    """Return what stands for ``module`` on a sequence whose steps are like ``like``, or why it takes the loop.

    ``is_direct`` says that the module asks for itself: hooks and overriding were its class's responsibility.
    """
    if type(module) is nn.Linear and not is_direct:
        return _linear(module, like, backend)
    if not hasattr(type(module), "part"):
        has_state = any(hasattr(part, "state_names") for part in module.modules())
        fix = ": write its equations as a Cell" if has_state else ", which is called on all steps at once"
        return f"no kernel knows {type(module).__name__}{fix}"
    if not (is_direct or defines(module, "part", "forward_sequence")):
        return f"it has hooks, or a forward of its own: {WITHOUT_HOOKS}"
    return _own_states(module) or module.part(like)


#: Methods by which modules read and keep their states in each step. A scan does it once, and without them.
_STATE_METHODS = "checked_state", "kept_state", "keep_state", "_before", "_keep", "_keep_y"


def _own_states(module: Any) -> str:
    """Return which of these methods a user has replaced, "" if none."""
    for name in _STATE_METHODS:
        method = vars(module).get(name) or getattr(type(module), name, None)
        if method is not None and not method.__module__.startswith("snn_core."):
            return f"it has a {name} of its own: leave its states to MemoryModule"
    return ""


#: What to do about hooks, and about a class that replaces what a scan would not call.
WITHOUT_HOOKS = (
    "record steps by record(), write other equations as a Cell, remove() what prunes or parametrizes"
)


def _linear(module: nn.Linear, like: Like, backend: str) -> Part | str:
    if not does_only_forward(module):
        return f"it has hooks, or a forward of its own: {WITHOUT_HOOKS}"
    reason = kernels.why_not(backend, like)
    if reason:
        return reason
    weight, bias = module.weight, module.bias
    fits = (
        like.dtype == weight.dtype
        and like.device == weight.device
        and len(like.shape) > 0
        and like.shape[-1] == module.in_features
    )
    if not fits or is_autocast(like.device) or like.dtype not in (torch.float32, torch.float64):
        return f"torch's own product for {like.dtype} on {like.device.type}, or autocast"
    if weight.numel() > LARGEST:
        return f"torch's own product is faster with {weight.numel():,} weights, kernels take {LARGEST:,}"
    stage = kernels.Stage(None, 0, 0, module.in_features, module.out_features)
    return Part(stage, (), (), (weight, bias), (), (), module)


def of_cell(
    module: Any, make: Callable[[], Cell], like: Like, owners: Sequence[tuple[Any, str]]
) -> Part | str:
    """Return what stands for a module with a cell, or why kernels do not know its equations.

    Args:
        module: what the part stands for.
        make: returns its equations, with its numbers and parameters at this moment.
        like: what a time step is like.
        owners: who keeps each state, and its name.
    """
    cell = make()
    recorded = kernels.program(cell, like.dtype)
    if isinstance(recorded, str):
        return recorded
    rows = rows_of(cell, like)
    if any(one is None for one in rows):
        return "a parameter has another dtype, or does not fit the neurons of a sample"
    features = like.shape[-1] if like.shape else 1
    states = [(*owner, first) for owner, first in zip(owners, cell.initial, strict=True)]
    stored = sum([1 << k for k, owner in enumerate(owners) if records_of(*owner)])
    stage = kernels.Stage(recorded.program, 0, 0, features, features, stored)
    part = Part(stage, tuple(states), recorded.constants, (), rows, ((make, recorded),), module)
    return _also_records(part, records_of(module, OUTPUT))


#: What :meth:`snn_core.state.MemoryModule.record` calls the outputs of a module.
OUTPUT = "output"


def records_of(module: Any, name: str) -> tuple[list[Tensor], ...]:
    """Return the lists that get all steps of a module's state, or of its outputs."""
    return tuple([to for what, to in module._recorders if what == name])


def rows_of(cell: Cell, like: Like) -> tuple[Any, ...]:
    """Return the parameters of a cell as a scan takes them, None for one that it cannot take."""
    return tuple([_row(parameter, like) for parameter in parameters_of(cell)])


def _row(parameter: Tensor, like: Like) -> Tensor | None:
    """Return a parameter as one number, or as one for each neuron of a sample; None if it is neither."""
    if parameter.dim() == 0 and parameter.is_floating_point():
        return parameter
    neurons = tuple(like.shape[1:])
    if parameter.dtype != like.dtype or parameter.dim() > len(neurons):
        return None
    pairs = zip(reversed(parameter.shape), reversed(neurons), strict=False)
    if not all(have in (1, want) for have, want in pairs):
        return None
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter if parameter.shape == neurons[-1:] == neurons else parameter.expand(neurons).reshape(-1)


def with_numbers(part: Part) -> Part | None:
    """Return a part with the constants of this moment; None if more than constants may have changed."""
    found: list[float] = []
    firsts: list[Any] = []
    for make, recorded in part.sources:
        cell = make()
        constants = recorded.constants_of(cell)
        if constants is None:
            return None
        found += constants
        firsts += cell.initial
    # As text, since 0.0 equals -0.0.
    if repr(firsts) != repr([first for *_, first in part.states[: len(firsts)]]):
        return None
    return part._replace(constants=tuple(found))


def merged(parts: Sequence[Part]) -> list[tuple[Part, int]]:
    """Return parts of which neighbours that are cells, without feedback, are one, each with how many it stands for."""
    found: list[tuple[Part, int]] = []
    for part in parts:
        before, count = found[-1] if found else (part, 0)
        stage = before.stage.then(part.stage) if found else None
        if stage is None:
            found.append((part, 1))
            continue
        both = before._replace(
            stage=stage,
            states=before.states + part.states,
            constants=before.constants + part.constants,
            parameters=before.parameters + part.parameters,
            sources=before.sources + part.sources,
            outputs=part.outputs,
        )
        found[-1] = both, count + 1
    return found


def single_cell(sub_module: Any, like: Like) -> Part | str:
    """Return the part of a container's sub_module, if that is a single cell."""
    part = read(sub_module, like)
    if isinstance(part, str):
        return f"its sub_module: {part}"
    if part.stage.is_dense or part.module is not sub_module or not hasattr(sub_module, "cell"):
        return (
            "its sub_module is not a single cell: feed back a neuron, or an nn.Sequential of one and synapses"
        )
    return part


def cells_in_series(sub_module: Any, like: Like) -> Part | str:
    """Return the part of a container's sub_module, if that is a single cell, or an ``nn.Sequential`` of cells."""
    if type(sub_module) is not nn.Sequential:
        return single_cell(sub_module, like)
    if not is_chain(sub_module):
        return "its sub_module has hooks"
    parts: list[Part] = []
    for cell in sub_module._modules.values():  # children() leaves out what is there twice
        part = cells_in_series(cell, like)
        if isinstance(part, str):
            return part
        if shares_state(part, parts):
            return "its sub_module has a cell twice"
        parts.append(part)
    found = merged(parts)
    if len(found) != 1:
        return "its sub_module is not a chain of cells, few enough for a kernel"
    return found[0][0]


def with_element_wise_feedback(
    module: Any, sub_module: Any, like: Like, around: Callable[[Cell], Cell]
) -> Part | str:
    """Return the part of a container that feeds its neuron back element by element, ``around`` the neuron's cell."""
    part = single_cell(sub_module, like)
    if isinstance(part, str):
        return part
    owners = [(owner, name) for owner, name, _ in part.states]
    around_it = of_cell(module, lambda: around(sub_module.cell(like)), like, [*owners, (module, "y")])
    return around_it if isinstance(around_it, str) else _also_records(around_it, part.outputs)


def _also_records(part: Part, outputs: tuple[list[Tensor], ...]) -> Part:
    """Return a part whose outputs also go to these lists."""
    if not outputs:
        return part
    return part._replace(stage=part.stage.with_outputs(), outputs=part.outputs + outputs)


def with_linear_feedback(
    module: Any,
    sub_module: Any,
    like: Like,
    weight: Tensor,
    bias: Tensor | None,
    history: tuple[str, int] | None = None,
    taps: Tensor | None = None,
    whole: bool = False,
) -> Part | str:
    """Return the part of a container that feeds its cells back through a linear layer.

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
    if isinstance(part, str):
        return part
    name, depth = history or ("y", 1)
    features = len(weight) if whole else part.stage.outputs
    part = _also_records(part, records_of(module, OUTPUT))
    stage = part.stage._replace(feedback=depth, taps=int(taps is not None), inputs=features, outputs=features)
    reason = kernels.why_not("auto", like, stage)
    if reason:
        return reason
    return part._replace(
        stage=stage,
        states=(*part.states, (module, name, 0.0)),
        weights=(weight, bias) if taps is None else (weight, bias, taps),
        module=module,
        has_history=history is not None,
        is_whole=whole,
    )


def place_of_history(step: Sequence[int]) -> int:
    """Return the dimension of a state of earlier outputs that counts them, behind that of samples."""
    return min(1, len(step) - 1)


def shares_state(part: Part, others: Sequence[Part]) -> bool:
    """Say whether a module keeps a state for ``part`` and for one of the others, too."""
    theirs = [owner for other in others for owner, *_ in other.states]
    return any(owner is other for owner, *_ in part.states for other in theirs)


def after(part: Part, like: Like) -> Like:
    """Return what a step is like after a part."""
    is_linear = part.stage.program is None
    return like._replace(shape=(*like.shape[:-1], part.stage.outputs)) if is_linear else like
