"""Compile ``snn_core/kernels/engine`` to LLVM's language, packed beside its source: ``make engine``, for developers.

Users need no compiler: ``snn_core/kernels/cpu/load.py`` makes machine code of it. The text holds nothing of this
machine's processor or system.
"""

from __future__ import annotations

import json
import lzma
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from snn_core.kernels import fields
from snn_core.kernels.cpu.load import CELL, ENGINE, PACKED, digest

CLANG = "clang-19"
#: Without contraction, so that spikes equal the loop's to the bit; the optimiser runs where the code does.
OPTIONS = [
    "-std=gnu11", "-O1", "-Xclang", "-disable-llvm-passes", "-ffp-contract=off", "-fno-math-errno",
    "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-DLLVM", "-Wall", "-Wextra", "-Werror",
    "-Wno-unused-function", "-S", "-emit-llvm",
]  # fmt: skip
#: What clang says of its own machine; without a width of vectors a processor uses all that it has. And attributes that
#: llvmlite 0.44 does not know.
_LEFT_OUT = re.compile(
    r"^(target (datalayout|triple)|source_filename|; ModuleID|!llvm\.ident|!llvm\.module\.flags).*\n|"
    r' "(target-cpu|target-features|tune-cpu|min-legal-vector-width|stack-protector-buffer-size)"="[^"]*"|'
    r" dead_on_unwind| writable| memory\([^)]*\)",
    re.MULTILINE,
)


def compiled(name: str, dtype: str, options: list[str], clang: str = CLANG) -> str:
    """Return a file of the engine for a precision in LLVM's language."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "fields.h").write_text(fields.header())
        defined = [*options, *["-DDOUBLE"] * (dtype == "double")]
        command = [clang, *OPTIONS, *defined, f"-I{folder}", str(ENGINE / name), "-o", "-"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return _LEFT_OUT.sub("", text)


def masked(dtype: str, lanes: int) -> str:
    """Return the functions that load and store the first numbers of a vector."""
    size, name = {"float": (4, "f32"), "double": (8, "f64")}[dtype]
    vector, mask, all_of = f"<{lanes} x {dtype}>", f"<{lanes} x i1>", f"<{lanes} x i64>"
    numbers = ", ".join(f"i64 {lane}" for lane in range(lanes))
    known = f"""
  %one = insertelement {all_of} poison, i64 %count, i64 0
  %all = shufflevector {all_of} %one, {all_of} poison, <{lanes} x i32> zeroinitializer
  %mask = icmp slt {all_of} <{numbers}>, %all"""
    kind = f"v{lanes}{name}.p0"
    return f"""
declare {vector} @llvm.masked.load.{kind}(ptr, i32, {mask}, {vector})
declare void @llvm.masked.store.{kind}({vector}, ptr, i32, {mask})
define internal void @load_some(ptr %to, ptr %from, i64 %count) alwaysinline {{{known}
  %some = call {vector} @llvm.masked.load.{kind}(ptr %from, i32 {size}, {mask} %mask, {vector} zeroinitializer)
  store {vector} %some, ptr %to, align {size}
  ret void
}}
define internal void @store_some(ptr %to, ptr %from, i64 %count) alwaysinline {{{known}
  %some = load {vector}, ptr %from, align {size}
  call void @llvm.masked.store.{kind}({vector} %some, ptr %to, i32 {size}, {mask} %mask)
  ret void
}}
"""


def build(clang: str = CLANG) -> dict[str, str]:
    """Return all texts by their names, and the digest of the sources."""
    texts = {"digest": digest()}
    for dtype, size in (("float", 4), ("double", 8)):
        text = compiled("cell.c", dtype, [], clang)
        texts[CELL.format(dtype)] = re.sub(
            r"^define (dso_local )?", "define internal ", text, flags=re.MULTILINE
        )
        for width, rows in ((64, 8), (32, 6)):
            text = compiled("engine.c", dtype, [f"-DBYTES={width}", f"-DROWS={rows}"], clang)
            text = re.sub(r"^declare void @(load|store)_some\(.*\n", "", text, flags=re.MULTILINE)
            texts[f"{dtype} {width}"] = text + masked(dtype, width // size)
    return texts


def main() -> None:
    """Write the packed texts."""
    packed = lzma.compress(json.dumps(build(*sys.argv[1:])).encode(), preset=9)
    PACKED.write_bytes(packed)
    print(f"{PACKED.name}: {len(packed):,} bytes")


if __name__ == "__main__":
    main()
