"""How modules run on a sequence: a fused scan takes what it knows of them, everything else falls back to the loop.

Nothing is kept with modules. Each call reads them anew, in one pass: :func:`read` asks a module for its
``stage(like)``, which is a :class:`~snn_core.kernels.Stage`, or the reason why there is none. A module that has hooks,
or that replaces a method that a scan would not call, is called as it is. What is called takes one time step after the
other, unless it says that it takes sequences, or its class is known to have no state, see :func:`is_stateless`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils.prune import BasePruningMethod

from snn_core import kernels
from snn_core.cells import Cell, OwnSteps, State
from snn_core.checks import Like, check_place, is_autocast, takes_sequences
from snn_core.kernels import Stage, equations, stages

#: What :meth:`~snn_core.module.MemoryModule.record` calls the outputs of a module.
OUTPUT = "output"
#: Most weights of a linear layer in a kernel, and in a scan on the CPU, where torch is faster with more, on all steps
#: at once. Between the two a layer runs in a kernel only if one scan has to take all.
MOST_WEIGHTS, MOST_IN_SCAN = 1 << 18, (1 << 14) - 1
#: What :func:`~snn_core.functional.explain` collects: each module, whether it ran fused, why not, in which scan,
#: and what slows its equations down.
Notes = list[tuple[nn.Module, bool, str, int, str]]
notes: ContextVar[Notes | None] = ContextVar("notes", default=None)
#: Whether a scan with backend "torch" is at work, which holds for all that it calls.
_in_loop: ContextVar[bool] = ContextVar("in_loop", default=False)
#: The files of torch.nn.modules whose layers have no state.
_STATELESS = frozenset(
    f"torch.nn.modules.{file}"
    for file in (
        "activation", "batchnorm", "channelshuffle", "conv", "dropout", "flatten", "fold", "instancenorm", "linear",
        "normalization", "padding", "pixelshuffle", "pooling", "upsampling",
    )
)  # fmt: skip


def like_of(x_seq: Tensor, lengths: Tensor | None = None) -> Like:
    """Return what the steps of a sequence are like."""
    return Like(tuple(x_seq.shape)[1:], x_seq.dtype, x_seq.device, is_autocast(x_seq.device), lengths)


# Which modules a scan may take ---------------------------------------------------------------------------------------

_PLAIN, _has_storage = (Tensor, nn.Parameter), torch._C._has_storage
#: The methods that a stage replaces; the first two call the others where a module asks for itself.
_REPLACES = (
    "forward", "forward_sequence", "loop", "steps", "first_values", "checked_state", "kept_state", "keep_state",
)  # fmt: skip
_INSTEAD = "record steps by record(), write other equations as a Cell"


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
    """Say whether ``module`` has a ``method`` that does what its calls do: no hooks, and no ``forward`` below it."""
    for kind in type(module).__mro__:
        if method in kind.__dict__:
            return not has_hooks(module)
        if "forward" in kind.__dict__:
            return False
    return False


def replaced(module: nn.Module, is_direct: bool = False) -> str:
    """Return why a module's stage does not do what its calls do, "" if it does.

    ``is_direct`` says that the module is within its own call, so that its hooks and its ``forward`` run anyway.
    """
    if not is_direct and has_hooks(module):
        return f"it has hooks: {_INSTEAD}"
    kind, own = type(module), module.__dict__
    owner = next(one for one in kind.__mro__ if "stage" in one.__dict__)
    for name in _REPLACES[2:] if is_direct else _REPLACES:
        if name in own or getattr(kind, name, None) is not getattr(owner, name, None):
            return f"it has a {name} of its own: {_INSTEAD}"
    return ""


def is_chain(module: nn.Module) -> bool:
    """Say whether a module does what its children do, one after the other."""
    return (type(module) is nn.Sequential or "is_chain" in type(module).__dict__) and not has_hooks(module)


def is_stateless(module: nn.Module) -> bool:
    """Say whether a module is known to have no state, so that it may take all time steps as one batch.

    Known are torch's own layers, by their class, an ``nn.Sequential`` of them, and ``SeqToANNContainer``. A subclass
    may remember anything.
    """
    kind = type(module)
    if "forward" in module.__dict__:
        return False
    if kind is nn.Sequential:
        return all(map(is_stateless, module._modules.values()))  # type: ignore[arg-type]
    if is_parametrized(module):
        kind = kind.__base__  # type: ignore[assignment]
    return kind.__module__ in _STATELESS or "is_stateless" in kind.__dict__


def flattened(modules: Iterable[Any]) -> list[nn.Module]:
    """Return modules, the children of a chain in place of it."""
    layers: list[nn.Module] = []
    for module in modules:
        # What is said to have no state, but is not known to, is no step of a sequence.
        if is_chain(module) and (
            "is_stateless" not in type(module).__dict__ or all(map(is_stateless, module._modules.values()))
        ):
            # Not children(), which leaves out what is there twice.
            layers += flattened(module._modules.values())
        else:
            layers.append(module)
    return layers


def why_loop(x_seq: Tensor) -> str:
    """Return why everything falls back to the loop, such as a mode of torch that is at work, "" if nothing does."""
    if _in_loop.get():
        return "backend='torch' asks for it"
    if type(x_seq) not in (Tensor, nn.Parameter):
        return f"kernels know no {type(x_seq).__name__}"
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "a transform of torch.func or forward-mode differentiation is at work"
    if torch._C._is_tracing() or torch._C._len_torch_dispatch_stack():
        return "torch.export, torch.jit.trace or a mode of torch is at work"
    return "a hook on all modules is at work" if _has_any_global_hook() else ""


# How they are read ---------------------------------------------------------------------------------------------------


def read(
    module: Any, like: Like, backend: str = "auto", is_direct: bool = False, in_one: bool = False
) -> Stage | str:
    """Return the stage of ``module`` on a sequence whose steps are like this, or why it falls back to the loop.

    ``backend`` is for an ``nn.Linear`` that has none of its own. ``is_direct`` says that the module asks for itself:
    one that takes sequences is then within its own call. ``in_one`` says that one scan has to take all modules, even
    where it is slower than torch.
    """
    kind = type(module)
    if kind is nn.Linear or (kind.__base__ is nn.Linear and is_parametrized(module)):
        stage = _linear(module, like, module.__dict__.get("backend", backend), in_one)
    elif _is_identity(module):
        stage = _identity(like, backend)
    elif not hasattr(kind, "keep_state"):  # which only a MemoryModule has
        return f"no kernel knows {kind.__name__}, which {_how_called(module)}"
    else:
        reason = replaced(module, is_direct and takes_sequences(module))
        stage = reason or module.stage(like)
    if type(stage) is Stage:
        for one in stage.tensors:
            if not (one is None or is_plain(one)):
                return f"kernels take plain dense tensors, it holds a {type(one).__name__} of {one.layout}"
    return stage


def _how_called(module: nn.Module) -> str:
    if takes_sequences(module):
        return "is called on the whole sequence"
    if is_stateless(module):
        return "is called on all steps at once"
    return "is called step by step: write its equations as a Cell; without a state put it into a SeqToANNContainer"


def is_plain(tensor: Tensor) -> bool:
    """Say whether a tensor is a dense one of torch itself, whose numbers a kernel may read at its address."""
    return type(tensor) in _PLAIN and tensor.layout is torch.strided and _has_storage(tensor)


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
    _, dtype, device, autocast, _ = like
    if autocast:
        return "autocast gives it another precision: call it with autocast off"
    weight: Any = linear.weight
    bias: Any = linear.bias
    if not (weight.dtype is dtype and weight.device == device):
        return f"its weights are {weight.dtype} on {weight.device}, the input is {dtype} on {device}"
    if bias is not None and not (
        bias.dtype is dtype and bias.device == device and bias.shape == weight.shape[:1]
    ):
        return f"its bias is {list(bias.shape)} of {bias.dtype} on {bias.device}"
    return weight, bias


def _linear(module: nn.Module, like: Like, backend: str, in_one: bool) -> Stage | str:
    reason = kernels.why_not(backend, like.device, like.dtype)
    if reason:
        return reason
    shape = like.shape
    if like.dtype not in (torch.float32, torch.float64):
        return f"torch's own product in {like.dtype} rounds otherwise"
    most = MOST_WEIGHTS if in_one or like.device.type != "cpu" else MOST_IN_SCAN
    # Before a weight is computed, which is parametrized: torch would compute it a second time.
    outputs, inputs = module.out_features, module.in_features
    if outputs * inputs > most:  # type: ignore[operator]
        return f"torch's own product is faster with {outputs * inputs:,} weights, kernels take {most:,}"  # type: ignore[operator]
    if len(shape) < 2 or shape[-1] != inputs:
        return f"{inputs} inputs do not fit a step {list(shape)}"
    weights = weights_of(module, like)
    if isinstance(weights, str):
        return weights
    if weights[0].shape != (outputs, inputs):
        return f"its weight is {list(weights[0].shape)}, not {[outputs, inputs]}"
    kind = stages.Linear((*shape[:-1], outputs), inputs, outputs)  # type: ignore[arg-type]
    return Stage(kind, stages.NO_NUMBERS, weights)


def _is_identity(module: Any) -> bool:
    """Say whether a module returns its input: ``nn.Identity``, and dropout where nothing is dropped."""
    kind = type(module)
    is_dropout = kind is nn.Dropout or kind is nn.AlphaDropout
    is_one = kind is nn.Identity or (is_dropout and not (module.training and module.p > 0))
    return is_one and not has_hooks(module)


class _Same(Cell):
    """The cell without a state whose output is its input."""

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x, state


def _identity(like: Like, backend: str) -> Stage | str:
    recorded = kernels.why_not(backend, like.device, like.dtype) or equations.program_of(_Same(), like.dtype)
    if isinstance(recorded, str):
        return recorded
    features = like.shape[-1] if like.shape else 1
    return Stage(stages.Cell(like.shape, features, features, recorded[0]), recorded[1], ())


#: Where a state is kept: the module, None for one that is forgotten, the name, and the dimension of its steps, None for
#: a state of one step.
Place = tuple[Any, str, int | None]


def of_cell(module: Any, cell: Cell, like: Like, places: Sequence[Place]) -> Stage | str:
    """Return the stage of a module with a cell, or why kernels do not know its equations.

    ``places`` say where the cell's states are kept; ``module`` is whose outputs are recorded.
    """
    if like.lengths is not None:
        own, cell = cell, OwnSteps(cell)
    recorded = equations.program_of(cell, like.dtype)
    if isinstance(recorded, str):
        return recorded
    program, numbers, tensors = recorded
    if program.code.states != len(places) + (like.lengths is not None):
        module.first_values(cell if like.lengths is None else own)  # raises
    given: list[Tensor | None] = []
    firsts = cell.initial if program.has_first_tensors else None
    stored, recorders = 0, []
    sizes: tuple[int, ...] = ()
    for k, (owner, name, _) in enumerate(places):
        given.append(_state(owner, name, like, firsts[k] if firsts else 0.0))
        if owner._recorders and (to := _recorders_of(owner, name)):
            stored |= 1 << k
            recorders.append(to)
    if like.lengths is not None:
        left = like.lengths.to(torch.float64 if like.dtype == torch.float64 else torch.float32)
        given.append(left.view(-1, *[1] * (len(like.shape) - 1)).expand(like.shape))
        places = [*places, (None, "left", None)]
    for tensor in tensors:
        parameter = _parameter(tensor, like)
        if parameter is None:
            return "a parameter has another dtype or device, or does not fit the neurons of a sample"
        given.append(parameter)
        sizes += (parameter.numel(),)
    features = like.shape[-1] if like.shape else 1
    kind = stages.Cell(like.shape, features, features, program, stored, sizes)
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
    return {id(owner) for owner, _, _ in stage.places if owner is not None}


def with_element_wise_feedback(module: Any, like: Like) -> Stage | str:
    """Return the stage of a container that feeds its neuron back element by element, as its ``cell`` does."""
    inner = single_cell(module.sub_module, like._replace(lengths=None))  # its container counts steps
    if isinstance(inner, str):
        return inner
    stage = of_cell(module, module.cell(like), like, [*inner.places, (module, "y", None)])
    if isinstance(stage, str) or not inner.kind.stored & stages.OUTPUT:
        return stage
    return _recorded(stage, list(inner.recorders[-1]))


def with_linear_feedback(
    module: Any,
    like: Like,
    features: int,
    weights: Callable[[], tuple[Tensor | None, ...] | str],
    history: tuple[str, int] | None = None,
) -> Stage | str:
    """Return the stage of a container that feeds its ``sub_module`` back through a linear layer.

    Args:
        module: the container.
        like: what a time step is like.
        features: outputs of the layer. If they are more than the last dimension of a step, it connects all neurons of a
            sample.
        weights: gives weight and bias of the layer, and with a history the factors ``[D, J]`` of each neuron's earlier
            outputs; or why there are none. It is called last, since a parametrized weight is computed once.
        history: the state ``[N, D, *, J]`` that holds the outputs that go back, and D; None for y[t-1] in ``y``.
    """
    inner = _cells_in_series(module._modules["sub_module"], like)
    if isinstance(inner, str):
        return inner
    if module._recorders:
        inner = _recorded(inner, _recorders_of(module, OUTPUT))
    count = len(inner.places)
    if history is None:
        (name, depth), axis = ("y", 1), None
        y = _state(module, name, like)
    else:
        (name, depth), axis = history, place_of_history(like.shape)
        deep = *like.shape[:axis], depth, *like.shape[axis:]
        y = _state(module, name, Like(deep, like.dtype, like.device))
        y = None if y is None else y.movedim(axis, 0)
    own, taps = inner.kind, int(history is not None)
    kind = stages.Feedback(like.shape, features, features, own.program, own.stored, own.sizes, depth, taps)
    reason = "" if like.device.type == "cpu" else kernels.why_too_large(kind, like)
    given = reason or weights()
    if isinstance(given, str):
        return given
    tensors = (*inner.tensors[:count], y, *given, *inner.tensors[count:])
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
    lengths: Tensor | None = None,
) -> Tensor:
    """Take a sequence through modules, neighbours that can be fused in one scan, the others one by one.

    ``execute`` runs stages, ``call`` any other module; None for all steps of all samples, else each sample
    has its own number of ``lengths``.
    """
    if torch.compiler.is_compiling():
        if not torch.compiler.is_exporting():
            return _outside_graph(_scan, x_seq, modules, backend, execute, call, lengths)
        backend = "torch"
    elif backend == "torch":
        before = _in_loop.set(True)
        try:
            return _scan(x_seq, modules, backend, execute, call, lengths)
        finally:
            _in_loop.reset(before)
    return _scan(x_seq, modules, backend, execute, call, lengths)


def _outside_graph(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Call a function of ours from code that torch.compile compiles, which leaves it to Python."""
    torch._dynamo.graph_break(
        msg="a scan of snn_core is no part of a graph: compile the network without fullgraph=True"
    )
    return torch.compiler.disable(function)(*arguments)


def _scan(x_seq: Tensor, modules: Any, backend: str, execute: Any, call: Any, lengths: Any) -> Tensor:
    modules = flattened(modules)
    at = 0
    while at < len(modules):
        why = why_loop(x_seq)  # a module may give a tensor of another kind
        run, reason = (
            ([], why)
            if why or backend == "torch"
            else read_all(modules[at:], like_of(x_seq, lengths), backend)
        )
        x_seq = (execute or _execute)(x_seq, run) if run else (call or apply)(modules[at], x_seq)
        end = at + max(len(run), 1)
        if (to := notes.get()) is not None:
            _note(to, modules[at:end], run, "" if run else reason)
        at = end
    return x_seq


def _note(notes: Notes, modules: Sequence[nn.Module], run: Sequence[Stage], reason: str) -> None:
    """Note that modules have shared a scan, or the reason why one of them fell back to the loop."""
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
        stage = read(module, like, backend, in_one=in_one)
        if isinstance(stage, str):
            return taken, stage
        for owner, name, _ in stage.places:
            state = id(owner), name
            if state in states and owner is not None:
                return taken, "it shares a state with a module before"
            states.add(state)
        kind = stage.kind
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
        return module.loop(x_seq) if torch.compiler.is_exporting() else _outside_graph(_alone, module, x_seq)
    return _alone(module, x_seq)


def _alone(module: Any, x_seq: Tensor) -> Tensor:
    stage = why_loop(x_seq) or read(module, like_of(x_seq), is_direct=True)
    reason = stage if isinstance(stage, str) else ""
    if (to := notes.get()) is not None:
        _note(to, [module], [] if isinstance(stage, str) else [stage], reason)
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
            if owner is None:
                continue
            if axis is not None:
                state = (state if stage.kind.feedback > 1 else state.unsqueeze(0)).movedim(0, axis)
            owner.keep_state(name, state, task)
        for recorders in stage.recorders:
            steps = next(stored)
            for to in recorders:
                to.append(steps)


def has_state(module: nn.Module) -> bool:
    """Say whether a module, or a part of it, registers a state."""
    return any(hasattr(part, "state_names") for part in module.modules())


def apply(module: Any, x_seq: Tensor) -> Tensor:
    """Call a module on a sequence: on the whole if it takes sequences, all steps as one batch if it is known to have
    no state, else one step after the other.

    Raises:
        TypeError: a part takes sequences and the module does not say that it does, or a step gives no tensor.
    """
    if gets_sequence(module):
        return module(x_seq)
    if is_stateless(module):
        return apply_once(module, x_seq)
    if defines(module, "forward_sequence"):
        return module.forward_sequence(x_seq)
    if hasattr(type(module), "keep_state") and not replaced(module):
        return module.loop(x_seq)
    check_takes_steps(module)
    return torch.stack([step(module, x) for x in x_seq])


def gets_sequence(module: nn.Module) -> bool:
    """Say whether a module takes sequences, or is an ``nn.Sequential``, with hooks, of such modules."""
    parts = module._modules.values()
    is_chain = type(module) is nn.Sequential and len(parts) > 0
    return takes_sequences(module) or (is_chain and all(map(gets_sequence, parts)))  # type: ignore[arg-type]


def check_takes_steps(module: nn.Module) -> None:
    """Refuse a module that is to be called step by step and holds one that takes sequences.

    Raises:
        TypeError: it would take samples for time steps.
    """
    for part in module.modules():
        if takes_sequences(part):
            raise TypeError(
                f"{type(module).__name__} is called step by step and holds {type(part).__name__}, which takes whole "
                "sequences: use a MultiStepContainer in its place, or set takes_sequences = True in its class if its "
                "forward takes [T, N, *]"
            )


def step(module: nn.Module, x: Tensor) -> Tensor:
    """Call a module on one time step.

    Raises:
        TypeError: it gives no tensor.
    """
    y = module(x)
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{type(module).__name__} must give a tensor for each time step, got {type(y).__name__}: put it into a "
            "module that keeps the rest"
        )
    return y


def apply_once(module: nn.Module, x_seq: Tensor) -> Tensor:
    """Call a module that has no state on all time steps as one batch."""
    if isinstance(module, nn.Linear):
        if x_seq.shape[-1] != module.in_features:
            raise ValueError(
                f"x_seq has shape {list(x_seq.shape)}, its last dimension must be {module.in_features}"
            )
        if not is_parametrized(module):  # its weight would be computed once more
            check_place("x_seq", x_seq, module.weight)
    y = module(x_seq.flatten(0, 1))
    if not isinstance(y, Tensor) or y.shape[:1] != (x_seq.shape[0] * x_seq.shape[1],):
        raise ValueError(
            f"stateless_module must give one output for each sample, {type(module).__name__} does not"
        )
    return y.unflatten(0, x_seq.shape[:2])
