"""How the CPU kernels are compiled, and where the result is kept.

numba keeps a compiled function until the file of that function changes, but a kernel also holds what other files of
the engine give it, such as limits and columns. So each state of the engine has a cache of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types

__all__ = ["entry", "function_at", "helper", "kernel_at"]

_ENGINE = Path(__file__).parents[1]


def _make_cache() -> str:
    """Return the folder for the kernels of these sources, in the first place that can be written to."""
    files = sorted([*_ENGINE.glob("*.py"), *(_ENGINE / "cpu").glob("*.py")])
    name = f"kernels-{hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]}"
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "snn_core"
    beside = _ENGINE / "__pycache__"
    for place in [Path(numba.config.CACHE_DIR)] if numba.config.CACHE_DIR else [beside, users]:
        folder = place / name
        with suppress(OSError):
            if not folder.exists():
                for stale in place.glob("kernels-*") if place is beside else ():
                    shutil.rmtree(stale, ignore_errors=True)
                folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return str(folder)
    return tempfile.mkdtemp(prefix="snn_core-")


_cache = _make_cache()


@contextmanager
def _cached() -> Iterator[None]:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _cache
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    # A division by zero gives infinity, as in torch; Python's exception would keep the loops from being vectorised.
    with _cached():
        return numba.njit(error_model="numpy", nogil=True, cache=True, **options)(function)


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function that other kernels call."""
    return _compiled(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls."""
    return _compiled(function, no_cfunc_wrapper=True)


_functions: list[Any] = []


def function_at(function: Callable[..., None], signature: Any) -> int:
    """Compile a function for one signature and return its address, by which kernels call it."""
    with _cached():
        made = numba.cfunc(signature, cache=True, error_model="numpy")(function)
    _functions.append(made)  # its code is freed with it
    return made.address


@cache
def kernel_at(function: Callable[..., None], dtype: Any) -> int:
    """Return the address of a kernel ``(arguments, numbers)``, the latter a pointer to numbers of a numpy dtype."""
    pointer = types.CPointer(types.float64 if dtype == np.float64 else types.float32)
    return function_at(function, types.void(types.intp, pointer))
