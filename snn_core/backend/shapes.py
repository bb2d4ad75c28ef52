"""What every kernel asks of its tensors before it starts: it reads at addresses, whatever lies there.

Modules hand over what fits; these checks, a few for a whole sequence, are for whoever calls the ops, and for weights
that somebody replaced or moved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snn_core.checks import FLOATING

Shape = tuple[int, ...]


def _fit(name: str, tensor: Tensor | None, shape: Shape, device: torch.device) -> None:
    if tensor is None or (tensor.shape == shape and tensor.device == device and tensor.dtype in FLOATING):
        return
    if tensor.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.device != device:
        raise ValueError(
            f"{name} is on {tensor.device}, the input on {device}: move the module or the input with .to()"
        )
    raise TypeError(f"{name} must have a floating-point dtype, got {tensor.dtype}")


def _sequence(name: str, tensor: Tensor) -> tuple[Shape, Shape, torch.device]:
    """Return the shapes of a sequence and of a time step, and where it is."""
    shape = tuple(tensor.shape)
    if tensor.dtype not in FLOATING:
        raise TypeError(f"{name} must have a floating-point dtype, got {tensor.dtype}")
    if len(shape) < 2 or shape[0] == 0:
        raise ValueError(f"{name} must have shape [T, N, *] with at least one time step, got {list(shape)}")
    return shape, shape[1:], tensor.device


def check_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, grad: Tensor | None = None) -> None:
    """Refuse what does not fit a linear layer with weights ``[J, K]``.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes.
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x must have dtype torch.float32 or torch.float64, got {x.dtype}")
    shape, weights, device = tuple(x.shape), tuple(weight.shape), x.device
    if len(shape) == 0 or len(weights) != 2:
        raise ValueError(f"need x [*, K] and weight [J, K], got {list(shape)} and {list(weights)}")
    _fit("weight", weight, (weights[0], shape[-1]), device)
    _fit("bias", bias, weights[:1], device)
    _fit("grad", grad, (*shape[:-1], weights[0]), device)


def check_walk(x_seq: Tensor, v: Tensor, y: Tensor | None) -> None:
    """Refuse what does not fit a walk through a layer of neurons.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes.
    """
    _, step, device = _sequence("x_seq", x_seq)
    _fit("v", v, step, device)
    _fit("y", y, step, device)


def check_walk_backward(grad_s_seq: Tensor, grad_v_last: Tensor | None, h_seq: Tensor) -> None:
    """Refuse what does not fit a walk back; see :func:`check_walk`."""
    shape, step, device = _sequence("grad_s_seq", grad_s_seq)
    _fit("h_seq", h_seq, shape, device)
    _fit("grad_v_last", grad_v_last, step, device)


def check_recurrent(x_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Refuse what does not fit a walk with recurrent weights ``[H, 2 H]``; see :func:`check_walk`."""
    shape, step, device = _sequence("x_seq", x_seq)
    _fit("v", v, step, device)
    _fit("y", y, step, device)
    _fit("weight", weight, (shape[-1], 2 * shape[-1]), device)
    _fit("bias", bias, shape[-1:], device)


def check_recurrent_backward(
    grad_s_seq: Tensor,
    grad_v_last: Tensor | None,
    h_seq: Tensor,
    s_seq: Tensor,
    x_seq: Tensor,
    y: Tensor,
    weight: Tensor,
) -> None:
    """Refuse what does not fit a walk back with recurrent weights; see :func:`check_walk`."""
    shape, step, device = _sequence("grad_s_seq", grad_s_seq)
    for name, tensor in (("h_seq", h_seq), ("s_seq", s_seq), ("x_seq", x_seq)):
        _fit(name, tensor, shape, device)
    _fit("grad_v_last", grad_v_last, step, device)
    _fit("y", y, step, device)
    _fit("weight", weight, (shape[-1], 2 * shape[-1]), device)


def check_filter(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> None:
    """Refuse what does not fit a walk of synapse filters; see :func:`check_walk`."""
    _, step, device = _sequence("s_seq", s_seq)
    _fit("i", i, step, device)
    rates = tuple(inv_tau.shape)
    _fit("inv_tau", inv_tau, rates, device)
    fits = len(rates) <= len(step) and all(
        a in (1, b) for a, b in zip(reversed(rates), reversed(step), strict=False)
    )
    if not fits:
        raise ValueError(f"inv_tau must broadcast to {list(step)}, got shape {list(rates)}")


def check_filter_backward(
    grad_i_seq: Tensor, s_seq: Tensor, i_seq: Tensor, i: Tensor, inv_tau: Tensor
) -> None:
    """Refuse what does not fit a walk back of synapse filters; see :func:`check_walk`."""
    check_filter(s_seq, i, inv_tau)
    _fit("i_seq", i_seq, tuple(s_seq.shape), s_seq.device)
    _fit("grad_i_seq", grad_i_seq, tuple(s_seq.shape), s_seq.device)
