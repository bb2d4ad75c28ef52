"""How modules run on a sequence: a fused scan takes what it knows of them, everything else takes the loop.

Nothing is kept with modules. Each call reads them anew, in one pass: :func:`read` asks a module for its
``stage(like)``, which is a :class:`~snn_core.kernels.Stage`, or the reason why there is none. A module that has hooks,
or whose class replaces a method that a scan would not call, is called as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils.prune import BasePruningMethod

from snn_core import kernels
from snn_core.cells import Cell
from snn_core.checks import Like, check_place, is_autocast, takes_sequences
from snn_core.kernels import Stage, equations, stages

#: What :meth:`~snn_core.module.MemoryModule.record` calls the outputs of a module.
OUTPUT = "output"
#: Most weights of a linear layer in a kernel, and in a scan on the CPU, where torch is faster with more, on all steps
#: at once. Between the two a layer runs in a kernel only if one scan has to take all.
MOST_WEIGHTS, MOST_IN_SCAN = 1 << 18, (1 << 14) - 1
#: Where :func:`~snn_core.functional.explain` listens: each module, whether it ran fused, why not, in which scan, and
#: what slows its equations down.
notes: list[tuple[nn.Module, bool, str, int, str]] | None = None


def like_of(x_seq: Tensor) -> Like:
    """Return what the steps of a sequence are like."""
    device = x_seq.device
    return Like(tuple(x_seq.shape)[1:], x_seq.dtype, device, is_autocast(device))


# Which modules a scan may take ---------------------------------------------------------------------------------------

#: The methods that a stage stands for.
_STANDS_FOR = "forward", "forward_sequence", "loop", "checked_state", "kept_state", "keep_state"
_INSTEAD = "record steps by record(), write other equations as a Cell"
_methods = attrgetter(*_STANDS_FOR)


def has_hooks(module: nn.Module) -> bool:
    """Say whether calling a module does more than its class says: by hooks, or by a ``forward`` of its own."""
    attributes = module.__dict__
    hooks = (
        attributes["_forward_hooks"]
        or attributes["_forward_pre_hooks"]
        or attributes["_backward_hooks"]
        or attributes["_backward_pre_hooks"]
    )
    return bool(hooks) or "forward" in attributes


def defines(module: nn.Module, method: str) -> bool:
    """Say whether ``module`` has a ``method`` that stands for its calls: no hooks, and no ``forward`` below it."""
    for kind in type(module).__mro__:
        if method in kind.__dict__:
            return not has_hooks(module)
        if "forward" in kind.__dict__:
            return False
    return False


def replaced(module: nn.Module) -> str:
    """Return why a module's stage does not stand for its calls, "" if it does."""
    if has_hooks(module):
        return f"it has hooks: {_INSTEAD}"
    kind: Any = type(module)
    methods, known = _methods(kind), _methods_of_stage(kind)
    if methods == known:
        return ""
    name = next(
        name for name, one, other in zip(_STANDS_FOR, methods, known, strict=True) if one is not other
    )
    return f"it has a {name} of its own: {_INSTEAD}"


@lru_cache(maxsize=256)
def _methods_of_stage(kind: Any) -> tuple[Any, ...]:
    """Return the methods for which the stage of a class stands: those of the class that defines it."""
    return _methods(next(owner for owner in kind.__mro__ if "stage" in owner.__dict__))


def is_chain(module: nn.Module) -> bool:
    """Say whether a module stands for its children, one after the other."""
    return (type(module) is nn.Sequential or "is_chain" in type(module).__dict__) and not has_hooks(module)


def flattened(modules: Iterable[Any]) -> list[nn.Module]:
    """Return modules, the children of a chain in place of it."""
    layers: list[nn.Module] = []
    for module in modules:
        # Not children(), which leaves out what is there twice.
        layers += flattened(module._modules.values()) if is_chain(module) else [module]
    return layers


def why_loop(x_seq: Tensor) -> str:
    """Return why everything takes the loop, since somebody watches what is computed; "" if nobody does."""
    if type(x_seq) not in (Tensor, nn.Parameter):
        return f"kernels know no {type(x_seq).__name__}"
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "a transform of torch.func or forward-mode differentiation is at work"
    if torch._C._is_tracing() or torch._C._len_torch_dispatch_stack():
        return "torch.export, torch.jit.trace or a mode of torch is at work"
    return "a hook on all modules is at work" if _has_any_global_hook() else ""


# How they are read ---------------------------------------------------------------------------------------------------


def read(module: Any, like: Like, backend: str = "auto", is_direct: bool = False) -> Stage | str:
    """Return what stands for ``module`` on a sequence whose steps are like this, or why it takes the loop.

    ``backend`` is for an ``nn.Linear`` that has none of its own. ``is_direct`` says that the module asks for itself:
    one that takes sequences is then within its own call.
    """
    kind = type(module)
    if kind is nn.Linear or (kind.__base__ is nn.Linear and is_parametrized(module)):
        return _linear(module, like, module.__dict__.get("backend", backend))
    if not hasattr(kind, "keep_state"):  # which only a MemoryModule has
        has_state = any(hasattr(part, "state_names") for part in module.modules())
        fix = ": write its equations as a Cell" if has_state else ", which is called on all steps at once"
        return f"no kernel knows {kind.__name__}{fix}"
    reason = "" if is_direct and takes_sequences(module) else replaced(module)
    return reason or module.stage(like)


def is_parametrized(module: nn.Module) -> bool:
    """Say whether a weight of a module is computed from others, by ``torch.nn.utils.parametrize``."""
    return "parametrizations" in module._modules


def weights_of(linear: nn.Module, like: Like) -> tuple[Tensor, Tensor | None] | str:
    """Return weight and bias of a linear layer, computed if it is parametrized or pruned; or why kernels cannot."""
    kind, attributes = type(linear), linear.__dict__
    if kind is not nn.Linear and not (kind.__base__ is nn.Linear and is_parametrized(linear)):
        return f"{kind.__name__} is not nn.Linear itself"
    if attributes["_forward_pre_hooks"]:
        hooks = attributes["_forward_pre_hooks"].values()
        if not all(isinstance(hook, BasePruningMethod) for hook in hooks):
            return f"it has hooks: {_INSTEAD}"
        for hook in hooks:
            hook(linear, None)
    if (
        attributes["_forward_hooks"]
        or attributes["_backward_hooks"]
        or attributes["_backward_pre_hooks"]
        or "forward" in attributes
    ):
        return f"it has hooks: {_INSTEAD}"
    _, dtype, device, autocast = like
    if autocast:
        return "autocast gives it another precision: call it with autocast off"
    kept = attributes["_parameters"]  # sooner than by getattr, which ask for everything else first
    weight, bias = kept.get("weight"), kept.get("bias")
    if weight is None or "parametrizations" in attributes["_modules"]:
        weight, bias = linear.weight, linear.bias
    if not (weight.dtype is dtype and weight.device == device):
        return f"its weights are {weight.dtype} on {weight.device}, the input is {dtype} on {device}"
    if bias is not None and not (
        bias.dtype is dtype and bias.device == device and bias.shape == weight.shape[:1]
    ):
        return f"its bias is {list(bias.shape)} of {bias.dtype} on {bias.device}"
    return weight, bias


def _linear(module: nn.Module, like: Like, backend: str) -> Stage | str:
    reason = kernels.why_not(backend, like)
    weights = reason or weights_of(module, like)
    if isinstance(weights, str):
        return weights
    shape, sizes = like.shape, tuple(weights[0].shape)
    if len(sizes) != 2 or not shape or shape[-1] != sizes[1]:
        return f"weights {list(sizes)} do not fit a step {list(shape)}"
    outputs, inputs = sizes
    if like.dtype not in (torch.float32, torch.float64):
        return f"torch's own product in {like.dtype} rounds otherwise"
    if outputs * inputs > MOST_WEIGHTS:
        return _slower(outputs * inputs, MOST_WEIGHTS)
    return Stage(stages.Kind(None, (*shape[:-1], outputs), inputs, outputs), stages.NO_NUMBERS, weights)


def _slower(weights: int, most: int) -> str:
    return f"torch's own product is faster with {weights:,} weights, kernels take {most:,}"


#: Where a state is kept: the module, the name, and the dimension of its steps, None for a state of one step.
Place = tuple[Any, str, int | None]


def of_cell(module: Any, cell: Cell, like: Like, places: Sequence[Place]) -> Stage | str:
    """Return what stands for a module with a cell, or why kernels do not know its equations.

    ``places`` say where the cell's states are kept; ``module`` is whose outputs are recorded.
    """
    recorded = equations.program_of(cell, like.dtype)
    if isinstance(recorded, str):
        return recorded
    program, numbers, tensors = recorded
    if program.code.states != len(places):
        module.first_values(cell)  # raises
    given: list[Tensor | None] = []
    firsts = cell.initial if program.has_first_tensors else None
    stored, recorders = 0, []
    sizes: tuple[int, ...] = ()
    for k, (owner, name, _) in enumerate(places):
        given.append(_state(owner, name, like, firsts[k] if firsts else 0.0))
        if owner._recorders and (to := _recorders_of(owner, name)):
            stored |= 1 << k
            recorders.append(to)
    for tensor in tensors:
        parameter = _parameter(tensor, like)
        if parameter is None:
            return "a parameter has another dtype or device, or does not fit the neurons of a sample"
        given.append(parameter)
        sizes += (parameter.numel(),)
    features = like.shape[-1] if like.shape else 1
    kind = stages.Kind(program, like.shape, features, features, 0, 0, stored, sizes)
    stage = Stage(kind, numbers, given, places, recorders)
    return _recorded(stage, _recorders_of(module, OUTPUT)) if module._recorders else stage


def _parameter(parameter: Tensor, like: Like) -> Tensor | None:
    """Return a parameter as one number, or as one for each neuron of a sample; None if it is neither."""
    if parameter.device != like.device or not parameter.is_floating_point():
        return None
    if parameter.dim() == 0:
        return parameter
    neurons = like.shape[1:]
    if parameter.dtype != like.dtype or parameter.dim() > len(neurons):
        return None
    pairs = zip(reversed(parameter.shape), reversed(neurons), strict=False)
    if not all(have in (1, want) for have, want in pairs):
        return None
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter if len(neurons) == 1 else parameter.expand(neurons).reshape(-1)


def _state(owner: Any, name: str, like: Like, first: float | Tensor = 0.0) -> Tensor | None:
    """Return a state before the first step, None where it begins at a number."""
    if isinstance(first, Tensor):
        return owner.checked_state(name, like, first)
    if owner.__dict__.get(name) is None and name not in owner._parameters:
        return None
    return owner.kept_state(name, like)


def _recorders_of(module: Any, name: str) -> list[list[Tensor]]:
    """Return the lists that get all steps of a module's state, or of its outputs."""
    recorders = module._recorders
    return [to for what, to in recorders if what == name] if recorders else []


def _recorded(stage: Stage, lists: list[list[Tensor]]) -> Stage:
    """Return a stage whose outputs also go to these lists."""
    if not lists:
        return stage
    kind, recorders = stage.kind, list(stage.recorders)
    if kind.stored & stages.OUTPUT:
        lists = [*recorders.pop(), *lists]
    kind = kind._replace(stored=kind.stored | stages.OUTPUT)
    return stage._replace(kind=kind, recorders=[*recorders, lists])


def single_cell(module: Any, like: Like) -> Stage | str:
    """Return the stage of a container's sub_module, if that is a single cell."""
    stage = read(module, like)
    if isinstance(stage, str):
        return f"its sub_module: {stage}"
    if stage.kind.is_dense or not hasattr(module, "cell"):
        return (
            "its sub_module is not a single cell: feed back a neuron, or an nn.Sequential of one and synapses"
        )
    return stage


def _cells_in_series(module: Any, like: Like) -> Stage | str:
    """Return the stage of a container's sub_module, if that is a single cell, or an ``nn.Sequential`` of cells."""
    if type(module) is not nn.Sequential:
        return single_cell(module, like)
    if has_hooks(module):
        return "its sub_module has hooks"
    both: Stage | None = None
    for part in module._modules.values():  # children() leaves out what is there twice
        stage = _cells_in_series(part, like)
        if isinstance(stage, str):
            return stage
        if both is not None and not _owners(stage).isdisjoint(_owners(both)):
            return "its sub_module has a cell twice"
        both = stage if both is None else stages.in_series(both, stage)
        if both is None:
            break
    return "its sub_module is not a chain of cells, few enough for a kernel" if both is None else both


def _owners(stage: Stage) -> set[int]:
    return {id(owner) for owner, _, _ in stage.places}


def with_element_wise_feedback(module: Any, like: Like) -> Stage | str:
    """Return the stage of a container that feeds its neuron back element by element, as its ``cell`` does."""
    inner = single_cell(module.sub_module, like)
    if isinstance(inner, str):
        return inner
    stage = of_cell(module, module.cell(like), like, [*inner.places, (module, "y", None)])
    if isinstance(stage, str) or not inner.kind.stored & stages.OUTPUT:
        return stage
    return _recorded(stage, list(inner.recorders[-1]))


def with_linear_feedback(
    module: Any,
    like: Like,
    weight: Tensor,
    bias: Tensor | None,
    taps: Tensor | None = None,
    history: tuple[str, int] | None = None,
) -> Stage | str:
    """Return the stage of a container that feeds its ``sub_module`` back through a linear layer.

    Args:
        module: the container.
        like: what a time step is like.
        weight, bias: of the layer. If it has more outputs than the last dimension of a step, it connects all neurons of
            a sample.
        taps: factors ``[D, J]`` of each neuron's earlier outputs.
        history: the state ``[N, D, *, J]`` that holds the outputs that go back, and D; None for y[t-1] in ``y``.
    """
    inner = _cells_in_series(module._modules["sub_module"], like)
    if isinstance(inner, str):
        return inner
    if module._recorders:
        inner = _recorded(inner, _recorders_of(module, OUTPUT))
    features, (program, *_, stored, sizes) = weight.shape[0], inner.kind
    count = len(inner.places)
    if history is None:
        (name, depth), axis = ("y", 1), None
        y = _state(module, name, like)
    else:
        (name, depth), axis = history, place_of_history(like.shape)
        deep = *like.shape[:axis], depth, *like.shape[axis:]
        y = _state(module, name, Like(deep, like.dtype, like.device))
        y = None if y is None else y.movedim(axis, 0)
    has_taps = int(taps is not None)
    kind = stages.Kind(program, like.shape, features, features, depth, has_taps, stored, sizes)
    reason = kernels.why_not("auto", like, kind)
    if reason:
        return reason
    weights = (weight, bias) if taps is None else (weight, bias, taps)
    tensors = (*inner.tensors[:count], y, *weights, *inner.tensors[count:])
    return Stage(kind, inner.numbers, tensors, (*inner.places, (module, name, axis)), inner.recorders)


def place_of_history(step: Sequence[int]) -> int:
    """Return the dimension of a state of earlier outputs that counts them, behind that of samples."""
    return min(1, len(step) - 1)


# How they run --------------------------------------------------------------------------------------------------------


def scan(
    x_seq: Tensor,
    modules: Sequence[nn.Module],
    backend: str = "auto",
    execute: Callable[[Tensor, list[Stage]], Tensor] | None = None,
    call: Callable[[nn.Module, Tensor], Tensor] | None = None,
) -> Tensor:
    """Take a sequence through modules, neighbours that can be fused in one scan, the others one by one.

    ``execute`` runs stages, ``call`` a module that takes the loop; None for all steps of all samples.
    """
    if torch.compiler.is_compiling():
        if not torch.compiler.is_exporting():
            return torch._dynamo.disable(_scan)(x_seq, modules, backend, execute, call)
        backend = "torch"
    return _scan(x_seq, modules, backend, execute, call)


def _scan(x_seq: Tensor, modules: Any, backend: str, execute: Any, call: Any) -> Tensor:
    modules = flattened(modules)
    why, at = why_loop(x_seq), 0
    while at < len(modules):
        run, reason = (
            ([], why) if why or backend == "torch" else read_all(modules[at:], like_of(x_seq), backend)
        )
        x_seq = (execute or _execute)(x_seq, run) if run else (call or apply)(modules[at], x_seq)
        end = at + max(len(run), 1)
        if notes is not None:
            _note(notes, modules[at:end], run, "" if run else reason)
        at = end
    return x_seq


def _note(
    notes: list[tuple[nn.Module, bool, str, int, str]],
    modules: Sequence[nn.Module],
    run: Sequence[Stage],
    reason: str,
) -> None:
    """Note that modules have shared a scan, or the reason why one of them took the loop."""
    number = 0 if reason else 1 + max((one[3] for one in notes), default=0)
    remarks = [stage.kind.program.remark if stage.kind.program else "" for stage in run] or [""]
    pairs = zip(modules, remarks, strict=True)
    notes.extend([(module, not reason, reason, number, remark) for module, remark in pairs])


def read_all(
    modules: Sequence[nn.Module], like: Like, backend: str = "auto", in_one: bool = False
) -> tuple[list[Stage], str]:
    """Return the stages of as many modules as one scan takes, from the first on, and why it does not take the next.

    ``in_one`` says that one scan has to take all, even where it is slower than torch.
    """
    taken: list[Stage] = []
    states: set[tuple[int, str]] = set()
    was_whole = False
    for module in modules:
        stage = read(module, like, backend)
        if isinstance(stage, str):
            return taken, stage
        for owner, name, _ in stage.places:
            state = id(owner), name
            if state in states:
                return taken, "it shares a state with a module before"
            states.add(state)
        kind = stage.kind
        if kind.program is None and not in_one and like.device.type == "cpu":
            weights = kind.inputs * kind.outputs
            if weights > MOST_IN_SCAN:
                return taken, _slower(weights, MOST_IN_SCAN)
        is_whole = kind.feedback > 0 and _is_whole(stage)
        if taken and (is_whole or was_whole):
            return taken, "a convolution needs a scan of its own"
        taken.append(stage)
        was_whole = is_whole
        if kind.shape != like.shape:
            like = Like(kind.shape, *like[1:])
    return taken, ""


def _is_whole(stage: Stage) -> bool:
    """Say whether a sample of any shape is one row of connected neurons, which no other stage knows."""
    return stage.kind.feedback > 0 and stage.kind.outputs != stage.kind.shape[-1]


def alone(module: Any, x_seq: Tensor) -> Tensor:
    """Take a sequence through one module that asks for itself, fused if that is possible, else by its ``loop``."""
    if torch.compiler.is_compiling():
        return (
            module.loop(x_seq)
            if torch.compiler.is_exporting()
            else torch._dynamo.disable(_alone)(module, x_seq)
        )
    return _alone(module, x_seq)


def _alone(module: Any, x_seq: Tensor) -> Tensor:
    stage = why_loop(x_seq) or read(module, like_of(x_seq), is_direct=True)
    reason = stage if isinstance(stage, str) else ""
    if notes is not None:
        _note(notes, [module], [] if isinstance(stage, str) else [stage], reason)
    return module.loop(x_seq) if isinstance(stage, str) else _execute(x_seq, [stage])


def _execute(x_seq: Tensor, run: list[Stage]) -> Tensor:
    """Take a sequence through stages; last states go to their modules, and all steps to who records them."""
    y_seq, lasts, seqs = results(x_seq, run)
    keep(run, lasts, seqs)
    return y_seq


def results(x_seq: Tensor, run: list[Stage]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return outputs, last states in memory's order, and what is stored of all steps."""
    count = 0
    for stage in run:
        if stage.kind.feedback > 1:
            stage.places[-1][0].check_steps(len(x_seq))
        count += len(stage.places)
    y_seq, *rest = kernels.run(x_seq, run)
    return y_seq, rest[:count], rest[count:]


def keep(run: list[Stage], lasts: Sequence[Tensor], seqs: Sequence[Tensor]) -> None:
    """Give last states to their modules, and all steps to the lists that record them."""
    left, stored, task = iter(lasts), iter(seqs), torch._C._current_graph_task_id()
    for stage in run:
        for owner, name, axis in stage.places:
            state = next(left)
            if axis is not None:
                state = (state if stage.kind.feedback > 1 else state.unsqueeze(0)).movedim(0, axis)
            owner.keep_state(name, state, task)
        for recorders in stage.recorders:
            steps = next(stored)
            for to in recorders:
                to.append(steps)


def has_state(module: nn.Module) -> bool:
    """Say whether a module, or a part of it, has a state."""
    return any(hasattr(part, "state_names") for part in module.modules())


def apply(module: Any, x_seq: Tensor) -> Tensor:
    """Call a module on a sequence: as a whole, step by step, or, if it has no state, on all steps as one batch."""
    if takes_sequences(module):
        return module(x_seq)
    if defines(module, "forward_sequence"):
        return module.forward_sequence(x_seq)
    if hasattr(type(module), "keep_state") and not replaced(module):
        return module.loop(x_seq)
    if has_state(module):
        return torch.stack([module(x) for x in x_seq])
    return apply_once(module, x_seq)


def apply_once(module: nn.Module, x_seq: Tensor) -> Tensor:
    """Call a module that has no state on all time steps as one batch."""
    if isinstance(module, nn.Linear):
        if x_seq.shape[-1] != module.in_features:
            raise ValueError(
                f"x_seq has shape {list(x_seq.shape)}, its last dimension must be {module.in_features}"
            )
        check_place("x_seq", x_seq, module.weight)
    y = module(x_seq.flatten(0, 1))
    if not isinstance(y, Tensor) or y.shape[:1] != (x_seq.shape[0] * x_seq.shape[1],):
        raise ValueError(
            f"stateless_module must give one output for each sample, {type(module).__name__} does not"
        )
    return y.unflatten(0, x_seq.shape[:2])
