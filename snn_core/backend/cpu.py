"""The fused operations on the CPU: tensors in, kernels of numba, tensors out."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from snn_core import backend
from snn_core.backend import products, shapes, walks
from snn_core.backend.constants import Neuron
from snn_core.backend.walks import LIF_DECAYING_INPUT, Constants

#: Seconds after which a reader is told what keeps him waiting.
PATIENCE = 1.0

#: Shown once for each kernel; tools/run_notebooks.py keeps it off the pages.
COMPILING = "snn_core: compiling a CPU kernel, once; it is kept for the next time"


def _say_what_takes_long() -> None:
    print(COMPILING, file=sys.stderr, flush=True)


def _start_threads() -> None:
    """Let numba start its threads without changing torch's number of them, as it does where both share OpenMP."""
    threads = torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(threads)


def _after_fork() -> None:
    """Do without threads in a process forked from this one: they stay behind, and waiting for them would never end."""
    backend.forked = True
    torch.set_num_threads(1)


_start_threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
#: numba's own threads, which it has where there is no OpenMP, take one kernel at a time and end the process otherwise.
_one_at_a_time = threading.Lock() if numba.threading_layer() == "workqueue" else nullcontext()
_known: set[tuple[Any, ...]] = set()
_threads = threading.local()

_NUMBERS = {int, bool, np.float32, np.float64, Constants}  # asking whether something is a Tensor is slow
_ONE = {torch.float32: np.float32(1), torch.float64: np.float64(1)}


def _use_threads() -> None:
    """Let kernels use as many threads as torch does; numba keeps a number for each thread that calls it."""
    number = torch.get_num_threads()
    if number != getattr(_threads, "number", None):
        numba.set_num_threads(min(number, numba.config.NUMBA_NUM_THREADS))
        _threads.number = number


def _run(walk: Callable[..., None], dtype: torch.dtype, *arguments: Any) -> None:
    """Run a kernel; tensors are passed by their address, None as 0, and ``arguments`` keeps them alive meanwhile."""
    if backend.forked:
        raise RuntimeError(
            "a process forked from one that used CPU kernels cannot use them: start it with multiprocessing's method "
            "'spawn', or build what it runs with backend='torch'"
        )
    _use_threads()
    plain = [
        argument if type(argument) in _NUMBERS else 0 if argument is None else argument.data_ptr()
        for argument in arguments
    ]
    if (walk, dtype) in _known:
        with _one_at_a_time:
            walk(*plain)
        return
    timer = threading.Timer(PATIENCE, _say_what_takes_long)
    timer.start()
    try:
        with _one_at_a_time:
            walk(*plain)
    finally:
        timer.cancel()
    _known.add((walk, dtype))


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which a walk on tensors of ``dtype`` computes: half precisions are widened."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _in(dtype: torch.dtype, *tensors: Tensor) -> list[Tensor]:
    """Return inputs in the precision of the kernels, with neurons side by side; copies where they are not so."""
    return [
        tensor
        if tensor.dtype is dtype
        and tensor.is_contiguous()
        and not (tensor.is_neg() or tensor._is_zerotensor())
        else in_memory(tensor, dtype)
        for tensor in tensors
    ]


def in_memory(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``tensor`` in ``dtype`` as numbers that lie side by side in memory, where a kernel reads them."""
    # Autograd's zeros have no memory, and a negative view holds the numbers with the other sign.
    if tensor._is_zerotensor():
        return torch.zeros(tensor.shape, dtype=dtype, device=tensor.device)
    return tensor.resolve_neg().to(dtype).contiguous()


def _out(dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return results in the precision that the caller uses."""
    return tensors if tensors[0].dtype is dtype else tuple(tensor.to(dtype) for tensor in tensors)


@lru_cache(maxsize=256)
def _constants(neuron: Neuron, dtype: torch.dtype) -> Constants:
    """Return the numbers of a neuron in the precision of a walk."""
    if neuron.surrogate not in range(walks.SURROGATES):
        raise ValueError(
            f"surrogate must be the number of a kernel, 0 to {walks.SURROGATES - 1}, got {neuron.surrogate}"
        )
    leak = 0.0 if neuron.tau is None else 1.0 / neuron.tau
    input_gain = leak if neuron.kind == LIF_DECAYING_INPUT else 1.0
    number: Any = type(_ONE[dtype])
    return Constants(*map(number, (*neuron.numbers(), input_gain, leak, 0.0, 1.0)))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x W^T + b; see :mod:`snn_core.backend.ops` for the arguments of this and the functions below.

    Raises:
        TypeError, ValueError: of all of them, an argument has another dtype, shape or device than the op takes.
        RuntimeError: of all of them, this process was forked from one that had used kernels.
    """
    shapes.check_linear(x, weight, bias)
    dtype = x.dtype
    a, w_t = _in(dtype, x, weight.t())
    K, J = w_t.shape
    (b,) = _in(dtype, w_t.new_zeros(J) if bias is None else bias)
    out = torch.empty((*x.shape[:-1], J), dtype=dtype)
    _run(products.linear_forward, dtype, x.shape[:-1].numel(), K, J, _ONE[dtype], a, w_t, b, out)
    return out


def linear_backward(grad: Tensor, x: Tensor, weight: Tensor, needs_x: bool) -> tuple[Tensor, ...]:
    """Return the gradients of x (empty if not needed), weight and bias."""
    shapes.check_linear(x, weight, grad=grad)
    dtype = x.dtype
    g, a, w = _in(dtype, grad, x, weight)
    J, K = w.shape
    M, one = x.shape[:-1].numel(), _ONE[dtype]
    grad_x = torch.empty_like(a) if needs_x else a.new_empty(0)
    if needs_x:
        _run(products.linear_forward, dtype, M, J, K, one, g, w, w.new_zeros(K), grad_x)
    g_weight, g_bias = torch.zeros_like(w), w.new_zeros(J)
    _run(products.linear_backward_weight, dtype, M, K, J, one, g, a, g_weight, K, g_bias)
    return grad_x, g_weight, g_bias


def neuron_sequence(x_seq: Tensor, v: Tensor, y: Tensor | None, *constants: Any) -> tuple[Tensor, ...]:
    """Walk forward through a layer of neurons."""
    shapes.check_walk(x_seq, v, y)
    dtype = compute_dtype(x_seq.dtype)
    x, v0, y0 = _in(dtype, x_seq, v, v if y is None else y)
    neuron = Neuron(*constants)
    numbers = _constants(neuron, dtype)
    s, h, last = torch.empty_like(x), torch.empty_like(x), torch.empty_like(v0)
    sizes = (len(x), v0.numel())
    _run(walks.neuron_forward, dtype, neuron.kind, y is not None, *sizes, numbers, x, y0, v0, s, h, last)
    return *_out(x_seq.dtype, s, last), h


def neuron_sequence_backward(
    grad_s_seq: Tensor, grad_v_last: Tensor | None, h_seq: Tensor, feedback: bool, *constants: Any
) -> tuple[Tensor, ...]:
    """Walk backward: gradients of x_seq, v and y."""
    shapes.check_walk_backward(grad_s_seq, grad_v_last, h_seq)
    neuron, dtype = Neuron(*constants), h_seq.dtype
    h, g_s = _in(dtype, h_seq, grad_s_seq)
    g_last = None if grad_v_last is None else _in(dtype, grad_v_last)[0]
    numbers = _constants(neuron, dtype)
    g_x, g_v, g_y = torch.empty_like(h), h.new_empty(h.shape[1:]), h.new_empty(h.shape[1:])
    sizes = (len(h), g_v.numel())
    _run(
        walks.neuron_backward, dtype,
        neuron.surrogate, feedback, *sizes, numbers, g_s, g_last, h, g_x, g_y, g_v,
    )  # fmt: skip
    return _out(grad_s_seq.dtype, g_x, g_v, g_y)


def recurrent_neuron_sequence(
    x_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, *constants: Any
) -> tuple[Tensor, ...]:
    """Walk forward through a recurrent layer of neurons."""
    shapes.check_recurrent(x_seq, v, y, weight, bias)
    dtype, H = compute_dtype(x_seq.dtype), len(weight)
    x, v0, y0, w_t = _in(dtype, x_seq, v, y, weight.t())
    (b,) = _in(dtype, w_t.new_zeros(H) if bias is None else bias)
    neuron = Neuron(*constants)
    numbers = _constants(neuron, dtype)
    s, h, last = torch.empty_like(x), torch.empty_like(x), torch.empty_like(v0)
    sizes = (len(x), v0.numel() // H, H)
    _run(walks.recurrent_forward, dtype, neuron.kind, *sizes, numbers, x, y0, v0, w_t, b, s, h, last)
    return *_out(x_seq.dtype, s, last), h


def recurrent_neuron_sequence_backward(
    grad_s_seq: Tensor,
    grad_v_last: Tensor | None,
    h_seq: Tensor,
    s_seq: Tensor,
    x_seq: Tensor,
    y: Tensor,
    weight: Tensor,
    *constants: Any,
) -> tuple[Tensor, ...]:
    """Walk backward through a recurrent layer: gradients of x_seq, v, y, weight and bias."""
    shapes.check_recurrent_backward(grad_s_seq, grad_v_last, h_seq, s_seq, x_seq, y, weight)
    neuron, dtype, H = Neuron(*constants), h_seq.dtype, len(weight)
    h, g_s, s, x, y0, w = _in(dtype, h_seq, grad_s_seq, s_seq, x_seq, y, weight)
    g_last = None if grad_v_last is None else _in(dtype, grad_v_last)[0]
    numbers = _constants(neuron, dtype)
    g_i, g_x, g_v, g_y = torch.empty_like(h), torch.empty_like(h), torch.empty_like(y0), torch.empty_like(y0)
    sizes = (len(h), y0.numel() // H, H)
    _run(
        walks.recurrent_backward, dtype,
        neuron.surrogate, *sizes, numbers, g_s, g_last, h, w, g_i, g_x, g_y, g_v,
    )  # fmt: skip
    g_weight, g_bias, unused = torch.zeros_like(w), w.new_zeros(H), w.new_zeros(H)
    T, N, _ = sizes
    # y[t-1] stands beside x[t]: y before the first step, then the spikes of the first T - 1 steps.
    for M, g, rows, columns, total in (
        (T * N, g_i, x, g_weight, g_bias),
        (N, g_i, y0, g_weight[:, H:], unused),
        ((T - 1) * N, g_i[1:], s, g_weight[:, H:], unused),
    ):
        _run(products.linear_backward_weight, dtype, M, H, H, numbers.one, g, rows, columns, 2 * H, total)
    return *_out(grad_s_seq.dtype, g_x, g_v, g_y), *_out(weight.dtype, g_weight, g_bias)


def _rates(inv_tau: Tensor, i: Tensor) -> Tensor:
    """Return 1/tau as the walk takes it: one number for all, or one for each filter."""
    return inv_tau if inv_tau.numel() == 1 else inv_tau.expand_as(i)


def synapse_filter_sequence(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
    """Walk forward through a layer of synapse filters."""
    shapes.check_filter(s_seq, i, inv_tau)
    dtype = compute_dtype(s_seq.dtype)
    s, i0, rate = _in(dtype, s_seq, i, _rates(inv_tau, i))
    i_seq = torch.empty_like(s)
    _run(walks.synapse_forward, dtype, len(s), i0.numel(), _ONE[dtype], s, i0, rate, rate.numel(), i_seq)
    return _out(s_seq.dtype, i_seq)[0]


def synapse_filter_sequence_backward(
    grad_i_seq: Tensor, s_seq: Tensor, i_seq: Tensor, i: Tensor, inv_tau: Tensor
) -> tuple[Tensor, ...]:
    """Walk backward: gradients of s_seq, i and inv_tau."""
    shapes.check_filter_backward(grad_i_seq, s_seq, i_seq, i, inv_tau)
    dtype = compute_dtype(s_seq.dtype)
    g_i_seq, s, i_all, i0, rate = _in(dtype, grad_i_seq, s_seq, i_seq, i, _rates(inv_tau, i))
    g_s, g_i, g_rate = torch.empty_like(s), torch.empty_like(i0), torch.empty_like(rate)
    sizes = (len(s), i0.numel(), _ONE[dtype])
    _run(walks.synapse_backward, dtype, *sizes, g_i_seq, s, i_all, i0, rate, rate.numel(), g_s, g_i, g_rate)
    return _out(grad_i_seq.dtype, g_s, g_i, g_rate.sum_to_size(inv_tau.shape))
