"""What every kernel asks of its tensors before it starts: a kernel reads addresses, and would leave the tensor's memory.

Modules hand over what fits; these checks, a few for a whole sequence, are for whoever calls the ops, and for weights
that somebody replaced or moved.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snn_core.checks import FLOATING


def _fit(name: str, tensor: Tensor | None, shape: Sequence[int], like: Tensor) -> None:
    if tensor is None:
        return
    if tensor.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.device != like.device:
        raise ValueError(
            f"{name} is on {tensor.device}, its sequence on {like.device}: move the module or the input with .to()"
        )
    if tensor.dtype not in FLOATING:
        raise TypeError(f"{name} must have a floating-point dtype, got {tensor.dtype}")


def _sequence(name: str, tensor: Tensor, dimensions: int = 1) -> torch.Size:
    """Return the shape of a time step."""
    if tensor.dtype not in FLOATING:
        raise TypeError(f"{name} must have a floating-point dtype, got {tensor.dtype}")
    if tensor.dim() <= dimensions or len(tensor) == 0:
        raise ValueError(f"{name} must have at least one time step, got shape {list(tensor.shape)}")
    return tensor.shape[1:]


def check_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, grad: Tensor | None = None) -> None:
    """Refuse what does not fit a linear layer with weights ``[J, K]``.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes.
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x must have dtype torch.float32 or torch.float64, got {x.dtype}")
    if x.dim() == 0 or weight.dim() != 2:
        raise ValueError(f"need x [*, K] and weight [J, K], got {list(x.shape)} and {list(weight.shape)}")
    J = len(weight)
    _fit("weight", weight, (J, x.shape[-1]), x)
    _fit("bias", bias, (J,), x)
    _fit("grad", grad, (*x.shape[:-1], J), x)


def check_walk(x_seq: Tensor, v: Tensor, y: Tensor | None) -> None:
    """Refuse what does not fit a walk through a layer of neurons.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes.
    """
    step = _sequence("x_seq", x_seq)
    _fit("v", v, step, x_seq)
    _fit("y", y, step, x_seq)


def check_walk_backward(grad_s_seq: Tensor, grad_v_last: Tensor | None, h_seq: Tensor) -> None:
    """Refuse what does not fit a walk back; see :func:`check_walk`."""
    step = _sequence("grad_s_seq", grad_s_seq)
    _fit("h_seq", h_seq, grad_s_seq.shape, grad_s_seq)
    _fit("grad_v_last", grad_v_last, step, grad_s_seq)


def check_recurrent(x_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Refuse what does not fit a walk with recurrent weights ``[H, 2 H]``; see :func:`check_walk`."""
    H = _sequence("x_seq", x_seq, 1)[-1]
    check_walk(x_seq, v, y)
    _fit("weight", weight, (H, 2 * H), x_seq)
    _fit("bias", bias, (H,), x_seq)


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
    check_walk_backward(grad_s_seq, grad_v_last, h_seq)
    check_recurrent(x_seq, y, y, weight, None)
    _fit("s_seq", s_seq, grad_s_seq.shape, grad_s_seq)
    _fit("x_seq", x_seq, grad_s_seq.shape, grad_s_seq)


def check_filter(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> None:
    """Refuse what does not fit a walk of synapse filters; see :func:`check_walk`."""
    step = _sequence("s_seq", s_seq)
    _fit("i", i, step, s_seq)
    _fit("inv_tau", inv_tau, inv_tau.shape, s_seq)
    if inv_tau.numel() != 1 and (
        inv_tau.dim() > len(step)
        or any(a not in (1, b) for a, b in zip(reversed(inv_tau.shape), reversed(step), strict=False))
    ):
        raise ValueError(f"inv_tau must broadcast to {list(step)}, got shape {list(inv_tau.shape)}")


def check_filter_backward(
    grad_i_seq: Tensor, s_seq: Tensor, i_seq: Tensor, i: Tensor, inv_tau: Tensor
) -> None:
    """Refuse what does not fit a walk back of synapse filters; see :func:`check_walk`."""
    check_filter(s_seq, i, inv_tau)
    _fit("i_seq", i_seq, s_seq.shape, s_seq)
    _fit("grad_i_seq", grad_i_seq, s_seq.shape, s_seq)
