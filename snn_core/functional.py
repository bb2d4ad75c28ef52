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
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
from snn_core.checks import Like, check_floating, check_module, check_place, check_tensor
from snn_core.kernels import check_backend, plan
from snn_core.kernels.decisions import Decision, note, noting
from snn_core.kernels.limits import MOST_STATES
from snn_core.kernels.record.symbols import parse
from snn_core.more import lengths as different_lengths
from snn_core.more.lengths import last_step, mean_over_time, sequence_mask
from snn_core.state import MemoryModule, check_sequence, has_state

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
    "states",
    "synapse_filter_step",
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
    for module in modules:
        check_module("modules", module)
    check_sequence(None, x_seq)
    check_backend(backend)

    def run(x_seq: Tensor, modules: Sequence[nn.Module]) -> Tensor:
        return plan.scan(x_seq, modules, _call_on_sequence, backend)

    chain = list(_flattened(modules))
    return (
        run(x_seq, chain) if lengths is None else different_lengths.scan(x_seq, chain, lengths, run, backend)
    )


def _flattened(modules: Iterable[Any]) -> Iterator[nn.Module]:
    for module in modules:
        if plan.is_chain(module):
            yield from _flattened(module._modules.values())  # children() leaves out what is there twice
        else:
            yield module


def _call_on_sequence(module: Any, x_seq: Tensor) -> Tensor:
    if getattr(type(module), "takes_sequences", False):
        return module(x_seq)
    if plan.defines(module, "forward_sequence"):
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
    return plan.scan(x_seq, modules, _call_once, backend)


def _call_once(module: nn.Module, x_seq: Tensor) -> Tensor:
    """Call a module on all time steps at once."""
    if type(module) is nn.Linear:
        _check_features(module, x_seq)
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
        if getattr(type(part), "takes_sequences", False) and "is_chain" not in vars(type(part)):
            raise TypeError(
                f"stateless_module must take [T * N, *], {type(part).__name__} takes [T, N, *]: put it into a "
                "MultiStepContainer or an nn.Sequential"
            )


def _check_features(module: nn.Linear, x_seq: Tensor) -> None:
    if x_seq.shape[-1] != module.in_features:
        raise ValueError(
            f"x_seq has shape {list(x_seq.shape)}, its last dimension must be {module.in_features}"
        )
    check_place("x_seq", x_seq, module.weight)


def _call_on_all(net: nn.Module, method: str) -> None:
    for module in check_module("net", net).modules():
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


def explain(net: nn.Module, *inputs: Any) -> list[Decision]:
    """Say which parts of ``net`` run fused for these inputs, and why the others do not.

    A copy of ``net`` is called with ``inputs``, without gradient; ``net`` itself and torch's random numbers stay as
    they are. ``print(*explain(net, x), sep="\\n")`` shows a line for each part.

    Returns:
        A :class:`~snn_core.kernels.decisions.Decision` for each part that was asked to run a sequence, in their order.

    Raises:
        TypeError: ``net`` is not a module. What ``net`` itself raises for ``inputs`` passes, too.
    """
    net = copy.deepcopy(check_module("net", net))
    with torch.no_grad(), torch.random.fork_rng(), noting(net) as decisions:
        net(*inputs)
    return decisions


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
    with noting(check_module("module", module)) as decisions:
        part = plan.read(module, Like(x.shape, x.dtype, x.device))
        note(module, part is not None)
    if part is None:
        raise ValueError(f"module: nothing is derived from {type(module).__name__}: {decisions[0].reason}")
    if part.stage.kernel == "linear":
        raise ValueError("module: nothing is derived from a linear layer, which has no cell")
    program = parse(part.stage.kernel)
    values = {"one": 1.0, "zero": 0.0} | {f"c{k}": c for k, c in enumerate(part.stage.numbers[MOST_STATES:])}
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


def states(net: nn.Module) -> dict[str, Tensor]:
    """Return every state that ``net`` has at this moment, by its name, as in ``"0.sub_module.v"``.

    States are not in ``net.state_dict()``: they belong to the samples of a batch. None is left after :func:`reset_net`.

    Raises:
        TypeError: ``net`` is not a module.
    """
    found: dict[str, Tensor] = {}
    for path, part in check_module("net", net).named_modules():
        for name in getattr(part, "_state_names", ()):
            if (state := getattr(part, name)) is not None:
                found[f"{path}.{name}".lstrip(".")] = state
    return found
