"""Machine code for this processor, from the LLVM language in which the engine is packed; nothing is kept on disk.

Functions are found by name: :func:`engine` gives those of ``engine/engine.c``, :func:`functions_of` those of any text,
such as ``cells.py`` writes.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import lzma
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite.binding import context

from snn_core.kernels import fields
from snn_core.kernels.record.symbols import C_FUNCTIONS

#: The sources in C, and what ``tools/build_engine.py`` makes of them.
ENGINE = Path(__file__).parents[1] / "engine"
PACKED = ENGINE / "engine.xz"
#: The name of the text with what the cells of a precision call.
CELL = "cell {}"


def digest() -> str:
    """Return what the packed text must have been made of: the sources and the structures."""
    sources = [path.read_bytes() for path in sorted(ENGINE.glob("*.[ch]"))]
    return hashlib.sha256(b"\0".join([*sources, fields.header().encode()])).hexdigest()


@cache
def texts() -> dict[str, str]:
    """Return the engine in LLVM's language, by precision and bytes of a vector."""
    return json.loads(lzma.decompress(PACKED.read_bytes()))


#: For each processor how numbers below the smallest normal one are made to count as 0, as operands and as results.
_FLUSH = {
    "x86_64": """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal i64 @flush() {
  %at = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %before = load i32, ptr %at
  %after = or i32 %before, 32832
  store i32 %after, ptr %at
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  %result = zext i32 %before to i64
  ret i64 %result
}
define internal void @restore(i64 %control) {
  %at = alloca i32
  %before = trunc i64 %control to i32
  store i32 %before, ptr %at
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
""",
    "aarch64": """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal i64 @flush() {
  %before = call i64 @llvm.aarch64.get.fpcr()
  %after = or i64 %before, 16777216
  call void @llvm.aarch64.set.fpcr(i64 %after)
  ret i64 %before
}
define internal void @restore(i64 %control) {
  call void @llvm.aarch64.set.fpcr(i64 %control)
  ret void
}
""",
}
_NO_FLUSH = """
define internal i64 @flush() {
  ret i64 0
}
define internal void @restore(i64 %control) {
  ret void
}
"""
#: Functions of C that the code may call, those of numbers in either precision.
_OF_C = ["memcpy", "memmove", "memset"]
for _name in (*C_FUNCTIONS, "fmod", "fma"):
    _OF_C += [_name, f"{_name}f"]


@cache
def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    for name in _OF_C:
        if hasattr(library, name):
            llvm.add_symbol(name, ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )


@cache
def _context() -> Any:
    """Return a context of our own. Pointers there have no type, which llvmlite 0.44 has to be told."""
    if not hasattr(context, "opaque_pointers_enabled"):
        return llvm.create_context()
    context.opaque_pointers_enabled, before = True, context.opaque_pointers_enabled
    try:
        return llvm.create_context()
    finally:
        context.opaque_pointers_enabled = before


def optimised(text: str, machine: Any) -> Any:
    """Return the module of a text, optimised for a machine."""
    module = llvm.parse_assembly(text, _context())
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return module


class Functions(NamedTuple):
    """Machine code, which lives as long as ``code``, and the addresses of its functions."""

    code: Any
    addresses: list[int]


def functions_of(text: str, *names: str) -> Functions:
    """Return functions of a text, optimised for this processor."""
    machine = _machine()
    module = optimised(text, machine)
    code = llvm.create_mcjit_compiler(module, machine)
    code.finalize_object()
    return Functions(code, [code.get_function_address(name) for name in names])


@cache
def vector_bytes() -> int:
    """Return the bytes of a vector: those of a register of AVX-512; where registers are shorter, LLVM takes two."""
    return 64 if llvm.get_host_cpu_features().get("avx512f") else 32


@cache
def width(dtype: str) -> int:
    """Return how many columns a tile of a product has."""
    return 2 * vector_bytes() // {"float": 4, "double": 8}[dtype]


def text_for(processor: str, dtype: str, vector: int) -> str:
    """Return the engine in LLVM's language for a processor, for numbers of C's type and vectors of so many bytes."""
    text = re.sub(r"^declare .*@(flush|restore)\(.*\n", "", texts()[f"{dtype} {vector}"], flags=re.MULTILINE)
    return text + _FLUSH.get(processor.replace("arm64", "aarch64"), _NO_FLUSH)


_ENTRIES = "scan_forward", "scan_backward", "take_steps"
_kept: list[Functions] = []


@cache
def engine(dtype: str) -> dict[str, Any]:
    """Return what ``engine.c`` has for Python, for numbers of C's type: functions of three integers or addresses."""
    processor = llvm.get_process_triple().partition("-")[0]
    made = functions_of(text_for(processor, dtype, vector_bytes()), *_ENTRIES)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    _kept.append(made)
    return {name: kind(address) for name, address in zip(_ENTRIES, made.addresses, strict=True)}
