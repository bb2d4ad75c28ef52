"""The walks through time for CUDA: the kernels of ``kernels.cu``, compiled by CuPy on first use and cached on disk.

How a kernel walks and what it keeps is told at the head of ``kernels.cu``. Here is what surrounds it: which kernel, on
how many blocks of how many threads (:class:`Launch`), and the tensors it reads and writes. Outputs come from torch's
allocator and kernels go onto torch's current stream without waiting for anything, so a training step can be captured
in a CUDA graph, once its kernels have been compiled by an ordinary step.

Half precisions are widened in registers: all arithmetic, h and the states that are passed in are float32, for float64
float64. CuPy compiles everything with ``-ftz=true``: single-precision numbers below 1.2e-38 count as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_core.backend import shapes
from snn_core.backend.constants import Neuron
from snn_core.backend.cpu import compute_dtype, in_memory

SOURCE = Path(__file__).with_name("kernels.cu")

#: What ``kernels.cu`` calls each dtype.
SCALARS = {
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "Half",
    torch.bfloat16: "BFloat16",
}

# These must be as in kernels.cu.
COLUMNS = 128
WARP = 32
WARPS = 2

#: Bytes of shared memory that a block gets without having asked for more.
UNASKED_SHARED_BYTES = 48 << 10


class Launch(NamedTuple):
    """A kernel's name, the size of the grid and of a block, and a block's bytes of dynamic shared memory."""

    kernel: str
    blocks: int
    threads: int
    shared_bytes: int = 0


class Way(NamedTuple):
    """A way to walk with recurrent weights, a block of threads for a few samples; as in ``kernels.cu``."""

    name: str
    samples: int
    most_threads: int
    on_chip: bool

    def shared_bytes(self, direction: str, H: int, itemsize: int) -> int:
        """Return a block's bytes of shared memory for H neurons with numbers of ``itemsize`` bytes."""
        row = self.samples * H * itemsize
        spikes = 2 * _quotient(H, WARP) * self.samples * 4
        states = row + spikes if direction == "forward" else 3 * row
        return states + (H * H * itemsize if self.on_chip else 0)


#: From the fastest to the one that asks for the least shared memory.
WAYS = (Way("on_chip", 4, 256, True), Way("tiled", 4, 512, False), Way("tiled_one", 1, 512, False))


def _quotient(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)


def element_wise_launch(kernel: str, M: int) -> Launch:
    """Return how a kernel with a thread for each of M neurons is launched."""
    return Launch(kernel, _quotient(M, COLUMNS), COLUMNS)


def recurrent_launch(direction: str, N: int, H: int, dtype: torch.dtype, shared_limit: int) -> Launch:
    """Return how a walk with recurrent weights is launched.

    Args:
        direction: "forward" or "backward".
        N: number of samples.
        H: number of neurons of a sample.
        dtype: dtype of the sequences.
        shared_limit: bytes of shared memory that a block may ask for.

    Raises:
        ValueError: not even the states of one sample fit into shared memory.
    """
    itemsize = compute_dtype(dtype).itemsize
    if H <= WARP:
        rows = 2 * WARPS * WARP * itemsize if direction == "backward" else 0
        return Launch(f"recurrent_{direction}_warp", _quotient(N, WARPS), WARPS * WARP, rows)
    whole_warps = _quotient(H, WARP) * WARP
    for way in WAYS:
        shared_bytes = way.shared_bytes(direction, H, itemsize)
        if shared_bytes <= shared_limit and not (way.on_chip and whole_warps > way.most_threads):
            threads = min(whole_warps, way.most_threads)
            return Launch(
                f"recurrent_{direction}_{way.name}", _quotient(N, way.samples), threads, shared_bytes
            )
    raise ValueError(
        f"{H} recurrent neurons need {shared_bytes:,} bytes of shared memory, the device has {shared_limit:,}: "
        "use backend 'torch'"
    )


def compile_options(dtype: torch.dtype) -> tuple[str, ...]:
    """Return NVRTC's options for sequences of ``dtype``; CuPy adds the architecture and ``-ftz=true``."""
    # Without fused multiply-add every step rounds as torch does.
    return "--std=c++14", "--fmad=false", f"-DSCALAR={SCALARS[dtype]}"


@cache
def _module(dtype: torch.dtype) -> Any:
    import cupy

    return cupy.RawModule(code=SOURCE.read_text(), options=compile_options(dtype))


class _StreamHandle:
    """A stream under the protocol that CuPy 14 asks for; torch's own streams speak it only since a late release."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


def _current_stream(device: torch.device) -> AbstractContextManager[Any]:
    """Return torch's current stream as CuPy's; asked for at every launch, since it may change between two."""
    import cupy

    pointer = torch.cuda.current_stream(device).cuda_stream
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_StreamHandle(pointer))
    return cupy.cuda.ExternalStream(pointer, device.index)  # CuPy 13


@cache
def _shared_limit(device: torch.device) -> int:
    import cupy

    runtime = cupy.cuda.runtime
    return runtime.deviceGetAttribute(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, device.index)


@cache
def _kernel(name: str, dtype: torch.dtype, device: torch.device, much_shared_memory: bool) -> Any:
    """Return a kernel for the current device."""
    kernel = _module(dtype).get_function(name)
    if much_shared_memory:
        kernel.max_dynamic_shared_size_bytes = _shared_limit(device)
    return kernel


class Card:
    """Starts kernels on NVIDIA cards. The tests put another in the place of :data:`card`, which runs them on a CPU."""

    def shared_limit(self, device: torch.device) -> int:
        """Return the bytes of shared memory that a block may ask for."""
        return _shared_limit(device)

    def start(
        self, launch: Launch, dtype: torch.dtype, device: torch.device, arguments: Sequence[int | np.ndarray]
    ) -> None:
        """Start a kernel for sequences of ``dtype`` on torch's current stream.

        Args:
            launch: what to start.
            dtype: dtype of the sequences.
            device: where they are.
            arguments: the kernel's arguments; integers (sizes and pointers) have 64 bits, structures are arrays of
                one element, passed by value.
        """
        with torch.cuda.device(device), _current_stream(device):
            kernel = _kernel(launch.kernel, dtype, device, launch.shared_bytes > UNASKED_SHARED_BYTES)
            kernel((launch.blocks,), (launch.threads,), tuple(arguments), shared_mem=launch.shared_bytes)


card = Card()


def _start(launch: Launch, like: Tensor, *arguments: int | np.ndarray | Tensor | None) -> None:
    """Start a kernel on tensors, whose memory the caller keeps alive; None is the null pointer."""
    if launch.blocks == 0:
        return
    passed = [
        argument.data_ptr() if isinstance(argument, Tensor) else 0 if argument is None else argument
        for argument in arguments
    ]
    card.start(launch, like.dtype, like.device, passed)


def _structure(neuron: Neuron, dtype: torch.dtype) -> np.ndarray:
    """Return a neuron's numbers as the structure ``Neuron`` of ``kernels.cu``."""
    number = np.float64 if compute_dtype(dtype) == torch.float64 else np.float32
    numbers = neuron.numbers()
    fields = [(f"number_{k}", number) for k in range(len(numbers))]
    layout = np.dtype([*fields, ("kind", np.int32), ("surrogate", np.int32)], align=True)
    return np.array([(*numbers, neuron.kind, neuron.surrogate)], layout)


def _wide(dtype: torch.dtype, *tensors: Tensor | None) -> list[Any]:
    """Return states and weights as kernels for sequences of ``dtype`` read them: widened and contiguous."""
    wide = compute_dtype(dtype)
    return [None if tensor is None else in_memory(tensor.detach(), wide) for tensor in tensors]


def _sequences(*tensors: Tensor) -> list[Tensor]:
    """Return sequences as kernels read them: contiguous and all in the dtype of the first."""
    return [in_memory(tensor.detach(), tensors[0].dtype) for tensor in tensors]


def _new(like: Tensor, shape: torch.Size, dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty(shape, dtype=dtype or like.dtype, device=like.device)


def _walk_outputs(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return room for the spikes, the last potential and h of a walk forward."""
    return _new(x, x.shape), _new(x, x.shape[1:]), _new(x, x.shape, compute_dtype(x.dtype))


def _walk_gradients(g_s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return room for the gradients of input, v and y of a walk backward."""
    return _new(g_s, g_s.shape), _new(g_s, g_s.shape[1:]), _new(g_s, g_s.shape[1:])


def neuron_sequence(
    x_seq: Tensor, v: Tensor, y: Tensor | None, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk forward; see :mod:`snn_core.backend.ops` for the arguments of this and the functions below.

    Raises:
        TypeError, ValueError: of all of them, an argument has another dtype, shape or device than the op takes.
    """
    shapes.check_walk(x_seq, v, y)
    (x,) = _sequences(x_seq)
    v0, y0 = _wide(x.dtype, v, y)
    s_seq, v_last, h_seq = _walk_outputs(x)
    M = v0.numel()
    _start(
        element_wise_launch("neuron_forward", M), x,
        len(x), M, _structure(Neuron(*constants), x.dtype), x, y0, v0, s_seq, h_seq, v_last,
    )  # fmt: skip
    return s_seq, v_last, h_seq


def neuron_sequence_backward(
    grad_s_seq: Tensor, grad_v_last: Tensor | None, h_seq: Tensor, feedback: bool, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk backward: gradients of x_seq, v and y. ``grad_v_last`` None stands for zeros."""
    shapes.check_walk_backward(grad_s_seq, grad_v_last, h_seq)
    (g_s,) = _sequences(grad_s_seq)
    h, g_last = _wide(g_s.dtype, h_seq, grad_v_last)
    g_x, g_v, g_y = _walk_gradients(g_s)
    M = g_v.numel()
    _start(
        element_wise_launch("neuron_backward", M), g_s,
        len(g_s), M, int(feedback), _structure(Neuron(*constants), g_s.dtype), g_s, g_last, h,
        g_x, g_y, g_v,
    )  # fmt: skip
    return g_x, g_v, g_y


def recurrent_walk(
    i_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk forward with recurrent weights ``[H, H]`` and an input ``[T, *, H]`` to which y[t-1] W^T is added."""
    (i,) = _sequences(i_seq)
    v0, y0, w_t = _wide(i.dtype, v, y, weight.t())
    s_seq, v_last, h_seq = _walk_outputs(i)
    H = len(weight)
    N = v0.numel() // H
    _start(
        recurrent_launch("forward", N, H, i.dtype, card.shared_limit(i.device)), i,
        len(i), N, H, _structure(Neuron(*constants), i.dtype), i, y0, v0, w_t, s_seq, h_seq, v_last,
    )  # fmt: skip
    return s_seq, v_last, h_seq


def recurrent_walk_backward(
    grad_s_seq: Tensor,
    grad_v_last: Tensor | None,
    h_seq: Tensor,
    s_seq: Tensor,
    y: Tensor,
    weight: Tensor,
    *constants: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Walk backward with recurrent weights: gradients of i_seq, v, y and weight."""
    g_s, spikes, first = _sequences(grad_s_seq, s_seq, y)
    h, w, g_last = _wide(g_s.dtype, h_seq, weight, grad_v_last)
    g_i, g_v, g_y = _walk_gradients(g_s)
    H = len(w)
    N = g_v.numel() // H
    _start(
        recurrent_launch("backward", N, H, g_s.dtype, card.shared_limit(g_s.device)), g_s,
        len(g_s), N, H, _structure(Neuron(*constants), g_s.dtype), g_s, g_last, h, w,
        g_i, g_y, g_v,
    )  # fmt: skip
    # y[t-1] belongs to i[t]: y before the first step, then the spikes of the first T - 1 steps.
    rows = g_i.reshape(-1, H)
    grad_weight = rows[N:].t() @ spikes[:-1].reshape(-1, H) + rows[:N].t() @ first.reshape(-1, H)
    return g_i, g_v, g_y, grad_weight


def recurrent_neuron_sequence(
    x_seq: Tensor, v: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, *constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk forward through a recurrent layer; the product with the input is one call before the walk."""
    shapes.check_recurrent(x_seq, v, y, weight, bias)
    from_x, from_y = weight.detach().to(x_seq.dtype).split(len(weight), dim=1)
    b = None if bias is None else bias.detach().to(x_seq.dtype)
    return recurrent_walk(torch.nn.functional.linear(x_seq.detach(), from_x, b), v, y, from_y, *constants)


def recurrent_neuron_sequence_backward(
    grad_s_seq: Tensor,
    grad_v_last: Tensor | None,
    h_seq: Tensor,
    s_seq: Tensor,
    x_seq: Tensor,
    y: Tensor,
    weight: Tensor,
    *constants: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Walk backward through a recurrent layer: gradients of x_seq, v, y, weight and bias."""
    shapes.check_recurrent_backward(grad_s_seq, grad_v_last, h_seq, s_seq, x_seq, y, weight)
    (_, x) = _sequences(grad_s_seq, x_seq)
    from_x, from_y = weight.detach().to(grad_s_seq.dtype).split(len(weight), dim=1)
    g_i, g_v, g_y, g_from_y = recurrent_walk_backward(
        grad_s_seq, grad_v_last, h_seq, s_seq, y, from_y, *constants
    )
    rows = g_i.flatten(0, -2)
    g_weight = torch.cat([rows.t() @ x.flatten(0, -2), g_from_y], dim=1)
    return g_i @ from_x, g_v, g_y, g_weight.to(weight.dtype), rows.sum(0).to(weight.dtype)


def synapse_filter_sequence(s_seq: Tensor, i: Tensor, inv_tau: Tensor) -> Tensor:
    """Walk forward through a layer of synapse filters."""
    shapes.check_filter(s_seq, i, inv_tau)
    (s,) = _sequences(s_seq)
    i0, rate = _wide(s.dtype, i, inv_tau.expand_as(i))
    i_seq = torch.empty_like(s)
    M = i0.numel()
    _start(element_wise_launch("synapse_forward", M), s, len(s), M, s, i0, rate, i_seq)
    return i_seq


def synapse_filter_sequence_backward(
    grad_i_seq: Tensor, s_seq: Tensor, i_seq: Tensor, i: Tensor, inv_tau: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk backward: gradients of s_seq, i and inv_tau."""
    shapes.check_filter_backward(grad_i_seq, s_seq, i_seq, i, inv_tau)
    g_out, s, i_all = _sequences(grad_i_seq, s_seq, i_seq)
    i0, rate = _wide(g_out.dtype, i, inv_tau.expand_as(i))
    g_s, g_i, g_rate = _walk_gradients(g_out)
    M = i0.numel()
    _start(
        element_wise_launch("synapse_backward", M), g_out,
        len(s), M, g_out, s, i_all, i0, rate, g_s, g_i, g_rate,
    )  # fmt: skip
    return g_s, g_i, g_rate.sum_to_size(inv_tau.shape)
