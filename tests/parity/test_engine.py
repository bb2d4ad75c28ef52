"""The engine's C: its packed text is that of its sources, nobody waits for it, and sanitizers find nothing in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build_engine
import llvmlite.binding as llvm
import pytest
import sanitized
from support import ROOT, require

from snn_core.kernels.cpu import load

HERE = Path(__file__).parent
SUPPORT = ROOT / "tests" / "support"
#: What runs under sanitizers by day, and what by night besides.
SAMPLE = [
    "tests/parity/test_cpu_kernels.py::test_steps_in_small_blocks_are_those_of_torch",
    "tests/parity/test_cpu_kernels.py::test_number_of_threads_does_not_change_a_bit",
]
WHOLE = [
    *["tests/parity/test_cpu_kernels.py", "tests/parity/test_parity.py", "tests/parity/test_random_networks.py"],
    *["tests/snn_core/test_train_steps.py", "-k", "not shim and not interrupt"],
]  # fmt: skip


def test_packed_text_is_that_of_the_sources():
    """After a change in engine/ or fields.py run ``make engine``."""
    assert load.texts()["digest"] == load.digest()


def test_clang_makes_the_packed_text_again():
    if not shutil.which(build_engine.CLANG):
        pytest.skip(f"{build_engine.CLANG} is missing")
    version = subprocess.run(
        [build_engine.CLANG, "--version"], capture_output=True, text=True, check=True
    ).stdout
    if not re.search(r"version 19\.", version):
        pytest.skip("another release of clang writes another text")
    assert build_engine.build() == load.texts()


def test_text_names_no_processor_and_no_folder():
    for name, text in load.texts().items():
        assert not re.search(r"target-cpu|target triple|x86|avx|/home|/work|/tmp", text), name


@pytest.mark.parametrize(
    ("triple", "processor", "vector"),
    [
        ("aarch64-unknown-linux-gnu", "cortex-a76", 32),
        ("arm64-apple-darwin", "apple-m1", 32),
        ("x86_64-unknown-linux-gnu", "sapphirerapids", 64),
        ("x86_64-pc-windows-msvc", "haswell", 32),
    ],
)
def test_text_becomes_code_for_other_processors(triple, processor, vector):
    """Whose products use what the processor has, and keep a tile's sums in registers."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3, jit=True)
    module = load.optimised(load.text_for(triple.partition("-")[0], "float", vector), target)
    code = target.emit_assembly(module)
    product = code[re.search(r"^_?product:", code, re.MULTILINE).start() :]
    name, sums = ("fmla", 12 * 2) if processor in ("cortex-a76", "apple-m1") else ("vfmadd231ps", vector // 4)
    assert product.count(name) >= sums
    assert ("zmm" in product) == (vector == 64)


@pytest.mark.nightly
def test_first_fused_call_takes_at_most_twice_as_long_as_torch_to_import():
    """Of CPU time, in a fresh process."""
    code = """
import time
began = time.process_time()
import torch
imported = time.process_time()
from torch import nn
from snn_core.functional import scan
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import IFNode
hidden = LinearRecurrentContainer(IFNode(), 32, 32)
net = nn.Linear(28, 32), hidden, SynapseFilter(2.0, True), nn.Linear(32, 10), IFNode()
x_seq = torch.rand(28, 32, 28)
before = time.process_time()
scan(x_seq, *net).sum().backward()
print(imported - began, time.process_time() - before)
"""
    ratios = []
    for _ in range(3):
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        imported, first = map(float, found.stdout.split())
        ratios.append(first / imported)
    assert min(ratios) < 2


def under(sanitizer: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tests on the engine under a sanitizer."""
    _, library = sanitized.compiler(sanitizer)
    require(bool(library), "a compiler with sanitizers")
    options = f"suppressions={SUPPORT / 'tsan.supp'}:halt_on_error=0:exitcode=66"
    variables = {
        "SANITIZE": sanitizer, "LD_PRELOAD": library, "PYTHONMALLOC": "malloc", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(SUPPORT)]), "ASAN_OPTIONS": "detect_leaks=0",
        "TSAN_OPTIONS": options,
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "sanitized",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        "-q",
        *arguments,
    ]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | variables | environment,
        capture_output=True,
        text=True,
        timeout=7200,
    )


@pytest.mark.parametrize(
    ("sanitizer", "which"),
    [
        pytest.param("address,undefined", SAMPLE, id="sample"),
        pytest.param("address,undefined", WHOLE, marks=pytest.mark.nightly, id="memory"),
        pytest.param("thread", WHOLE, marks=pytest.mark.nightly, id="threads"),
    ],
)
def test_sanitizers_find_nothing(sanitizer, which):
    done = under(sanitizer, *which)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize(("sanitizer", "fault"), [("address,undefined", "outside"), ("thread", "race")])
def test_sanitizers_find_a_fault_that_is_there(sanitizer, fault):
    done = under(sanitizer, "-s", SAMPLE[-1], FAULT=fault)
    assert done.returncode != 0
    assert "Sanitizer" in done.stdout + done.stderr
