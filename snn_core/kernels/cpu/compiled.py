"""How the CPU kernels are compiled, and where the result is kept.

numba keeps a compiled function until the file of that function changes, but a kernel also holds what other files of
this folder give it. So each state of the folder has a cache of its own.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types

__all__ = ["entry", "function_at", "kernel_at", "row"]

_HERE = Path(__file__).parent


def _make_cache() -> str:
    """Return the folder for the kernels of these sources, or "" to leave the choice to numba."""
    if numba.config.CACHE_DIR:
        return numba.config.CACHE_DIR
    sources = b"".join(file.read_bytes() for file in sorted(_HERE.glob("*.py")))
    folder = _HERE / "__pycache__" / f"kernels-{hashlib.sha256(sources).hexdigest()[:16]}"
    try:
        if not folder.exists():
            for stale in folder.parent.glob("kernels-*"):
                shutil.rmtree(stale, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # an installed package that its reader may not write to
        return ""
    return str(folder)


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


def row(function: Callable[..., Any]) -> Any:
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
