r"""Pure step functions: one time step in, spikes and the new state out. No hidden state, no modules.

A neuron does three things in each time step, in this order (tutorial.txt and [1]_):

.. math::
    \text{charge:}\quad & h[t] = f(v[t-1], x[t]) \\
    \text{fire:}\quad   & s[t] = \Theta(h[t] - v_{threshold}) \\
    \text{reset:}\quad  & v[t] = (1 - s[t])\,h[t] + s[t]\,v_{reset} \text{ (hard)},\quad
                          v[t] = h[t] - s[t]\,v_{threshold} \text{ (soft)}

Shapes: ``x``, ``v`` and the spikes share one shape, ``[N, *]`` or any other down to 0-dim. Quantities are
dimensionless; time is counted in steps.

:func:`if_step` and :func:`lif_step` check that ``x`` and ``v`` fit together. Their parts, and the synapse filter, are
bare arithmetic, which raises what torch raises, TypeError or RuntimeError. Numbers are taken as they are; the modules
of :mod:`snn_core.neuron` check them, once.

.. [1] W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
   networks", ICCV 2021, eq. 2-4. https://arxiv.org/abs/2007.05785
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.backend import check_backend, fused_linear
from snn_core.backend.decisions import Decision, note, noting
from snn_core.base import MemoryModule
from snn_core.checks import check_floating, check_module, check_place, check_tensor

SpikeFunction = Callable[[Tensor], Tensor]

__all__ = [
    "detach_net",
    "explain",
    "fire",
    "if_charge",
    "if_step",
    "lif_charge",
    "lif_step",
    "reset",
    "reset_net",
    "seq_to_ann_forward",
    "states",
    "synapse_filter_step",
]


def if_charge(x: Tensor, v: Tensor) -> Tensor:
    r"""Charge an integrate-and-fire neuron: :math:`h[t] = v[t-1] + x[t]`."""
    return v + x


def lif_charge(
    x: Tensor, v: Tensor, tau: float, v_reset: float | None = 0.0, decay_input: bool = True
) -> Tensor:
    r"""Charge a leaky integrate-and-fire neuron.

    .. math::
        h[t] = v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest})) \quad\text{(decay\_input)}, \qquad
        h[t] = v[t-1] - \tfrac{1}{\tau}(v[t-1] - v_{rest}) + x[t] \quad\text{(else)}

    with :math:`v_{rest} = v_{reset}` for the hard reset and 0 for the soft one (``v_reset=None``). ``tau`` is the
    membrane time constant in time steps.
    """
    leak = v if v_reset is None else v - v_reset
    return v + (x - leak) / tau if decay_input else v - leak / tau + x


def fire(h: Tensor, v_threshold: float, surrogate_function: SpikeFunction) -> Tensor:
    r"""Return the spikes :math:`s[t] = \Theta(h[t] - v_{threshold})`: 1 where ``h >= v_threshold``, else 0."""
    return surrogate_function(h - v_threshold)


def reset(h: Tensor, s: Tensor, v_threshold: float, v_reset: float | None, detach_reset: bool) -> Tensor:
    """Return v[t]: hard reset to ``v_reset`` where ``s`` is 1, or soft reset (``v_reset=None``) by subtraction.

    ``detach_reset=True`` cuts the gradient through ``s`` here, and only here.
    """
    if detach_reset:
        s = s.detach()
    return h - s * v_threshold if v_reset is None else (1 - s) * h + s * v_reset


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
    h = if_charge(x, v)
    s = fire(h, v_threshold, surrogate_function)
    return s, reset(h, s, v_threshold, v_reset, detach_reset)


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
    h = lif_charge(x, v, tau, v_reset, decay_input)
    s = fire(h, v_threshold, surrogate_function)
    return s, reset(h, s, v_threshold, v_reset, detach_reset)


def synapse_filter_step(s: Tensor, i: Tensor, inv_tau: Tensor | float) -> Tensor:
    r"""Take a synapse filter through one time step.

    .. math:: I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t]

    The current does not decay in a step that brings a spike, so the filter is bilinear in ``s`` and ``I`` and
    not a plain low-pass.

    Args:
        s: spikes s[t], ``[N, *]``.
        i: synaptic current I[t-1], same shape.
        inv_tau: 1/tau in 1/steps, a number or a tensor that broadcasts to ``s``.

    Returns:
        The synaptic current I[t], shape of ``s``.
    """
    return i - (1 - s) * i * inv_tau + s


def seq_to_ann_forward(
    x_seq: Tensor, stateless_module: nn.Module | Iterable[nn.Module], backend: str = "auto"
) -> Tensor:
    """Apply a module that has no state to all time steps at once.

    ``[T, N, *]`` is viewed as ``[T * N, *]``, so that for example an ``nn.Conv2d`` sees one large batch.

    Args:
        x_seq: ``[T, N, *]``.
        stateless_module: a module, or several that are applied one after the other.
        backend: one of :data:`snn_core.backend.BACKENDS`; on the CPU an ``nn.Linear`` runs in a kernel made for
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
    for module in modules:
        _check_stateless(module, x_seq)
        linear = fused_linear(backend, module, x_seq)
        note(module, linear is not None)
        if linear is not None:
            x_seq = linear(x_seq, module.weight, module.bias)
            continue
        y = module(x_seq.flatten(0, 1))
        if not isinstance(y, Tensor) or y.shape[:1] != (x_seq.shape[0] * x_seq.shape[1],):
            raise ValueError(
                f"stateless_module must give one output for each sample, {type(module).__name__} does not"
            )
        x_seq = y.unflatten(0, x_seq.shape[:2])
    return x_seq


def _check_stateless(module: nn.Module, x_seq: Tensor) -> None:
    check_module("stateless_module", module)
    if type(module) is not nn.Linear:
        for part in module.modules():
            if isinstance(part, MemoryModule):
                name = type(part).__name__
                raise TypeError(
                    f"stateless_module must have no state, {name} has one: put it into a MultiStepContainer"
                )
    else:
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
        A :class:`~snn_core.backend.decisions.Decision` for each part that was asked to run a sequence, in their order.

    Raises:
        TypeError: ``net`` is not a module.
        What ``net`` itself raises for ``inputs``.
    """
    net = copy.deepcopy(check_module("net", net))
    with torch.no_grad(), torch.random.fork_rng(), noting(net) as decisions:
        net(*inputs)
    return decisions


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
