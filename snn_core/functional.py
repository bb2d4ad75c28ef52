"""Functions on neurons and networks: single steps, sequences, states.

The equations are those of :mod:`snn_core.cells`. Shapes: ``x``, ``v`` and the spikes share one shape, ``[N, *]`` or any
other down to 0-dim; sequences are ``[T, N, *]``. Quantities are dimensionless; time is counted in steps.

:func:`if_step` and :func:`lif_step` check that ``x`` and ``v`` fit together. Their parts, and the synapse filter, are
bare arithmetic, which raises what torch raises, TypeError or RuntimeError. Numbers are taken as they are; the modules
of :mod:`snn_core.neuron` check them, once.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_core import fuse, runs
from snn_core.cells import (
    IF,
    LIF,
    SpikeFunction,
    fire,
    if_charge,
    lif_charge,
    reset,
    synapse_filter_step,
)
from snn_core.checks import (
    Like,
    check_floating,
    check_module,
    check_number,
    check_place,
    check_shape,
    check_tensor,
    takes_sequences,
)
from snn_core.kernels import BACKENDS, check_backend, steps
from snn_core.more import lengths as different_lengths
from snn_core.more.lengths import last_step, mean_over_time, sequence_mask
from snn_core.state import MemoryModule, check_sequence, has_state
from snn_core.surrogate import SurrogateFunction

__all__ = [
    "derived",
    "detach_net",
    "explain",
    "fire",
    "if_charge",
    "if_step",
    "last_step",
    "lif_charge",
    "lif_step",
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


def _check_step(x: Tensor, v: Tensor) -> None:
    """Refuse what arithmetic would silently stretch to fit."""
    check_floating("x", x)
    check_floating("v", v)
    if x.shape != v.shape:
        raise ValueError(f"v must have the shape of x, {list(x.shape)}, got {list(v.shape)}")


def if_step(
    x: Tensor,
    v: Tensor,
    *,
    v_threshold: float,
    v_reset: float | None,
    surrogate_function: SpikeFunction,
    detach_reset: bool,
) -> tuple[Tensor, Tensor]:
    """Take an integrate-and-fire neuron through one time step.

    Args:
        x: input current x[t], ``[N, *]``.
        v: membrane potential v[t-1], same shape.
        v_threshold: membrane potential from which the neuron fires.
        v_reset: value after a spike (hard reset), or None for the soft reset.
        surrogate_function: maps ``h - v_threshold`` to spikes.
        detach_reset: whether the gradient through the spike is cut in the reset.

    Returns:
        Spikes s[t] and membrane potential v[t], each of the shape of ``x``.

    Raises:
        TypeError: ``x`` or ``v`` is not a floating-point tensor.
        ValueError: they have different shapes.
    """
    _check_step(x, v)
    s, (v,) = IF(v_threshold, v_reset, surrogate_function, detach_reset).step(x, (v,))
    return s, v


def lif_step(
    x: Tensor,
    v: Tensor,
    *,
    tau: float,
    decay_input: bool,
    v_threshold: float,
    v_reset: float | None,
    surrogate_function: SpikeFunction,
    detach_reset: bool,
) -> tuple[Tensor, Tensor]:
    """Take a leaky integrate-and-fire neuron through one time step: :func:`if_step` with :func:`lif_charge`."""
    _check_step(x, v)
    s, (v,) = LIF(v_threshold, v_reset, surrogate_function, detach_reset, tau, decay_input).step(x, (v,))
    return s, v


def scan(x_seq: Tensor, *modules: nn.Module, backend: str = "auto", lengths: Any = None) -> Tensor:
    """Take a sequence through modules, one after the other, as many as possible in one fused scan.

    The result is that of calling each on the whole sequence. Modules for single steps, such as ``IFNode``, go through
    all steps; those without a state are applied to all steps at once, as in :func:`seq_to_ann_forward`. A plain
    ``nn.Sequential``, ``MultiStepContainer`` or ``SeqToANNContainer`` stands for its modules. :func:`explain` says
    which of them share a scan.

    With ``lengths`` a sample n takes part in its steps ``t < lengths[n]`` only, and everything is as if it had gone
    through alone: its output is 0 at the other steps, which are not computed; its states afterwards are those of its
    own last step; whatever its input holds in the padding, NaN too, changes nothing and gets a gradient of 0. What
    couples the samples of a batch, as batch normalisation while training does, sees each sample's own steps and no
    padding. States are registered ones, with the samples in dimension 0.

    Args:
        x_seq: ``[T, N, *]``.
        modules: the parts of a network in their order.
        backend: one of :data:`snn_core.kernels.BACKENDS`, for ``nn.Linear``; other modules have their own.
        lengths: steps of each sample, whole numbers ``[N]`` from 1 to T, or a bool mask ``[T, N]`` that is True for
            them; None for T steps each. Where states are there already, from an earlier piece of the sequences, a
            length may be 0. Lengths that are on the CPU are read without waiting for a GPU.

    Returns:
        ``[T, N, *]`` with the trailing shape that the last module gives.

    Raises:
        TypeError: ``x_seq`` is not a floating-point tensor, something is not a module, ``lengths`` are not whole
            numbers, or are given with a module that takes whole sequences and has no registered state.
        ValueError: ``x_seq`` is not ``[T, N, *]`` with T >= 1, an unknown backend, or a shape, dtype or device that
            does not fit a module; another number of lengths, one out of its range, a mask with a gap, or a neuron with
            ``store_v_seq``.
    """
    found = runs.kept(modules, x_seq, backend).found if lengths is None else None
    if found is not None and not found[0].rest:
        return found[0](x_seq, found[1])
    for module in modules:
        check_module("modules", module)
    check_sequence(None, x_seq)
    check_backend(backend)

    def run(x_seq: Tensor, modules: Sequence[nn.Module]) -> Tensor:
        return runs.scan(x_seq, modules, _call_on_sequence, backend)

    if lengths is None:
        return run(x_seq, modules)
    return different_lengths.scan(x_seq, list(fuse.flattened(modules)), lengths, run, backend)


def train_steps(
    net: nn.Module,
    x_seq: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    loss: str = "mse",
    index: Tensor | None = None,
    clip: float | None = None,
) -> steps.Steps:
    """Train: forward pass, loss, backward pass and optimizer, many steps in one kernel call on the CPU.

    A step does to the weights and to the optimizer's state what these lines do, within rounding::

        y = functional.scan(x_seq[:, index[step]], *net).mean(0)
        optimizer.zero_grad(), loss(y, labels[index[step]]).backward(), optimizer.step(), reset_net(net)

    The weights' ``grad`` stays as it is. What comes between these lines, such as a hook, another loss or a list of
    parameter groups, needs the lines themselves.

    Args:
        net: an ``nn.Sequential`` or ``MultiStepContainer`` that one fused scan takes as a whole, see :func:`explain`,
            with an ``nn.Linear`` or a linear feedback in it, and without state from before.
        x_seq: ``[T, n, K]`` on the CPU, fp32 or fp64.
        labels: classes, int64 ``[n]``.
        optimizer: ``torch.optim.SGD`` or ``Adam`` with one group of weights.
        loss: of the mean output over time ``[N, J]``: ``"mse"`` to the one-hot label, or ``"cross-entropy"``.
        index: which samples each step takes, int64 ``[steps, N]``; None is one step with all.
        clip: largest norm of the gradient, see ``torch.nn.utils.clip_grad_norm_``; None leaves it.

    Returns:
        :class:`~snn_core.kernels.cpu.steps.Steps`, for each step its loss and how many samples were right.

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
    found = runs.whole(net, x_seq)
    if isinstance(found, str):
        raise ValueError(f"net cannot be trained in one call: {found}")
    run, tensors = found
    _check_classes("labels", labels, run.step_after[-1])
    by = steps.descent_of(optimizer, tensors, clip)
    if isinstance(by, str):
        raise ValueError(f"net cannot be trained in one call: {by}")
    taken = steps.take_steps(
        x_seq, run.stages, run.numbers, tensors, labels.contiguous(), loss, by, index.contiguous()
    )
    optimizer._opt_called = True  # type: ignore[attr-defined]  # else torch's schedulers warn that it took no step
    return taken


def _check_classes(name: str, numbers: Tensor, end: int) -> None:
    """Refuse numbers that are not int64 on the CPU, or not from 0 to ``end`` - 1."""
    if numbers.dtype != torch.int64 or numbers.device.type != "cpu" or numbers.numel() == 0:
        raise TypeError(
            f"{name} must be int64 on the CPU, at least one number, got {numbers.numel()} of {numbers.dtype} on "
            f"{numbers.device}"
        )
    lowest, highest = int(numbers.min()), int(numbers.max())
    if lowest < 0 or highest >= end:
        raise ValueError(f"{name} must be from 0 to {end - 1}, got {lowest} to {highest}")


def _call_on_sequence(module: Any, x_seq: Tensor) -> Tensor:
    if takes_sequences(module):
        return module(x_seq)
    if fuse.defines(module, "forward_sequence"):
        return module.forward_sequence(x_seq)
    if has_state(module):
        return torch.stack([module(x) for x in x_seq])
    return _call_once(module, x_seq)


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
    check_backend(backend)
    one = isinstance(stateless_module, nn.Module) or not isinstance(stateless_module, Iterable)
    modules: Any = [stateless_module] if one else stateless_module
    modules = list(modules)
    for module in modules:
        _check_stateless(module)
    return runs.scan(x_seq, modules, _call_once, backend)


def _call_once(module: nn.Module, x_seq: Tensor) -> Tensor:
    """Call a module on all time steps at once."""
    if type(module) is nn.Linear:
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
        waiting += [child for child in module._modules.values() if child is not None]
        # The class is asked: a missing name costs ten times as much on a module itself.
        if callable(getattr(type(module), method, None)):
            getattr(module, method)()


def reset_net(net: nn.Module) -> None:
    """Forget the state of every module in ``net``: call it between two batches, whose samples are unrelated.

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
    """

    name: str
    kind: str
    fused: bool
    reason: str
    scan: int = 0

    def __str__(self) -> str:
        how = f"fused, in scan {self.scan}" if self.fused else f"not fused: {self.reason}"
        return f"{self.name:16} {self.kind:28} {how}"


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
    seen: list[tuple[nn.Module, bool, str, int]] = []
    for module in net.modules():
        if not isinstance(module, SurrogateFunction):  # whose attributes belong to its equations
            vars(module)["_decisions"] = seen
    before = states(net)
    with torch.no_grad(), torch.random.fork_rng():
        net(*inputs)
    known = {part for module, *_ in seen for part in module.modules()}
    for key, (part, name) in _places(net).items():
        if part not in known and getattr(part, name) is not before.get(key):
            seen.append((part, False, STEP_BY_STEP, 0))
            known |= set(part.modules())
    names = {module: name for name, module in net.named_modules()}
    return [
        Decision(names.get(module, ""), type(module).__name__, fused, reason, scan)
        for module, fused, reason, scan in dict.fromkeys(seen)
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
    """Let all parts of ``net`` run sequences by a backend, as if they had been built with ``backend=``.

    ``"torch"`` takes the readable loop everywhere, which has second derivatives.

    Raises:
        TypeError: ``net`` is not a module.
        ValueError: an unknown backend, or one that is not installed.
    """
    check_backend(backend)
    for part in check_module("net", net).modules():
        if getattr(part, "backend", None) in BACKENDS:
            setattr(part, "backend", backend)  # noqa: B010  # a name that no nn.Module declares


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
        ValueError: nothing is derived, since the module takes the loop, for the reason given, or is a linear layer.
    """
    check_floating("x", x)
    part = fuse.read(check_module("module", module), Like(x.shape, x.dtype, x.device))
    if isinstance(part, str):
        raise ValueError(f"module: nothing is derived from {type(module).__name__}: {part}")
    program = part.stage.program
    if program is None:
        raise ValueError("module: nothing is derived from a linear layer, which has no cell")
    values = {"one": 1.0, "zero": 0.0} | {f"c{k}": c for k, c in enumerate(part.constants)}
    states = [f"new v{k}" for k in range(program.states)]
    gradients = [f"new g_v{k}" for k in range(program.states)] + [
        f"g_p{k}" for k in range(program.parameters)
    ]
    lines = []
    for title, statements, names, results in (
        ("forward", program.forward, ["y", *states], program.outputs),
        ("backward", program.backward, ["g_x", *gradients], program.gradients),
    ):
        ends = [f"{name} = {result}" for name, result in zip(names, results, strict=True)]
        lines += [title, *(f"    {line}" for line in (*statements, *ends))]
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
    found = {key: getattr(part, name) for key, (part, name) in _places(net).items()}
    return {key: state for key, state in found.items() if state is not None}


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
