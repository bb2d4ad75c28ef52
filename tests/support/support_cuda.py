"""The kernels for CUDA without a GPU: a CPU in its place, and NVIDIA's compiler."""

from __future__ import annotations

import atexit
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from support import ROOT, require

from snn_core.kernels import autograd
from snn_core.kernels.cuda import launch as cuda
from snn_core.kernels.record.equations import Code

SHIM = ROOT / "tests" / "support" / "cuda_shim"
GCC = ["g++", "-std=c++17", "-O0", "-ffp-contract=off", "-fPIC", "-Wno-unknown-pragmas"]


class ShimDevice(cuda.Device):
    """Runs ``plan.cu`` on the CPU, as :data:`snn_core.kernels.cuda.launch.device` runs it on a GPU.

    Attributes:
        limit: bytes of shared memory that a block may ask for.
        seed: draws the order in which the threads of a block run.
        launches: all launches so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limit, self.seed = 160 << 10, 0
        self.launches: list[cuda.Launch] = []
        self.library = cache(self._build)

    def _build(self, dtype: torch.dtype, cells: tuple[Code, ...]) -> ctypes.CDLL:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "cells.cuh").write_text(cuda.cells(cells))
        path = folder / f"{cuda.SCALARS[dtype]}.so"
        names = [f"-D{name}={value}" for name, value in cuda.definitions(dtype).items()]
        names.append(f'-DKERNELS="{cuda.SOURCE}"')
        command = [
            *GCC,
            "-shared",
            *names,
            f"-I{folder}",
            f"-I{cuda.FUNCTIONS.parent}",
            SHIM / "kernels.cpp",
            self.driver,
            "-o",
            path,
        ]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(path))

    @cached_property
    def driver(self) -> Path:
        """What runs kernels, compiled."""
        path = self.folder / "driver.o"
        subprocess.run([*GCC, "-c", SHIM / "cuda_shim.cpp", "-o", path], check=True)
        return path

    def shared_limit(self, place: torch.device) -> int:
        return self.limit

    def start(self, launch: cuda.Launch, dtype: torch.dtype, place: torch.device, plan: np.ndarray) -> None:
        self.launches.append(launch)
        failure = self.library(dtype, launch.cells).shim_launch(
            launch.kernel.encode(), launch.blocks, launch.threads, launch.shared_bytes, self.seed,
            (ctypes.c_void_p * 1)(plan.ctypes.data),
        )  # fmt: skip
        assert failure == 0, f"{launch} failed with {failure}, see cuda_shim.cpp"


@cache
def shim_device() -> ShimDevice:
    """Return the CPU that takes a GPU's place; it compiles the kernels once in a process."""
    require(shutil.which("g++") is not None, "g++")
    folder = Path(tempfile.mkdtemp(prefix="shim-"))
    atexit.register(shutil.rmtree, folder)
    return ShimDevice(folder)


@contextmanager
def on_the_shim() -> Iterator[ShimDevice]:
    """Run the kernels for CUDA on the CPU."""
    with mock.patch.object(cuda, "device", shim_device()), mock.patch.dict(autograd.EXECUTORS, cpu=cuda):
        yield shim_device()


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
        self.library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"plan.cu", 0, None, None)
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failure = self.library.nvrtcCompileProgram(program, len(options), array)
        log = self._text(program, "ProgramLog").decode(errors="replace").strip("\0")
        assert failure == 0, log
        code, ptx = self._text(program, "CUBIN"), self._text(program, "PTX").decode()
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return code, ptx, log
