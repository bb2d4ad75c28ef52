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

import torch
from torch import Tensor, nn

from snn_core import fuse
from snn_core.cells import fire, if_charge, lif_charge, reset, synapse_filter_step
from snn_core.checks import (
    check_floating,
    check_module,
    check_sequence,
    check_tensor,
    takes_sequences,
)
from snn_core.kernels import BACKENDS, check_backend, equations
from snn_core.module import MemoryModule
from snn_core.more.lengths import last_step, mean_over_time, scan_with_lengths, sequence_mask
from snn_core.more.train_steps import SkipOverflow, Steps, train_steps

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
