"""What the tests of the CUDA kernels share: a CPU in the place of a card, NVRTC, and the cases both must pass."""

from __future__ import annotations

import ctypes
import itertools
import operator
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from support import ROOT
from test_backend import (
    NEURONS,
    SURROGATES,
    assert_fused_equals_loop,
    every_dtype,
    every_neuron,
    every_reset,
    random,
)
from torch.utils._python_dispatch import TorchDispatchMode

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core.backend import cuda
from snn_core.backend.constants import Neuron, read_neuron
from snn_core.functional import reset_net
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan, Sigmoid

SHIM = ROOT / "tests" / "support" / "cuda_shim"
HALVES = [torch.float16, torch.bfloat16]
#: Bytes of shared memory with which 40 neurons in float64 take each way through a block.
LIMITS = {"on_chip": 48 << 10, "tiled": 8 << 10, "tiled_one": 1 << 10}


class ShimCard(cuda.Card):
    """Runs ``kernels.cu`` on the CPU, as :data:`snn_core.backend.cuda.card` runs it on a card.

    Attributes:
        limit: bytes of shared memory that a block may ask for.
        seed: draws the order in which the threads of a block run.
        removed_line: line of a barrier in ``kernels.cu`` that is taken away; 0 for none.
        launches: all launches so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limit, self.seed, self.removed_line = 160 << 10, 0, 0
        self.launches: list[cuda.Launch] = []
        self._library = cache(self._build)

    def _build(self, dtype: torch.dtype) -> ctypes.CDLL:
        path = self.folder / f"{cuda.SCALARS[dtype]}.so"
        options = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-Wno-unknown-pragmas"]
        names = [f"-DSCALAR={cuda.SCALARS[dtype]}", f'-DKERNELS="{cuda.SOURCE}"']
        subprocess.run(["g++", *options, *names, SHIM / "cuda_shim.cpp", "-o", path], check=True)
        return ctypes.CDLL(str(path))

    def shared_limit(self, device: torch.device) -> int:
        return self.limit

    def start(
        self,
        launch: cuda.Launch,
        dtype: torch.dtype,
        device: torch.device,
        arguments: Sequence[int | np.ndarray],
    ) -> None:
        self.launches.append(launch)
        numbers = [ctypes.c_int64(argument) for argument in arguments if isinstance(argument, int)]
        number = iter(numbers)
        pointers = [
            ctypes.addressof(next(number)) if isinstance(argument, int) else argument.ctypes.data
            for argument in arguments
        ]
        failure = self._library(dtype).shim_launch(
            launch.kernel.encode(), launch.blocks, launch.threads, launch.shared_bytes, self.seed, self.removed_line,
            (ctypes.c_void_p * len(pointers))(*pointers),
        )  # fmt: skip
        assert failure == 0, f"{launch} failed with {failure}, see cuda_shim.cpp"


class OnTheShim(TorchDispatchMode):
    """Sends the ops of snn_core on CPU tensors to ``cuda.py``, below autograd."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kernel = getattr(cuda, func._schema.name.partition("::")[2], None)
        if func.namespace == "snn_core" and kernel:
            return kernel(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def shim_is_possible() -> bool:
    return shutil.which("g++") is not None


class Nvrtc:
    """NVIDIA's run-time compiler from its wheel, called without a driver."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(str(self.path()))

    @staticmethod
    def path() -> Path | None:
        found = find_spec("nvidia.cuda_nvrtc") if find_spec("nvidia") else None
        folders = list(found.submodule_search_locations) if found else []
        return next((path for folder in folders for path in Path(folder).glob("lib/libnvrtc.so.12")), None)

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw

    def compile(self, source: str, options: Sequence[str]) -> tuple[bytes, str, str]:
        """Return machine code for the architecture that ``options`` name, its PTX, and what the compiler said."""
        program = ctypes.c_void_p()
        self.library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failure = self.library.nvrtcCompileProgram(program, len(options), array)
        log = self._text(program, "ProgramLog").decode(errors="replace").strip("\0")
        assert failure == 0, log
        code, ptx = self._text(program, "CUBIN"), self._text(program, "PTX").decode()
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return code, ptx, log


def constants(kind: str = "LIF", **options) -> Neuron:
    """Return the constants of one of the neurons of test_backend."""
    options = {"surrogate_function": ATan(), **options}
    return read_neuron(NEURONS[kind](**options).step_function())


class Parity:
    """Cases in which the kernels must equal the torch loop.

    A subclass has a fixture ``target``: the device and backend to run on, keywords of ``assert_fused_equals_loop``.
    """

    @every_neuron
    @every_reset
    @every_dtype
    @pytest.mark.parametrize("surrogate", SURROGATES)
    def test_neuron(self, target, kind, v_reset, detach_reset, surrogate, dtype):
        def build(backend):
            return NEURONS[kind](
                v_reset=v_reset, detach_reset=detach_reset, surrogate_function=surrogate(), backend=backend
            )

        state = {"v": random(5, 7, dtype=dtype, seed=1)}
        x_seq = 1.5 * random(9, 5, 7, dtype=dtype)
        assert_fused_equals_loop(build, x_seq, state, launched="neuron_sequence", **target)

    @pytest.mark.parametrize("shape", [(1, 1), (2, 3), (28, 3, 5), (784, 2, 3), (4, 1, 1, 129), (3, 0, 4)])
    def test_neuron_of_any_shape(self, target, shape):
        def build(backend):
            return LIFNode(surrogate_function=ATan(), backend=backend)

        state = {"v": random(*shape[1:], seed=1)}
        assert_fused_equals_loop(build, 2 * random(*shape), state, launched="neuron_sequence", **target)

    @every_neuron
    @every_reset
    @every_dtype
    def test_element_wise_feedback(self, target, kind, v_reset, detach_reset, dtype):
        def build(backend):
            options = {"v_reset": v_reset, "detach_reset": detach_reset, "surrogate_function": ATan()}
            return ElementWiseRecurrentContainer(NEURONS[kind](backend=backend, **options), operator.add)

        state = {"sub_module.v": random(5, 7, dtype=dtype, seed=1), "y": random(5, 7, dtype=dtype, seed=2)}
        x_seq = 1.5 * random(9, 5, 7, dtype=dtype)
        assert_fused_equals_loop(build, x_seq, state, launched="neuron_sequence", **target)

    def check_recurrent(self, target, steps, batch, size, kind="IF", dtype=torch.float64, **options):
        def build(backend):
            torch.manual_seed(3)
            return LinearRecurrentContainer(NEURONS[kind](backend=backend, **options), size, size)

        options = {"surrogate_function": ATan(), **options}
        state = {
            "sub_module.v": random(batch, size, dtype=dtype, seed=1),
            "y": random(batch, size, dtype=dtype, seed=2),
        }
        x_seq = 3 * random(steps, batch, size, dtype=dtype)
        assert_fused_equals_loop(build, x_seq, state, launched="recurrent_neuron_sequence", **target)

    @every_neuron
    @every_reset
    @every_dtype
    @pytest.mark.parametrize("size", [6, 34], ids=["warp", "block"])
    def test_recurrent(self, target, kind, v_reset, detach_reset, dtype, size):
        self.check_recurrent(
            target,
            9,
            5,
            size,
            kind,
            dtype,
            v_reset=v_reset,
            detach_reset=detach_reset,
            surrogate_function=Sigmoid(),
        )

    @every_dtype
    @pytest.mark.parametrize(("steps", "batch"), [(1, 3), (2, 1), (2, 4), (3, 9), (28, 7), (3, 0)])
    @pytest.mark.parametrize("size", [1, 5, 32, 33, 64, 128, 130, 300])
    def test_recurrent_of_any_size(self, target, steps, batch, size, dtype):
        self.check_recurrent(target, steps, batch, size, dtype=dtype)

    @pytest.mark.parametrize("way", LIMITS)
    def test_every_way_through_a_block(self, target, monkeypatch, way):
        monkeypatch.setattr(cuda.card, "shared_limit", lambda device: LIMITS[way])
        for direction in ("forward", "backward"):
            launch = cuda.recurrent_launch(direction, 1, 40, torch.float64, LIMITS[way])
            assert launch.kernel == f"recurrent_{direction}_{way}"
        for steps, batch in ((1, 1), (2, 4), (28, 9)):
            self.check_recurrent(target, steps, batch, 40, "LIF", detach_reset=True)

    @pytest.mark.parametrize("size", [32, 40])
    def test_recurrent_over_784_steps(self, target, size):
        self.check_recurrent(target, 784, 2, size, "LIF")

    @pytest.mark.parametrize("step", [(4,), (3, 2, 4), (0, 2, 4)], ids=str)
    def test_recurrent_with_any_leading_dimensions(self, target, step):
        def build(backend):
            torch.manual_seed(3)
            return LinearRecurrentContainer(IFNode(surrogate_function=ATan(), backend=backend), 4, 4)

        state = {"sub_module.v": random(*step, seed=1), "y": random(*step, seed=2)}
        x_seq = 3 * random(6, *step)
        assert_fused_equals_loop(build, x_seq, state, launched="recurrent_neuron_sequence", **target)

    @every_dtype
    @pytest.mark.parametrize("learnable", [False, True])
    @pytest.mark.parametrize("tau", [2.0, [1.5, 2.0, 100.0]], ids=["one tau", "tau per channel"])
    @pytest.mark.parametrize("shape", [(9, 5, 3), (1, 2, 3), (6, 2, 3, 4, 5), (784, 1, 3), (2, 0, 3)])
    def test_synapse_filter(self, target, tau, learnable, shape, dtype):
        def build(backend):
            return SynapseFilter(tau, learnable, backend=backend)

        spikes = (random(*shape, dtype=dtype) > 0.5).to(dtype)
        state = {"out_i": random(*shape[1:], dtype=dtype, seed=1)}
        launched = "synapse_filter_sequence"
        assert_fused_equals_loop(build, spikes, state, spikes=False, launched=launched, **target)

    @pytest.mark.parametrize("model", NETWORKS)
    def test_networks(self, target, model, embedded):
        images, device = embedded[1].images[:20].double() / 255, target["device"]
        loop = make_network(model, backend="torch").double()
        fused = make_network(model, backend=target["backend"]).double()
        fused.load_state_dict(loop.state_dict())
        fused.to(device)
        rates = loop(images), fused(images.to(device)).cpu()
        assert torch.equal(*rates)
        for net, x in ((loop, images), (fused, images.to(device))):
            reset_net(net)
            net(x).square().sum().backward()
        for ours, theirs in zip(fused.parameters(), loop.parameters(), strict=True):
            assert (ours.grad.cpu() - theirs.grad).norm() <= 1e-10 * theirs.grad.norm()

    def test_tensors_that_are_not_contiguous(self, target):
        """Input, state, weight and the gradient that comes back."""
        step, device = constants(), target["device"]
        found = []
        for lay in (lambda t: t, lambda t: t.mT.contiguous().mT):
            seq, state, weight = (
                lay(random(*shape, seed=3).to(device)) for shape in ((6, 4, 5), (4, 5), (5, 5))
            )
            s_seq, v, h_seq = cuda.recurrent_walk(seq, state, state, weight, *step)
            found.append(
                [
                    s_seq, v, h_seq,
                    *cuda.neuron_sequence(seq, state, state, *step),
                    cuda.synapse_filter_sequence(seq, state, state),
                    *cuda.neuron_sequence_backward(seq, state, lay(h_seq), True, *step),
                    *cuda.recurrent_walk_backward(seq, state, lay(h_seq), s_seq, state, weight, *step),
                    *cuda.synapse_filter_sequence_backward(seq, seq, seq, state, state),
                ]
            )  # fmt: skip
        for one, two in zip(*found, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=0)

    def test_no_gradient_of_the_last_potential_stands_for_zeros(self, target):
        seq, state, weight = (
            random(*shape, seed=3).to(target["device"]) for shape in ((6, 4, 40), (4, 40), (40, 40))
        )
        for size in (5, 40):
            x, v, w = seq[..., :size], state[..., :size], weight[:size, :size]
            for last in (torch.zeros_like(v), None):
                got = (
                    cuda.neuron_sequence_backward(x, last, x, True, *constants()),
                    cuda.recurrent_walk_backward(x, last, x, x, v, w, *constants()),
                )
                if last is not None:
                    expected = got
            for one, two in zip(itertools.chain(*got), itertools.chain(*expected), strict=True):
                assert torch.equal(one, two)

    @pytest.mark.parametrize("size", [5, 40])
    def test_potential_on_the_threshold_fires(self, target, size):
        ones, zeros, weight = (
            t.to(target["device"])
            for t in (torch.ones(1, 2, size), torch.zeros(2, size), torch.ones(size, size))
        )
        for s_seq, v, _ in (
            cuda.neuron_sequence(ones, zeros, None, *constants("IF")),
            cuda.recurrent_walk(ones, zeros, zeros, weight, *constants("IF")),
        ):
            assert (s_seq == 1).all()
            assert (v == 0).all()

    @pytest.mark.parametrize("size", [5, 40])
    def test_nan_gives_no_spike_and_stays_in_the_potential(self, target, size):
        x_seq, zeros = torch.full((3, 1, size), 2.0), torch.zeros(1, size)
        x_seq[1] = torch.nan
        x_seq, zeros, weight = (t.to(target["device"]) for t in (x_seq, zeros, torch.zeros(size, size)))
        for s_seq, v, _ in (
            cuda.neuron_sequence(x_seq, zeros, None, *constants("IF")),
            cuda.recurrent_walk(x_seq, zeros, zeros, weight, *constants("IF")),
        ):
            assert s_seq.flatten(1).mean(1).tolist() == [1, 0, 0]
            assert v.isnan().all()

    @pytest.mark.parametrize("surrogate", SURROGATES)
    def test_nan_in_the_input_is_in_the_gradient(self, target, surrogate):
        """Of that neuron only. The loop hides it where the surrogate's derivative of NaN is 0."""
        x_seq = random(5, 2, 3)
        x_seq[2, 0] = torch.nan
        x_seq = x_seq.to(target["device"]).requires_grad_()
        IFNode(surrogate_function=surrogate(), backend=target["backend"]).forward_sequence(
            x_seq
        ).sum().backward()
        assert x_seq.grad[:3, 0].isnan().all()
        assert x_seq.grad[:, 1].isfinite().all()

    @pytest.mark.parametrize("dtype", HALVES, ids=str)
    def test_half_precision_is_widened_inside(self, target, dtype):
        """Equal to the kernel in float32 on the same numbers, but for the rounding of what is returned."""
        seq, state, weight = (
            random(*shape, dtype=torch.float32, seed=3).to(dtype).to(target["device"])
            for shape in ((28, 5, 40), (5, 40), (40, 40))
        )
        step, found = constants(), []
        for x, v, w in ((seq, state, weight), (seq.float(), state.float(), weight.float())):
            walk = cuda.recurrent_walk(x, v, v, w, *step)
            alone = cuda.neuron_sequence(x, v, v, *step)
            back = cuda.recurrent_walk_backward(x, v, walk[2], walk[0], v, w, *step)
            alone_back = cuda.neuron_sequence_backward(x, v, walk[2], True, *step)
            assert {t.dtype for t in (*walk[:2], *alone[:2], *back, *alone_back)} == {x.dtype}
            assert walk[2].dtype == alone[2].dtype == torch.float32
            found.append([*walk, *alone, *back[:3], *alone_back, cuda.synapse_filter_sequence(walk[0], v, v)])
        for narrow, wide in zip(*found, strict=True):
            assert torch.equal(narrow, wide.to(narrow.dtype))

    def test_same_input_gives_the_same_bits(self, target):
        for size in (20, 40):
            seq, state, weight = (
                random(*shape, dtype=torch.float32, seed=3).to(target["device"])
                for shape in ((28, 5, size), (5, size), (size, size))
            )
            found = []
            for _ in range(3):
                s_seq, v, h_seq = cuda.recurrent_walk(seq, state, state, weight, *constants())
                back = cuda.recurrent_walk_backward(seq, state, h_seq, s_seq, state, weight, *constants())
                found.append((s_seq, v, h_seq, *back))
            assert all(
                torch.equal(one, other) for got in found[1:] for one, other in zip(got, found[0], strict=True)
            )
