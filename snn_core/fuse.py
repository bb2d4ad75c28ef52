"""Which neighbouring modules of a network one fused scan takes, and how it runs.

A module that can be fused has a method ``part(like)``, which returns a :class:`Part`, or the reason why not, a string.
A scan takes exactly what it knows: a module that has hooks, or whose class overrides what a scan would not call, is
called as it is. What was read is kept with the modules, as a :class:`Run`, and looked at again only after something has
changed: :class:`Watch` compares everything that reading saw with what is there now, object by object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, compress
from operator import is_
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.modules.module import _has_any_global_hook

from snn_core import kernels
from snn_core.cells import Cell, fields, parameters_of
from snn_core.checks import Like, does_only_forward, is_autocast


class Decision(NamedTuple):
    """How one part of a network ran.

    ``name`` is that of ``named_modules``, ``kind`` its class, ``fused`` whether a kernel took all time steps at once;
    where it did not, ``reason`` says why. Parts with one number ``scan`` share a kernel; it is 0 where none ran.
    """

    name: str
    kind: str
    fused: bool
    reason: str
    scan: int = 0

    def __str__(self) -> str:
        how = f"fused, in scan {self.scan}" if self.fused else f"not fused: {self.reason}"
        return f"{self.name:16} {self.kind:28} {how}"


class Part(NamedTuple):
    """What stands for a module in a scan.

    Args:
        stage: see :class:`snn_core.kernels.Stage`.
        states: of its cells, in their order: the module that keeps a state, its name, and its first value. With
            feedback the outputs that go back come last.
        constants: numbers of its program.
        weights: weight, bias and, if there are, taps; none of a cell without feedback.
        parameters: of its cells, each one number or one for each neuron of a sample.
        cells: its cells.
        module: the module.
        has_history: whether the outputs that go back have a dimension of their own, behind that of samples.
        is_whole: whether a sample of any shape is one row of connected neurons, which no other stage knows.
    """

    stage: kernels.Stage
    states: tuple[tuple[Any, str, float | Tensor], ...]
    constants: tuple[float, ...]
    weights: tuple[Tensor | None, ...]
    parameters: tuple[Tensor, ...]
    cells: tuple[Cell, ...]
    module: Any
    has_history: bool = False
    is_whole: bool = False

    @property
    def numbers(self) -> tuple[float, ...]:
        """The first values of its states and its constants, as a scan takes them."""
        firsts = [0.0 if isinstance(first, Tensor) else first for *_, first in self.states]
        return self.stage.numbers(firsts[: self.stage.states], self.constants)


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


def flattened(modules: Any) -> Iterator[nn.Module]:
    """Yield modules, the children of a chain in place of it."""
    for module in modules:
        if is_chain(module):
            yield from flattened(module._modules.values())  # children() leaves out what is there twice
        else:
            yield module


# What is read off modules.


def read(module: Any, like: Like, backend: str = "auto", is_direct: bool = False) -> Part | str:
    """Return what stands for ``module`` on a sequence whose steps are like ``like``, or why it takes the loop.

    ``is_direct`` says that the module asks for itself: hooks and overriding were its class's responsibility.
    """
    if is_direct:
        return module.part(like)
    if type(module) is nn.Linear:
        return _linear(module, like, backend)
    if not hasattr(type(module), "part"):
        return f"no kernel knows {type(module).__name__}"
    if not defines(module, "part", "forward_sequence"):
        return "it has hooks, or a forward of its own"
    return module.part(like)


def _linear(module: nn.Linear, like: Like, backend: str) -> Part | str:
    if not does_only_forward(module):
        return "it has hooks or a forward of its own"
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
    stage = kernels.Stage(None, 0, 0, module.in_features, module.out_features)
    return Part(stage, (), (), (weight, bias), (), (), module)


def of_cell(module: Any, cell: Cell, like: Like, owners: Sequence[tuple[Any, str]]) -> Part | str:
    """Return what stands for a module with a cell, or why kernels do not know its equations.

    Args:
        module: what the part stands for.
        cell: its equations.
        like: what a time step is like.
        owners: who keeps each state, and its name.
    """
    recorded = kernels.program(cell)
    if isinstance(recorded, str):
        return recorded
    parameters = [_row(parameter, like) for parameter in parameters_of(cell)]
    if any(one is None for one in parameters):
        return "a parameter has another dtype, or does not fit the neurons of a sample"
    features = like.shape[-1] if like.shape else 1
    states = [(*owner, first) for owner, first in zip(owners, cell.initial, strict=True)]
    stage = kernels.Stage(recorded.program, 0, 0, features, features)
    rows = tuple(parameters)
    return Part(stage, tuple(states), recorded.constants, (), rows, (cell,), module)  # type: ignore[arg-type]


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


def merged(parts: Sequence[Part]) -> list[list[Part]]:
    """Return the parts in groups: neighbours that are cells, without feedback, are one stage."""
    groups: list[list[Part]] = []
    stages: list[kernels.Stage] = []
    for part in parts:
        stage = stages[-1].then(part.stage) if stages else None
        if stage is None:
            groups.append([part])
            stages.append(part.stage)
        else:
            groups[-1].append(part)
            stages[-1] = stage
    return groups


def in_series(parts: Sequence[Part]) -> Part:
    """Return the parts of a group as one."""
    found, *rest = parts
    for part in rest:
        stage: Any = found.stage.then(part.stage)
        found = found._replace(
            stage=stage,
            states=found.states + part.states,
            constants=found.constants + part.constants,
            parameters=found.parameters + part.parameters,
            cells=found.cells + part.cells,
        )
    return found


def single_cell(sub_module: Any, like: Like) -> Part | str:
    """Return the part of a container's sub_module, if that is a single cell."""
    part = read(sub_module, like)
    if isinstance(part, str):
        return f"its sub_module: {part}"
    if part.stage.is_dense or part.module is not sub_module or not hasattr(sub_module, "cell"):
        return "its sub_module is not a single cell"
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
        if _shares_state(part, parts):
            return "its sub_module has a cell twice"
        parts.append(part)
    groups = merged(parts)
    if len(groups) != 1:
        return "its sub_module is not a chain of cells, few enough for a kernel"
    return in_series(groups[0])


def with_element_wise_feedback(
    module: Any, sub_module: Any, like: Like, around: Callable[[Cell], Cell]
) -> Part | str:
    """Return the part of a container that feeds its neuron back element by element, ``around`` the neuron's cell."""
    part = single_cell(sub_module, like)
    if isinstance(part, str):
        return part
    owners = [(owner, name) for owner, name, _ in part.states]
    return of_cell(module, around(sub_module.cell(like)), like, [*owners, (module, "y")])


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
    return part._replace(
        stage=part.stage._replace(
            feedback=depth, taps=int(taps is not None), inputs=features, outputs=features
        ),
        states=(*part.states, (module, name, 0.0)),
        weights=(weight, bias) if taps is None else (weight, bias, taps),
        module=module,
        has_history=history is not None,
        is_whole=whole,
    )


def place_of_history(step: Sequence[int]) -> int:
    """Return the dimension of a state of earlier outputs that counts them, behind that of samples."""
    return min(1, len(step) - 1)


def _shares_state(part: Part, others: Sequence[Part]) -> bool:
    """Say whether a module keeps a state for ``part`` and for one of the others, too."""
    theirs = [owner for other in others for owner, *_ in other.states]
    return any(owner is other for owner, *_ in part.states for other in theirs)


# What was read is kept.


class Watch:
    """Knows whether anything that reading modules depends on has changed: attributes, parameters, hooks, equations.

    Objects are compared by identity, so that a number that was set to another one is seen, and -0.0 for 0.0, too. What
    a module keeps from step to step is left out.
    """

    def __init__(self, modules: Sequence[nn.Module], parts: Sequence[Part]) -> None:
        known = list(dict.fromkeys(part for module in modules for part in module.modules()))
        cells = [owner for part in parts for cell in part.cells for owner, _, _ in fields(cell)]
        classes: dict[type, None] = {}
        for one in (*known, *cells):
            classes |= dict.fromkeys(kind for kind in type(one).__mro__ if not _is_torchs(kind))
        views: list[Any] = []
        masks: list[list[bool]] = []
        for module in known:
            own, left_out = vars(module), {"_runs", "_v_records", *getattr(module, "_state_names", ())}
            views.append(own.values())
            masks.append([name not in left_out for name in own])
            inside: Any = (module._parameters, module._buffers, module._modules, *_hooks(module))
            for inner in inside:
                views.append(inner.values())
                masks.append([True] * len(inner))
        for kind in classes:
            views.append(vars(kind).values())
            masks.append([not name.startswith("_abc_") for name in vars(kind)])
        # The end is seen at another place if anything was added or taken away.
        self.views, self.mask = [*views, (_END,)], [*chain.from_iterable(masks), True]
        self.seen = list(compress(chain.from_iterable(self.views), self.mask))
        #: Whether all classes and functions are the library's own; others may read what is not looked at here.
        self.is_own = all(f"{kind.__module__}.".startswith("snn_core.") for kind in classes) and not any(
            isinstance(value, FunctionType) for module in known for value in vars(module).values()
        )

    def holds(self) -> bool:
        """Say whether everything is as it was."""
        return all(map(is_, compress(chain.from_iterable(self.views), self.mask), self.seen))


_END = object()


def _is_torchs(kind: type) -> bool:
    return f"{kind.__module__}.".startswith(("torch.", "builtins.", "abc."))


def _hooks(module: nn.Module) -> tuple[dict[Any, Any], ...]:
    return (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )


class _Place(NamedTuple):
    """Where a state is kept, its first value, and what it must be like; ``history`` is the dimension of its steps."""

    owner: Any
    name: str
    first: float | Tensor
    like: Like
    history: int | None = None

    def in_memory(self) -> tuple[int, ...]:
        shape = tuple(self.like.shape)
        if self.history is None:
            return shape
        return shape[self.history], *shape[: self.history], *shape[self.history + 1 :]


class Run:
    """Neighbouring modules that one scan takes, for steps of one shape, dtype and device.

    Args:
        modules: the modules.
        parts: what stands for each.
        likes: what a time step is like before each.
    """

    def __init__(self, modules: Sequence[nn.Module], parts: Sequence[Part], likes: Sequence[Like]) -> None:
        self.modules, self.parts, self.likes = modules, parts, likes
        groups = merged(parts)
        joined = [in_series(group) for group in groups]
        #: Of each stage how many states it has, and which of the parts are in it.
        self.layout = []
        stages = [part.stage for part in joined]
        self.is_dense = any(stage.is_dense for stage in stages)
        if not self.is_dense:
            stages = [stage._replace(inputs=1, outputs=1) for stage in stages]
        self.stages, at = tuple(stages), 0
        for stage, group in zip(stages, groups, strict=True):
            self.layout.append((stage.states + (stage.feedback > 0), at, at + len(group)))
            at += len(group)
        self.numbers = tuple([number for part in joined for number in part.numbers])
        self.states = [
            place for part, like in zip(parts, likes, strict=True) for place in self._places(part, like)
        ]
        self.like_after = after(parts[-1], likes[-1])
        self.step_after = tuple(self.like_after.shape)
        self.has_history = any(part.has_history for part in parts)
        self._shapes: tuple[int, kernels.Shapes] = 0, kernels.Shapes((), (), [])
        #: Parts of which some tensors are computed from others, and so anew for each scan; set by :meth:`keep`.
        self.computed: list[int] = []
        self.watch: Any = None
        self.stop: Any = None

    def _places(self, part: Part, like: Like) -> Iterator[_Place]:
        """Yield where each state is kept and what it must be like."""
        step = tuple(like.shape)
        for k, (owner, name, first) in enumerate(part.states):
            if part.has_history and k == part.stage.states:
                at = place_of_history(step)
                deep = *step[:at], part.stage.feedback, *step[at:]
                yield _Place(owner, name, first, like._replace(shape=deep), at)
            else:
                yield _Place(owner, name, first, like._replace(shape=step))

    def keep(self, watched: Sequence[nn.Module], stop: Any = None) -> None:
        """Get ready to be used again: note what may change, and let go of what was computed.

        ``stop`` is the module behind, None at the end, which may be taken, too, when it has changed.
        """
        self.stop, self.computed = stop, []
        self.watch = Watch([*watched, *([] if stop is None else [stop])], self.parts)
        own = [tensor for module in self.modules for tensor in (*module.parameters(), *module.buffers())]
        known = {id(tensor) for tensor in own}
        for k, part in enumerate(self.parts):
            tensors = [one for one in (*part.weights, *part.parameters) if one is not None]
            if not (self.watch.is_own and all(id(one) in known for one in tensors)):
                self.computed.append(k)
        self.parts = [
            _without_graph(part) if k in self.computed else part for k, part in enumerate(self.parts)
        ]

    def parts_now(self, backend: str, is_direct: bool) -> Sequence[Part] | None:
        """Return the parts with what they compute at this moment; None if anything else has changed."""
        if not self.watch.holds():
            return None
        if not self.computed:
            return self.parts
        if self.stop is not None and not isinstance(
            read(self.stop, self.like_after, backend, is_direct), str
        ):
            return None
        found = list(self.parts)
        for k in self.computed:
            part = read(self.modules[k], self.likes[k], backend, is_direct)
            if isinstance(part, str) or not _is_same(part, found[k]):
                return None
            found[k] = part
        return found

    def shapes(self, T: int) -> kernels.Shapes:
        """Return how T steps lie in memory."""
        if self._shapes[0] != T:
            step, features = self.likes[0].shape, self.stages[0].inputs
            samples = math.prod(step) // features if features else math.prod(step[:-1])
            states = [place.in_memory() for place in self.states]
            self._shapes = T, kernels.Shapes((T, samples, features), (T, *self.step_after), states)
        return self._shapes[1]

    def __call__(self, x_seq: Tensor, parts: Sequence[Part], lengths: Tensor | None = None) -> Tensor:
        """Take a sequence through the modules, and keep the last states where they belong.

        ``lengths``, in descending order, say how many steps each sample has.
        """
        if self.has_history:
            for part in parts:
                if part.has_history:
                    part.module.check_steps(len(x_seq))
        shapes = self.shapes(len(x_seq))
        if lengths is not None and len(lengths) != shapes.rows[1]:
            lengths = lengths.repeat_interleave(shapes.rows[1] // max(len(lengths), 1))
        y_seq, *states = kernels.scan(x_seq, self.stages, self.numbers, self.tensors(parts), shapes, lengths)
        for (owner, name, _, _, history), state in zip(self.states, states, strict=True):
            vars(owner)[name] = state if history is None else state.movedim(0, history)
        return y_seq

    def tensors(self, parts: Sequence[Part]) -> list[Tensor | None]:
        """Return the tensors of all stages, in their order."""
        found: list[Tensor | None] = []
        at = 0
        for states, first, end in self.layout:
            for owner, name, value, like, history in self.states[at : at + states]:
                state = vars(owner).get(name)
                if state is not None or isinstance(value, Tensor) or name in owner._parameters:
                    state = _state_before(owner, name, value, like)
                    state = state if history is None else state.movedim(history, 0)
                found.append(state)
            at += states
            found += parts[first].weights
            for part in parts[first:end]:
                found += part.parameters
        return found


def _state_before(owner: Any, name: str, first: float | Tensor, like: Like) -> Tensor:
    """Return a state before the first step that is not a number."""
    return (
        owner.checked_state(name, like, first) if isinstance(first, Tensor) else owner.kept_state(name, like)
    )


def after(part: Part, like: Like) -> Like:
    """Return what a step is like after a part."""
    is_linear = part.stage.program is None
    return like._replace(shape=(*like.shape[:-1], part.stage.outputs)) if is_linear else like


def _without_graph(part: Part) -> Part:
    weights = tuple(None if one is None else one.detach() for one in part.weights)
    return part._replace(weights=weights, parameters=tuple(one.detach() for one in part.parameters))


def _is_same(part: Part, other: Part) -> bool:
    """Say whether two parts differ in tensors alone."""
    if part.stage != other.stage or len(part.weights) != len(other.weights):
        return False
    if any(a[0] is not b[0] or a[1] != b[1] for a, b in zip(part.states, other.states, strict=True)):
        return False
    numbers = [(a[2], b[2]) for a, b in zip(part.states, other.states, strict=True)]
    numbers += zip(part.constants, other.constants, strict=True)
    return all(a is b or _hex(a) == _hex(b) for a, b in numbers)


def _hex(number: float | Tensor) -> Any:
    return None if isinstance(number, Tensor) else float(number).hex()


# How sequences run.

#: Takes a module that is not fused and its input, and gives its output.
Call = Callable[[Any, Tensor], Tensor]
#: Runs that one module keeps.
MOST_RUNS = 16


def is_watched() -> bool:
    """Say whether a compiler, a transform of ``torch.func`` or a mode of torch looks at what is computed."""
    return (
        is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._is_tracing()
    )


def _reads_now(x_seq: Tensor) -> bool:
    """Say whether modules are read anew for this call: somebody watches it, or a mode changes what they do."""
    return (
        type(x_seq) not in (Tensor, nn.Parameter)
        or is_watched()
        or is_autocast(x_seq.device)
        or _has_any_global_hook()
    )


def _home(modules: Sequence[Any]) -> dict[Any, Any] | None:
    """Return where runs of these modules are kept: with the first of them that keeps any."""
    for module in modules:
        runs = vars(module).get("_runs")
        if runs is None and isinstance(module, nn.Sequential):
            runs = _home(list(module._modules.values()))
        if runs is not None:
            return runs
    return None


def _kept(runs: dict[Any, Any], key: Any, backend: str, is_direct: bool) -> tuple[Run, Sequence[Part]] | None:
    """Return a run that was kept under this key, and its parts, if nothing has changed."""
    run = runs.get(key)
    if run is None:
        return None
    parts = run.parts_now(backend, is_direct)
    return None if parts is None else (run, parts)


def _first_run(
    modules: Sequence[Any], x_seq: Tensor, backend: str, is_direct: bool = False
) -> tuple[Run, Sequence[Part]] | str:
    """Return the run of as many modules as possible from the first on, and its parts; or why that one takes the loop.

    ``is_direct`` says that the module asks for itself: hooks and overriding were its class's responsibility.
    """
    like = Like(x_seq.shape[1:], x_seq.dtype, x_seq.device)
    decisions, runs = vars(modules[0]).get("_decisions"), None
    if decisions is None and not _reads_now(x_seq):
        runs = _home(modules)
    if runs is not None:
        key = (like, backend, is_direct, *map(id, modules))
        found = _kept(runs, key, backend, is_direct)
        if found is not None:
            return found
    parts: list[Part] = []
    likes: list[Like] = []
    reason, stop = "", None
    for module in modules:
        part = read(module, like, backend, is_direct)
        if isinstance(part, str):
            reason, stop = part, module
            break
        if parts and (_shares_state(part, parts) or part.is_whole or parts[-1].is_whole):
            break
        parts.append(part)
        likes.append(like)
        like = after(part, like)
    _note(decisions, modules[: max(len(parts), 1)], "" if parts else reason)
    if not parts:
        return reason
    run = Run(modules[: len(parts)], parts, likes)
    if runs is not None and not any(isinstance(place.first, Tensor) for place in run.states):
        run.keep(run.modules, stop)
        _add(runs, key, run)
    return run, parts


def _add(runs: dict[Any, Any], key: Any, run: Run) -> None:
    if len(runs) >= MOST_RUNS:
        runs.clear()
    runs[key] = run


def _note(decisions: Any, modules: Sequence[Any], reason: str) -> None:
    """Add how modules run to a list for :func:`snn_core.functional.explain`."""
    if decisions is not None:
        scan = 0 if reason else 1 + max((scan for *_, scan in decisions), default=0)
        decisions += [(module, not reason, reason, scan) for module in modules]


def alone(module: Any, x_seq: Tensor, loop: Callable[[Tensor], Tensor]) -> Tensor:
    """Take a sequence through one module, fused if that is possible, else by ``loop``."""
    found = _first_run([module], x_seq, "auto", is_direct=True)
    return loop(x_seq) if isinstance(found, str) else found[0](x_seq, found[1])


def scan(
    x_seq: Tensor,
    modules: Sequence[Any],
    call: Call,
    backend: str = "auto",
    lengths: Tensor | None = None,
    given: Sequence[Any] = (),
) -> Tensor:
    """Take a sequence through modules, neighbours that can be fused in one scan, the others by ``call``.

    ``lengths``, int64 ``[N]`` on the CPU, say how many steps each sample has; ``call`` knows them. ``given`` are what
    the modules came in, see :func:`kept_whole`.
    """
    if lengths is not None and bool((lengths == len(x_seq)).all()):
        lengths = None
    count = len(modules)
    while modules:
        found = _first_run(modules, x_seq, backend)
        if isinstance(found, str):
            x_seq, modules = call(modules[0], x_seq), modules[1:]
            continue
        run, parts = found
        if given and len(parts) == count and run.watch is not None:
            _keep_whole(run, given, x_seq, backend)
        if lengths is not None:
            x_seq = _run_with_lengths(run, parts, x_seq, lengths.to(x_seq.device))
        else:
            x_seq = run(x_seq, parts)
        modules = modules[len(parts) :]
    return x_seq


def whole(modules: Sequence[Any], x_seq: Tensor) -> tuple[Run, list[Tensor | None]] | str:
    """Return the one run that takes all modules of a network without states, and its tensors; or why there is none."""
    found = _first_run(modules, x_seq, "auto") if modules else "it has no modules"
    if isinstance(found, str):
        return f"{type(modules[0]).__name__}: {found}" if modules else found
    run, parts = found
    if len(parts) < len(modules):
        rest = _first_run(modules[len(parts) :], x_seq.new_empty(len(x_seq), *run.step_after), "auto")
        name = type(modules[len(parts)]).__name__
        return f"{name}: {rest}" if isinstance(rest, str) else f"{name} needs a scan of its own"
    if not run.is_dense:
        return "it has neither an nn.Linear nor a linear feedback"
    if any(part.is_whole or part.has_history for part in parts):
        return "it has a convolution or delays"
    tensors = run.tensors(parts)
    if any(getattr(owner, name) is not None for owner, name, *_ in run.states):
        return "it has states from before: call reset_net(net)"
    return run, tensors


def kept_whole(modules: Sequence[Any], x_seq: Any, backend: str) -> tuple[Run, Sequence[Part]] | None:
    """Return the run of a whole chain as it is given, and its parts, if it ran before and nothing has changed."""
    if _reads_now(x_seq) or not modules or "_decisions" in vars(modules[0]):
        return None
    runs = _home(modules)
    if not runs:
        return None
    key = (Like(x_seq.shape[1:], x_seq.dtype, x_seq.device), backend, *map(id, modules))
    return _kept(runs, key, backend, False)


def _keep_whole(run: Run, given: Sequence[Any], x_seq: Tensor, backend: str) -> None:
    """Keep the run of a whole chain, so that the next call need not even look into its containers."""
    runs = _home(given)
    if runs is not None:
        whole = Run(run.modules, run.parts, run.likes)
        whole.keep(given)
        _add(runs, (Like(x_seq.shape[1:], x_seq.dtype, x_seq.device), backend, *map(id, given)), whole)


def mask_of(lengths: Tensor, T: int) -> Tensor:
    """Return which steps sequences of these lengths have, bool ``[T, N]``."""
    return torch.arange(T, device=lengths.device)[:, None] < lengths


def _run_with_lengths(run: Run, parts: Sequence[Part], x_seq: Tensor, lengths: Tensor) -> Tensor:
    """Take a sequence through a run, each sample through as many steps as it has.

    Samples are sorted by length, so that those of a block end together, and steps that nobody takes cost nothing.
    """
    if x_seq.dim() == 2 and run.is_dense:
        raise ValueError(f"with lengths x_seq must be [T, N, features], got {list(x_seq.shape)}")
    order = lengths.argsort(descending=True, stable=True)
    padding = mask_of(lengths, len(x_seq)).logical_not()
    padding = padding.view(*padding.shape, *[1] * (x_seq.dim() - 2))

    def sort_states(by: Tensor) -> None:
        for owner, name, *_ in run.states:
            state = getattr(owner, name)
            if state is not None:
                owner.keep_state(name, state.index_select(0, by))

    sort_states(order)
    y_seq = run(x_seq.masked_fill(padding, 0).index_select(1, order), parts, lengths[order])
    back = order.argsort()
    sort_states(back)
    return y_seq.index_select(1, back).masked_fill(padding, 0)
