"""Functions on neurons and networks: sequences, states, training, and the parts of a neuron's step.

The equations are those of :mod:`snn_core.cells`; their parts, and the synapse filter, are bare arithmetic on tensors
of any one shape, which raises what torch raises. Sequences are ``[T, N, *]``. Quantities are dimensionless; time is
counted in steps.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snn_core import fuse
from snn_core.cells import fire, if_charge, lif_charge, reset, synapse_filter_step
from snn_core.checks import (
    check_floating,
    check_module,
    check_number,
    check_sequence,
    check_shape,
    check_tensor,
    check_whole,
    takes_sequences,
)
from snn_core.kernels import BACKENDS, check_backend, equations, stages, steps
from snn_core.module import MemoryModule
from snn_core.more.lengths import check_lengths, mask_of, scan_with_lengths

__all__ = [
    "SkipOverflow",
    "Steps",
    "derived",
    "detach_net",
    "explain",
    "fire",
    "if_charge",
    "last_step",
    "lif_charge",
    "mean_over_time",
    "reset",
    "reset_net",
    "scan",
    "seq_to_ann_forward",
    "sequence_mask",
    "set_backend",
    "set_states",
    "states",
    "synapse_filter_step",
    "train_steps",
]

SkipOverflow = steps.SkipOverflow
Steps = steps.Steps


def scan(x_seq: Tensor, *modules: nn.Module, backend: str = "auto", lengths: Any = None) -> Tensor:
    """Take a sequence through modules, one after the other, as many as possible in one fused scan.

    The result is that of calling each on the whole sequence. Torch's own layers without a state (linear, convolution,
    pooling, normalisation, activation, dropout, flatten, ...) and ``SeqToANNContainer`` take all steps in one call, as
    in :func:`seq_to_ann_forward`; modules whose class says ``takes_sequences = True`` take the sequence; everything
    else, such as ``IFNode`` or a neuron of another library, takes one step after the other. A plain ``nn.Sequential``
    or ``MultiStepContainer`` is replaced by its modules. :func:`explain` says which of them share a scan.

    With ``lengths`` a sample n takes part in its steps ``t < lengths[n]`` only, and everything is as if it had gone
    through alone: its output is 0 at the other steps; its states afterwards are those of its own last step; whatever
    its input holds in the padding, NaN too, changes nothing and gets a gradient of 0. What couples the samples of a
    batch, as batch normalisation while training does, sees each sample's own steps and no padding. States are
    registered ones, with the samples in dimension 0. What is recorded in the padding says nothing.

    Args:
        x_seq: ``[T, N, *]``.
        modules: the parts of a network in their order.
        backend: one of :data:`snn_core.kernels.BACKENDS`: "torch" is the loop, for all modules and what they call,
            another is for ``nn.Linear``; other modules have their own, see :func:`set_backend`.
        lengths: steps of each sample, whole numbers ``[N]`` from 1 to T, or a bool mask ``[T, N]`` that is True for
            them; None for T steps each. Where states are there already, from an earlier piece of the sequences, a
            length may be 0. Lengths that are on the CPU are read without waiting for a GPU.

    Returns:
        ``[T, N, *]`` with the trailing shape that the last module gives.

    Raises:
        TypeError: ``x_seq`` is not a floating-point tensor, something is not a module, or a module that takes single
            steps gives no tensor or holds one that takes sequences; ``lengths`` are not whole numbers, or are given
            with a module that takes whole sequences and has no registered state.
        ValueError: ``x_seq`` is not ``[T, N, *]`` with T >= 1, an unknown backend, or a shape, dtype or device that
            does not fit a module; another number of lengths, one out of its range, or a mask with a gap.
    """
    for module in modules:
        if not isinstance(module, nn.Module):
            check_module("modules", module)  # raises
    check_sequence("x_seq", x_seq)
    if backend != "auto":
        check_backend("backend", backend)
    if lengths is None:
        return fuse.scan(x_seq, modules, backend)
    return scan_with_lengths(x_seq, modules, lengths, backend)


def train_steps(
    net: nn.Module,
    x_seq: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    loss: str = "mse",
    index: Tensor | None = None,
    clip: float | None = None,
    skip_overflow: SkipOverflow | None = None,
) -> steps.Steps:
    """Train: forward pass, loss, backward pass and optimizer, many steps in one kernel call on the CPU.

    A step does to the weights and to the optimizer's state what these lines do, within rounding::

        y = functional.scan(x_seq[:, index[step]], *net).mean(0)
        optimizer.zero_grad(), loss(y, labels[index[step]]).backward(), optimizer.step(), reset_net(net)

    The weights' ``grad`` stays as it is. An interrupt ends it after about 0.2 s, between two steps, with weights,
    optimizer and ``skip_overflow`` as they are then. What comes between these lines, such as a hook, another loss or a
    list of parameter groups, needs the lines themselves.

    Args:
        net: an ``nn.Sequential`` or ``MultiStepContainer`` that one fused scan takes as a whole, see :func:`explain`,
            with an ``nn.Linear`` or a linear feedback in it, and without state from before.
        x_seq: ``[T, n, K]`` on the CPU, fp32 or fp64.
        labels: classes, int64 ``[n]``.
        optimizer: ``torch.optim.SGD`` or ``Adam`` with one group of weights.
        loss: of the mean output over time ``[N, J]``: ``"mse"`` to the one-hot label, or ``"cross-entropy"``.
        index: which samples each step takes, int64 ``[steps, N]``; None is one step with all. With no steps all is
            checked and nothing trained.
        clip: largest norm of the gradient, see ``torch.nn.utils.clip_grad_norm_``; None leaves it.
        skip_overflow: the rule by which updates are skipped, which changes with them; None skips none.

    Returns:
        :class:`Steps`, for each step its loss, how many samples were right, and whether it was skipped.

    Raises:
        TypeError: an argument is not of the kind above.
        ValueError: a shape, a label or an index that does not fit; or the network or the optimizer is none that kernels
            know, for the reason given.
    """
    check_module("net", net)
    check_shape("x_seq", check_floating("x_seq", x_seq), "T", "n", "K")
    check_shape("labels", labels, x_seq.shape[1])
    if loss not in steps.LOSSES:
        raise ValueError(f"loss must be one of {', '.join(steps.LOSSES)}, got {loss!r}")
    if clip is not None:
        check_number("clip", clip, above=0)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if index is None:
        index = torch.arange(x_seq.shape[1])[None]
    _check_classes("index", check_shape("index", index, "steps", "N"), x_seq.shape[1])
    if x_seq.device.type != "cpu" or x_seq.dtype not in (torch.float32, torch.float64) or x_seq.requires_grad:
        raise ValueError(
            f"x_seq must be on the CPU, fp32 or fp64, and without a gradient, got {x_seq.dtype} on {x_seq.device}"
        )
    run = _whole(net, x_seq[:, :1].expand(-1, index.shape[1], -1))
    _check_classes("labels", labels, run[-1].kind.outputs)
    tensors = stages.plan_for(run, x_seq).arranged(run)
    by = steps.descent_of(optimizer, tensors, x_seq.dtype, clip, skip_overflow)
    if isinstance(by, str):
        raise ValueError(f"net cannot be trained in one call: {by}")
    taken = steps.take_steps(x_seq, run, labels.contiguous(), loss, by, index.contiguous(), skip_overflow)
    optimizer._opt_called = True  # type: ignore[attr-defined]  # else torch's schedulers warn that it took no step
    return taken


def _whole(net: nn.Module, x_seq: Tensor) -> list[stages.Stage]:
    """Return the stages of a network without states, of which one scan takes all.

    Raises:
        ValueError: there are none, for the reason given.
    """
    modules = fuse.flattened([net])
    run, reason = fuse.read_all(modules, fuse.like_of(x_seq), in_one=True)
    if not modules:
        reason = "it has no modules"
    elif why := fuse.why_loop(x_seq):
        reason = why
    elif len(run) < len(modules):
        reason = f"{type(modules[len(run)]).__name__}: {reason}"
    elif not any(stage.kind.is_dense for stage in run):
        reason = "it has neither an nn.Linear nor a linear feedback"
    elif any(fuse._is_whole(stage) or stage.kind.taps for stage in run):
        reason = "it has a convolution or delays"
    elif any(stage.recorders for stage in run):
        reason = "it records states or outputs of every step"
    elif not all(stages.plan_for(run, x_seq).used):
        reason = "it has a parameter that no equation uses"
    elif any(getattr(owner, name) is not None for stage in run for owner, name, _ in stage.places):
        reason = "it has states from before: call reset_net(net)"
    if reason:
        raise ValueError(f"net cannot be trained in one call: {reason}")
    return run


def _check_classes(name: str, numbers: Tensor, end: int) -> None:
    """Refuse numbers that are not int64 on the CPU, or not from 0 to ``end`` - 1."""
    if numbers.dtype != torch.int64 or numbers.device.type != "cpu" or 0 in numbers.shape[-1:]:
        raise TypeError(
            f"{name} must be int64 on the CPU, at least one number, got {numbers.numel()} of {numbers.dtype} on "
            f"{numbers.device}"
        )
    if numbers.numel() == 0:
        return
    lowest, highest = int(numbers.min()), int(numbers.max())
    if lowest < 0 or highest >= end:
        raise ValueError(f"{name} must be from 0 to {end - 1}, got {lowest} to {highest}")


def seq_to_ann_forward(
    x_seq: Tensor, stateless_module: nn.Module | Iterable[nn.Module], backend: str = "auto"
) -> Tensor:
    """Apply a module that has no state to all time steps at once.

    ``[T, N, *]`` is viewed as ``[T * N, *]``, so that for example an ``nn.Conv2d`` sees one large batch.

    Args:
        x_seq: ``[T, N, *]``.
        stateless_module: a module, or several that are applied one after the other.
        backend: one of :data:`snn_core.kernels.BACKENDS`; on the CPU an ``nn.Linear`` runs in a kernel made for
            small layers, unless it is ``"torch"``.

    Returns:
        ``[T, N, *]`` with the trailing shape that the module gives.

    Raises:
        TypeError: ``x_seq`` is not a tensor or has another dtype than the weights of an ``nn.Linear``, or
            ``stateless_module`` is not made of modules, or of one that has a state.
        ValueError: ``x_seq`` has fewer than two dimensions, or the device or the number of features does not fit an
            ``nn.Linear``; a module loses samples; an unknown backend. What else a module refuses, it says itself.
    """
    if check_tensor("x_seq", x_seq).dim() < 2:
        raise ValueError(f"x_seq must have shape [T, N, *], got {list(x_seq.shape)}")
    check_backend("backend", backend)
    one = isinstance(stateless_module, nn.Module) or not isinstance(stateless_module, Iterable)
    modules: Any = [stateless_module] if one else stateless_module
    modules = list(modules)
    for module in modules:
        _check_stateless(module)
    return fuse.scan(x_seq, modules, backend, call=fuse.apply_once)


def _check_stateless(module: nn.Module) -> None:
    check_module("stateless_module", module)
    if type(module) is nn.Linear:
        return
    for part in module.modules():
        if isinstance(part, MemoryModule):
            name = type(part).__name__
            raise TypeError(
                f"stateless_module must have no state, {name} has one: put it into a MultiStepContainer"
            )
        if takes_sequences(part) and "is_chain" not in vars(type(part)):
            raise TypeError(
                f"stateless_module must take [T * N, *], {type(part).__name__} takes [T, N, *]: put it into a "
                "MultiStepContainer or an nn.Sequential"
            )


def _call_on_all(net: nn.Module, method: str) -> None:
    waiting: list[Any] = [check_module("net", net)]
    for module in waiting:  # a third of the time of net.modules()
        for child in module._modules.values():
            if child is not None:
                waiting.append(child)
        # The class is asked: a missing name costs ten times as much on a module itself.
        if callable(getattr(type(module), method, None)):
            getattr(module, method)()


def reset_net(net: nn.Module) -> None:
    """Forget the state of every module in ``net``: call it between two batches, whose samples are unrelated.

    It calls ``reset()`` of each module whose class has one, of another library, too, as SpikingJelly's does.

    Without it the state is kept, and with gradients so is its history: the next backward pass fails with "Trying to
    backward through the graph a second time", and forward passes alone keep the memory of all that came before.

    Raises:
        TypeError: ``net`` is not a module.
    """
    _call_on_all(net, "reset")


def detach_net(net: nn.Module) -> None:
    """Keep the state of every module in ``net`` but cut its history (truncated BPTT).

    Call it between two pieces of one long sequence, after the optimizer step: the next backward pass then ends
    at the border, instead of failing with "Trying to backward through the graph a second time".

    Raises:
        TypeError: ``net`` is not a module.
    """
    _call_on_all(net, "detach")


class Decision(NamedTuple):
    """How one part of a network ran.

    ``name`` is that of ``named_modules``, ``kind`` its class, ``fused`` whether a kernel took all time steps at once;
    where it did not, ``reason`` says why. Parts with one number ``scan`` share a kernel; it is 0 where none ran.
    ``remark`` says what slows a fused part down, if anything.
    """

    name: str
    kind: str
    fused: bool
    reason: str
    scan: int = 0
    remark: str = ""

    def __str__(self) -> str:
        how = f"fused, in scan {self.scan}" if self.fused else f"not fused: {self.reason}"
        return f"{self.name:16} {self.kind:28} {how}{'; ' * bool(self.remark)}{self.remark}"


def explain(net: nn.Module, *inputs: Any) -> list[Decision]:
    """Say which parts of ``net`` run fused for these inputs, and why the others do not and what would change that.

    A copy of ``net`` is called with ``inputs``, without gradient; ``net`` itself and torch's random numbers stay as
    they are. ``print(*explain(net, x), sep="\\n")`` shows a line for each part.

    Returns:
        A :class:`~snn_core.functional.Decision` for each part that was asked to run a sequence, in their order, and
        then for each part with a state that was called step by step.

    Raises:
        TypeError: ``net`` is not a module. What ``net`` itself raises for ``inputs`` passes, too.
    """
    net = copied(check_module("net", net))
    before = states(net)
    notes: fuse.Notes = []
    listening = fuse.notes.set(notes)
    try:
        with torch.no_grad(), torch.random.fork_rng():
            net(*inputs)
    finally:
        fuse.notes.reset(listening)
    known = {part for module, *_ in notes for part in module.modules()}
    for key, (part, name) in _places(net).items():
        if part not in known and getattr(part, name) is not before.get(key):
            notes.append((part, False, STEP_BY_STEP, 0, ""))
            known |= set(part.modules())
    names = {module: name for name, module in net.named_modules()}
    return [
        Decision(names.get(module, ""), type(module).__name__, fused, reason, scan, remark)
        for module, fused, reason, scan, remark in dict.fromkeys(notes)
    ]


STEP_BY_STEP = "it is called step by step: give scan, or a MultiStepContainer around it, the whole sequence"


def copied(net: nn.Module) -> nn.Module:
    """Return a copy of a network, also of one with a tensor that was computed from others, as pruning leaves it."""
    computed = [
        value
        for module in net.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    return copy.deepcopy(net, {id(value): value.detach() for value in computed})


def set_backend(net: nn.Module, backend: str) -> None:
    """Let all parts of ``net`` run sequences by a backend, each ``nn.Linear`` among them.

    ``"torch"`` takes the readable loop everywhere, which has second derivatives.

    Raises:
        TypeError: ``net`` is not a module.
        ValueError: an unknown backend, or one that is not installed.
    """
    check_backend("backend", backend)
    for part in check_module("net", net).modules():
        if isinstance(part, nn.Linear) or getattr(part, "backend", None) in BACKENDS:
            part.backend = backend  # type: ignore[assignment]


def derived(module: nn.Module, x: Tensor) -> str:
    """Show what kernels compute for one neuron of ``module`` in one time step, derived from its cell's equations.

    ``print(derived(node, x))`` shows the statements of the forward pass and of the backward pass. In them ``x`` is the
    input, ``v0, v1, ...`` are the states before the step, ``p0, ...`` the parameters; ``g_y, g_v0, ...`` are the
    gradients of the output and of the states after the step. The last lines of each part are its results. The gradients
    of parameters are those of one neuron and one step, which kernels add up. What a linear feedback adds to the input
    is a matrix product before the cell, and not shown.

    Args:
        module: a neuron, a synapse, or a container around one.
        x: input of one time step, ``[N, *]``; only its shape, dtype and device count.

    Raises:
        TypeError: ``module`` is not a module, or ``x`` not a floating-point tensor.
        ValueError: nothing is derived, since the module falls back to the loop, with the reason, or is linear.
    """
    check_floating("x", x)
    stage = fuse.read(check_module("module", module), fuse.like_of(x[None]))
    if isinstance(stage, str):
        raise ValueError(f"module: nothing is derived from {type(module).__name__}: {stage}")
    if stage.kind.program is None:
        raise ValueError("module: nothing is derived from a linear layer, which has no cell")
    code = stage.kind.program.code
    _, constants = equations.unpacked(stage.numbers, code)
    values = {"one": 1.0, "zero": 0.0} | {f"c{k}": c for k, c in enumerate(constants)}
    after = [f"new v{k}" for k in range(code.states)]
    gradients = [f"new g_v{k}" for k in range(code.states)] + [f"g_p{k}" for k in range(code.parameters)]
    lines = []
    for title, statements, names, results in (
        ("forward", code.forward, ["y", *after], code.outputs),
        ("backward", code.backward, ["g_x", *gradients], code.gradients),
    ):
        ends = [f"{name} = {result}" for name, result in zip(names, results, strict=True)]
        lines += [title, *(f"    {line}" for line in (*map(str, statements), *ends))]
    return re.sub(r"\b(one|zero|c\d+)\b", lambda found: repr(values[found.group()]), "\n".join(lines))


def _places(net: nn.Module) -> dict[str, tuple[MemoryModule, str]]:
    """Return each state of ``net`` by its name: the module that has it, and what that calls it."""
    return {
        f"{path}.{name}".lstrip("."): (part, name)
        for path, part in check_module("net", net).named_modules()
        if isinstance(part, MemoryModule)
        for name in part.state_names
    }


def states(net: nn.Module) -> dict[str, Tensor]:
    """Return every state that ``net`` has at this moment, by its name, as in ``"0.sub_module.v"``.

    States are not in ``net.state_dict()``: they belong to the samples of a batch. None is left after :func:`reset_net`.

    Raises:
        TypeError: ``net`` is not a module.
    """
    states = {key: getattr(part, name) for key, (part, name) in _places(net).items()}
    return {key: state for key, state in states.items() if state is not None}


def set_states(net: nn.Module, states: Mapping[str, Tensor]) -> None:
    """Set the states of ``net`` to what :func:`states` has returned; those that are not there have no value yet.

    Raises:
        TypeError: ``net`` is not a module, or a state not a tensor.
        ValueError: ``net`` has no state of a name.
    """
    places = _places(net)
    for key, state in states.items():
        if key not in places:
            known = ", ".join(places) or "none"
            raise ValueError(f"states: {type(net).__name__} has no state {key!r}, it has {known}")
        check_tensor(f"states[{key!r}]", state)
    for key, (part, name) in places.items():
        part.keep_state(name, states.get(key))


# Read-outs over time, of sequences of different length -----------------------------------------------------------


def sequence_mask(lengths: Any, T: int) -> Tensor:
    """Return which steps are a sample's own: a bool mask ``[T, N]``, True at ``[t, n]`` where ``t < lengths[n]``.

    Raises:
        TypeError: ``lengths`` or T are not whole numbers.
        ValueError: T is below 1, or a length does not lie between 0 and T.
    """
    return mask_of(check_lengths(lengths, check_whole("T", T, 1), lowest=0), T)


#: From so many numbers on torch shares a sum among its threads.
SHARED = 32768
#: Steps that are summed one after the other, before such sums are added in float64.
SUMMED = 128


class _MeanOverTime(torch.autograd.Function):
    """The mean in this thread: torch's threads wait for each other where something else keeps a core busy."""

    @staticmethod
    def forward(ctx: Any, y_seq: Tensor) -> Tensor:
        ctx.shape = y_seq.shape
        y = y_seq.detach().resolve_neg().numpy()
        # Not by reduceat, which takes ten times as long.
        parts = [np.add.reduce(y[t : t + SUMMED], axis=0) for t in range(0, len(y), SUMMED)]
        return torch.from_numpy((np.sum(parts, axis=0, dtype=np.float64) / len(y)).astype(y.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient / ctx.shape[0]).expand(ctx.shape)


def mean_over_time(y_seq: Tensor, lengths: Any = None) -> Tensor:
    r"""Return each sample's mean over its own steps, :math:`\bar y_n = \frac{1}{T_n} \sum_{t < T_n} y_n[t]`.

    Of ``y_seq`` ``[T, N, *]`` it is ``[N, *]``; of spikes it is the firing rate. What ``y_seq`` holds in the padding
    changes nothing. ``lengths`` are :math:`T_n`, from 1 to T, or a mask; None means T steps each.

    Raises:
        TypeError: ``y_seq`` is not a floating-point tensor, or ``lengths`` are not whole numbers.
        ValueError: ``y_seq`` is not ``[T, N, *]`` with T >= 1, another number of lengths, one out of its range, or a
            mask with a gap.
    """
    check_sequence("y_seq", y_seq)
    if lengths is None:
        # A compiler, which is asked about first, would make a condition of the size.
        is_plain = not torch.compiler.is_compiling() and y_seq.numel() >= SHARED and not fuse.why_loop(y_seq)
        is_plain = is_plain and y_seq.device.type == "cpu" and y_seq.dtype in (torch.float32, torch.float64)
        return _MeanOverTime.apply(y_seq) if is_plain else y_seq.mean(0)
    lengths = check_lengths(lengths, *y_seq.shape[:2]).to(y_seq.device)
    trailing = [1] * (y_seq.dim() - 2)
    # Not a product: NaN times 0 is NaN.
    valid = torch.where(mask_of(lengths, len(y_seq)).view(*y_seq.shape[:2], *trailing), y_seq, 0)
    return valid.sum(0) / lengths.view(-1, *trailing)


def last_step(y_seq: Tensor, lengths: Any = None) -> Tensor:
    r"""Return what each sample has at its own last step, :math:`y_n[T_n - 1]`, counted from 0.

    Arguments, shapes and what is raised are those of :func:`mean_over_time`.
    """
    check_sequence("y_seq", y_seq)
    if lengths is None:
        return y_seq[-1]
    lengths = check_lengths(lengths, *y_seq.shape[:2]).to(y_seq.device)
    return y_seq[lengths - 1, torch.arange(len(lengths), device=y_seq.device)]
