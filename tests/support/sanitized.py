"""A plugin of pytest: the CPU kernels as clang compiles them from C, under sanitizers.

``SANITIZE=address,undefined`` or ``thread`` says which; ``LD_PRELOAD`` has to name the sanitizer's library. Vectors and
tiles are small, so that small matrices have edges. Cells are the text that a GPU gets. The threads are this file's own,
since those of OpenMP tell a sanitizer nothing.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from snn_core.kernels import fields, limits
from snn_core.kernels.cpu import cells, launch, load, threads
from snn_core.kernels.cuda.launch import cell_source
from snn_core.kernels.record.equations import Code
from snn_core.kernels.record.symbols import C_FUNCTIONS

#: Compilers for C and for C++, the first of which that is there is taken.
COMPILERS = [("clang", "clang++"), ("clang-19", "clang++-19"), ("gcc", "g++")]
#: Bytes of a vector, rows of a tile, and from which size on a layer is packed.
BYTES, ROWS, PACKED_FROM = 16, 3, 2
#: Faults to be found, put before the source where the environment names one.
_FAULTS = {
    "outside": "#include <string.h>\n#define memcpy(to, from, size) memcpy(to, from, (size) + 4)\n",
    "race": "#define __atomic_fetch_add(at, value, order) (*(at) += (value), *(at) - (value))\n",
}
_THREADS = """
#include <pthread.h>
typedef struct { void (*function)(void *); void *data; } Work;
static void *run(void *work) { ((Work *)work)->function(((Work *)work)->data); return 0; }
void parallel(void (*function)(void *), void *data, unsigned count, unsigned flags) {
    pthread_t threads[64];
    Work work = {function, data};
    (void)flags;
    for (unsigned k = 1; k < count; k++) pthread_create(threads + k, 0, run, &work);
    run(&work);
    for (unsigned k = 1; k < count; k++) pthread_join(threads[k], 0);
}
"""


@cache
def compiler(sanitizer: str) -> tuple[dict[str, str], str]:
    """Return the compilers for C and C++, and the library that has to be loaded before everything else.

    The library is "" where no compiler has one.
    """
    name = "tsan" if sanitizer == "thread" else "asan"
    for c, cpp in COMPILERS:
        library = f"lib{name}.so" if c == "gcc" else f"libclang_rt.{name}-{os.uname().machine}.so"
        if shutil.which(c) and shutil.which(cpp):
            done = subprocess.run([c, f"-print-file-name={library}"], capture_output=True, text=True)
            if Path(done.stdout.strip()).is_absolute():
                return {"c": c, "cpp": cpp}, done.stdout.strip()
    return {}, ""


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sanitized-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "fields.h").write_text(fields.header())
    return folder


def _library(source: str, suffix: str, dtype: str, *options: str) -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp(dir=_folder()))
    (folder / f"source.{suffix}").write_text(source)
    made_by, _ = compiler(os.environ["SANITIZE"])
    command = [
        made_by[suffix], *["-shared-libsan"] * ("clang" in made_by[suffix]), "-shared", "-fPIC", "-g", "-O1",
        "-march=native", "-ffp-contract=off", "-fno-math-errno", "-pthread",
        f"-fsanitize={os.environ['SANITIZE']}", "-fno-sanitize-recover=all", "-w",
        f"-I{_folder()}", f"-I{load.ENGINE}", *["-DDOUBLE"] * (dtype == "double"), *options,
        folder / f"source.{suffix}", "-o", folder / "library.so", "-lm",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "library.so"))


@cache
def engine(dtype: str) -> dict[str, Any]:
    sizes = {"BYTES": BYTES, "ROWS": ROWS, "PACKED_FROM": PACKED_FROM}
    source = _FAULTS.get(os.environ.get("FAULT", ""), "") + '#include "engine.c"\n'
    library = _library(source, "c", dtype, *[f"-D{name}={value}" for name, value in sizes.items()])
    kernels = {name: getattr(library, name) for name in ("scan_forward", "scan_backward", "take_steps")}
    for kernel in kernels.values():
        kernel.argtypes, kernel.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64), None
    return kernels


def address_of(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@cache
def functions(code: Code, dtype: str) -> load.Functions:
    S, P = code.states, code.parameters
    each, every = f"for (int k = 0; k < {S}; k++)", f"for (int k = 0; k < {P}; k++)"
    common = "Index n, Index step, const Compute* c, const Compute* p, const Compute* x, const Compute* v"
    load_all = f"""
    for (Index m = 0; m < n; m++) {{
        Compute own[{S + 1}], q[{P + 1}];
        {each} own[k] = v[k * step + m];
        {every} q[k] = p[k * step + m];"""
    source = f"""
#define FUNCTION static inline
#include "cell.c"
struct Numbers {{ Compute initial[{limits.MOST_STATES}], c[{limits.MOST_CONSTANTS}]; }};
#define __device__
{"".join(f"#define {name} c_{name}{chr(10)}" for name in C_FUNCTIONS)}
{cell_source(0, code)}
extern "C" void forward({common}, Compute* w, Compute* y) {{
    const Numbers& numbers = *(const Numbers*)(c + 2);{load_all}
        Compute out;
        Cell0::forward(numbers, q, x[m], own, out);
        {each} w[k * step + m] = own[k];
        y[m] = out;
    }}
}}
extern "C" void backward({common}, const Compute* g_y, Compute* g_v, Compute* g_x, Compute* g_p) {{
    const Numbers& numbers = *(const Numbers*)(c + 2);{load_all}
        Compute g_own[{S + 1}], g_q[{P + 1}], out;
        {each} g_own[k] = g_v[k * step + m];
        {every} g_q[k] = g_p[k * step + m];
        Cell0::backward(numbers, q, x[m], own, g_y[m], g_own, out, g_q);
        {each} g_v[k * step + m] = g_own[k];
        {every} g_p[k * step + m] = g_q[k];
        g_x[m] = out;
    }}
}}
"""
    library = _library(source, "cpp", dtype)
    return load.Functions(library, [address_of(library.forward), address_of(library.backward)])


def pytest_configure(config: pytest.Config) -> None:
    """Put the sanitized kernels in their place."""
    load.engine, cells.functions, launch.PACKED_FROM = engine, functions, PACKED_FROM
    load.width = lambda dtype: 2 * BYTES // {"float": 4, "double": 8}[dtype]
    library = _library(_THREADS, "c", "float")
    clock = address_of(ctypes.CDLL(None).clock_gettime)
    threads._parallel = lambda: (address_of(library.parallel), clock)
    threads._team = None
