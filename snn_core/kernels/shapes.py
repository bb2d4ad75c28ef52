"""Argument validation for kernels, which read at addresses, whatever lies there.

Modules hand over what fits; these checks, a few for a whole sequence, are for whoever calls the ops, and for weights
that somebody replaced or moved.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snn_core.checks import FLOATING
from snn_core.kernels.plan import Plan


def _fit(
    name: str,
    tensor: Tensor | None,
    shape: tuple[int, ...] | int,
    device: torch.device,
    required: bool = False,
) -> None:
    """Refuse a tensor of another shape, or with another count of numbers, on another device or of another kind."""
    if tensor is None:
        if required:
            raise TypeError(f"{name} must be a tensor, got None")
        return
    if isinstance(shape, int):
        if tensor.numel() != shape:
            raise ValueError(f"{name} must have {shape} numbers, got shape {list(tensor.shape)}")
    elif tensor.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.device != device:
        raise ValueError(
            f"{name} is on {tensor.device}, the input on {device}: move the module or the input with .to()"
        )
    if tensor.dtype not in FLOATING:
        raise TypeError(f"{name} must have a floating-point dtype, got {tensor.dtype}")


def check_scan(x_seq: Tensor, tensors: Sequence[Tensor | None], plan: Plan) -> None:
    """Refuse what does not fit the plan of a scan.

    Raises:
        TypeError, ValueError: an argument has another dtype, shape or device than the op takes, or a required one is
            missing.
    """
    if x_seq.dtype not in FLOATING:
        raise TypeError(f"x_seq must have a floating-point dtype, got {x_seq.dtype}")
    if x_seq.dim() != 3 or x_seq.shape[0] == 0:
        raise ValueError(
            f"x_seq must have shape [T, N, K] with at least one time step, got {list(x_seq.shape)}"
        )
    device, N, features, left = x_seq.device, x_seq.shape[1], x_seq.shape[2], list(tensors)
    if len(left) != plan.tensors:
        raise ValueError(f"tensors must be {plan.tensors} for this plan, got {len(left)}")
    for k, stage in enumerate(plan.stages):
        J = stage.outputs
        if stage.inputs != features:
            raise ValueError(f"stage {k} takes {stage.inputs} features, got {features}")
        if stage.program is None:
            _fit(f"weight of stage {k}", left.pop(0), (J, features), device, required=True)
            _fit(f"bias of stage {k}", left.pop(0), (J,), device)
        for s in range(stage.states):
            _fit(f"state {s} of stage {k}", left.pop(0), N * J, device)
        if stage.feedback:
            D = stage.feedback
            _fit(f"y of stage {k}", left.pop(0), D * N * J, device)
            _fit(f"weight of stage {k}", left.pop(0), (J, 2 * J), device, required=True)
            _fit(f"bias of stage {k}", left.pop(0), (J,), device)
            if stage.taps:
                _fit(f"taps of stage {k}", left.pop(0), (D, J), device, required=True)
        for p in range(stage.parameters):
            name, parameter = f"parameter {p} of stage {k}", left.pop(0)
            shape = tuple(parameter.shape) if parameter is not None and parameter.dim() <= 1 else (-1,)
            _fit(name, parameter, shape, device, required=True)
            if N and J and 0 in shape:
                raise ValueError(f"{name} must have at least one number, got an empty tensor")
        features = J


def check_lengths(lengths: Tensor, x_seq: Tensor) -> None:
    """Refuse lengths that are not int64 ``[N]``, contiguous, in descending order, and from 0 to T."""
    T, N, _ = x_seq.shape
    if lengths.dtype != torch.int64 or lengths.shape != (N,) or not lengths.is_contiguous():
        raise TypeError(
            f"lengths must be {N} contiguous numbers of int64, got {lengths.dtype} {list(lengths.shape)}"
        )
    if lengths.device != x_seq.device:
        raise ValueError(f"lengths is on {lengths.device}, the input on {x_seq.device}")
    if lengths.device.type == "cpu" and N:
        numbers = lengths.numpy()
        if not (numbers[0] <= T and numbers[-1] >= 0 and (numbers[1:] <= numbers[:-1]).all()):
            raise ValueError(f"lengths must go down from at most {T} to at least 0, got {numbers}")


def check_backward(
    grad_y: Tensor | None,
    grad_last: Tensor | None,
    grad_seqs: Tensor | None,
    x_seq: Tensor,
    plan: Plan,
    borders: Tensor | None = None,
) -> None:
    """Refuse gradients, and states at borders, that do not fit; see :func:`check_scan`, which comes first."""
    T, N, _ = x_seq.shape
    _fit("borders", borders, (plan.segments(T, N)[1] * N * plan.state_size,), x_seq.device)
    _fit("grad_y", grad_y, (T, N, plan.stages[-1].outputs), x_seq.device)
    _fit("grad_last", grad_last, (N * plan.state_size,), x_seq.device)
    _fit("grad_seqs", grad_seqs, (T * N * sum(plan.seq_sizes),), x_seq.device)
