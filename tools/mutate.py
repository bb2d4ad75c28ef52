"""Change snn_core's neurons, layers and kernels in one place at a time and see whether the tests notice.

Cosmic Ray says which changes there are and makes them: another operator or comparison, a number one off, a condition
turned round, a loop that never runs, a decorator left out. For each module a sample is drawn, at most one change in a
place. The tests that are made for the module run on each; a change that no test notices has survived. What is
left out: annotations, which nothing evaluates, and what only type checkers read.

All happens in a copy of the files in version control. Each change gets a process of its own, forked from one that has
imported torch and pytest but nothing of this collection.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "mutation.json"


@dataclass
class Module:
    """A module to change, the arguments of pytest for it, and how its kernels run.

    ``kernels`` is "compiled" (once for all, since the change leaves them as they are), "python" (their source runs in
    Python, so that a change need not be compiled), or "fresh" (compiled again for each change).
    """

    path: str
    tests: list[str]
    kernels: str = "compiled"
    #: At most so many changes, where each takes long.
    most: int = 10_000


_PYTHON = "tests/parity/test_kernels_in_python.py"
_BACKEND = [
    _PYTHON,
    "tests/parity/test_backend.py",
    "--deselect=tests/parity/test_backend.py::test_compiled_network_equals_eager",
    "--deselect=tests/parity/test_backend.py::test_sequences_of_any_length",
]
MODULES = [
    Module("neuron.py", ["tests/snn_core/test_neuron.py", "tests/snn_core/test_layer.py"]),
    Module("layer.py", ["tests/snn_core/test_layer.py", _PYTHON]),
    Module(
        "functional.py",
        [
            "tests/snn_core/test_functional.py",
            "tests/snn_core/test_neuron.py",
            "tests/snn_core/test_layer.py",
        ],
    ),
    Module("backend/__init__.py", _BACKEND),
    Module("backend/constants.py", _BACKEND),
    Module("backend/cpu.py", _BACKEND),
    Module("backend/ops.py", _BACKEND),
    Module(
        "backend/reference.py", [*_BACKEND, "tests/snn_core/test_neuron.py", "tests/snn_core/test_layer.py"]
    ),
    Module("backend/walks.py", [_PYTHON], "python"),
    Module("backend/products.py", [_PYTHON], "python"),
    Module("backend/tile.py", ["tests/parity/test_backend.py", "-k", "test_linear_of_any_size"], "fresh", 12),
    Module("backend/compiled.py", ["tests/snn_core/test_compiled.py"], "fresh"),
    Module("backend/cuda.py", ["tests/parity/test_cuda_shim.py", "-k", "TestParity"], "compiled", 12),
]


@dataclass
class Mutant:
    """One change of a module."""

    operator: str
    occurrence: int
    line: int
    column: int
    place: tuple[int, int, str] = field(repr=False)


def quiet_lines(code: str) -> set[tuple[int, int]]:
    """Return lines and columns that nothing evaluates: annotations, and what stands under ``if TYPE_CHECKING``."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            parts += [node.test, *node.body]
        for part in filter(None, parts):
            for line in range(part.lineno, part.end_lineno + 1):
                first = part.col_offset if line == part.lineno else 0
                last = part.end_col_offset if line == part.end_lineno else 200
                found |= {(line, column) for column in range(first, last)}
    return found


def mutants(code: str) -> list[Mutant]:
    """Return every change that Cosmic Ray knows for the code of a module."""
    quiet, tree, found = quiet_lines(code), get_ast(code), []
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments() or name.endswith("NoOp"):
            continue
        spots = [spot for node in ast_nodes(tree) for spot in operator().mutation_positions(node)]
        family = name.partition("/")[2].partition("_")[0]
        for occurrence, ((line, column), _) in enumerate(spots):
            if (line, column) not in quiet:
                found.append(Mutant(name, occurrence, line, column, (line, column, family)))
    return found


def sample(found: list[Mutant], most: int, chance: random.Random) -> list[Mutant]:
    """Draw at most ``most`` changes, one in a place before there is a second in any."""
    shuffled = chance.sample(found, len(found))
    places: dict[tuple[int, int, str], list[Mutant]] = {}
    for mutant in shuffled:
        places.setdefault(mutant.place, []).append(mutant)
    turns = range(max(map(len, places.values()), default=0))
    return [group[turn] for turn in turns for group in places.values() if turn < len(group)][:most]


def _pytest(tree: Path, module: Module, kernels: str) -> None:
    """Run a module's tests in this process, which ends with their status."""
    os.setsid()  # what the tests start can be stopped with it
    log = os.open(tree.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = str(tree)
    os.environ["NUMBA_DISABLE_JIT"] = str(int(module.kernels == "python"))
    os.environ["NUMBA_CACHE_DIR"] = kernels
    import numba
    import pytest

    numba.config.reload_config()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    sys.exit(int(pytest.main([*options, *module.tests])))


def outcome(tree: Path, module: Module, kernels: Path, seconds: float) -> str:
    """Run a module's tests in a child; return "survived", "killed" or "timeout"."""
    with tempfile.TemporaryDirectory(dir=kernels.parent) as own:
        cache = own if module.kernels == "fresh" else str(kernels)
        child = multiprocessing.get_context("fork").Process(target=_pytest, args=(tree, module, cache))
        child.start()
        child.join(seconds)
        if child.is_alive():
            os.killpg(child.pid, 9)
            child.join()
            return "timeout"
    return "survived" if child.exitcode == 0 else "killed"


def copy(tree: Path) -> None:
    """Copy what is in version control, as it stands."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def try_module(tree: Path, module: Module, most: int, seed: int, kernels: Path, end: float) -> dict[str, Any]:
    """Try a sample of changes of one module and return what came out."""
    path = tree / "snn_core" / module.path
    code = path.read_text()
    every = mutants(code)
    chance = random.Random(f"{seed} {module.path}")  # noqa: S311, a sample and no secret
    drawn = sample(every, min(most, module.most), chance)
    started = time.monotonic()
    if outcome(tree, module, kernels, 1800) != "survived":  # the first run compiles too
        log = (tree.parent / "log.txt").read_text()
        raise SystemExit(f"{log}\nerror: the tests for {module.path} fail without any change")
    limit = 30 + 5 * (time.monotonic() - started)
    counts = {"killed": 0, "survived": 0, "timeout": 0}
    survivors = []
    for mutant in drawn:
        if time.monotonic() > end:
            break
        changed = mutate_code(code, get_operator(mutant.operator)(), mutant.occurrence)
        path.write_text(changed)
        result = outcome(tree, module, kernels, limit)
        path.write_text(code)
        counts[result] += 1
        if result == "survived":
            survivors.append(_told(mutant, code, changed))
            print(f"  {module.path}:{survivors[-1]}", flush=True)
    return {"mutants": len(every), "places": len({m.place for m in every}), "tried": sum(counts.values())} | (
        counts | {"survivors": survivors, "tests": module.tests}
    )


def _told(mutant: Mutant, before: str, after: str) -> str:
    """Return line, operator and what became of the first line that differs."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    old, new = next(((a, b) for a, b in pairs if a != b), ("", ""))
    return f"{mutant.line} {mutant.operator.rpartition('/')[2]}: {old.strip()} -> {new.strip()}"


def main() -> int:
    """Try the modules and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "modules", nargs="*", help="as in neuron.py or backend/walks.py; all if none is named"
    )
    parser.add_argument("--most", type=int, default=20, help="changes tried in each module")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no change after so long")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True  # two changes within a second would look like one file
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    # Not this collection: each child imports it as it has been changed. Nor what pytest rewrites when it is imported.
    for name in ("matplotlib", "numba", "pytest", "torch", "torchvision"):
        __import__(name)
    chosen = [module for module in MODULES if module.path in arguments.modules or not arguments.modules]
    found = json.loads(RESULTS.read_text())["modules"] if RESULTS.exists() else {}
    end = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as folder:
        tree, kernels = Path(folder) / "copy", Path(folder) / "kernels"
        copy(tree)
        for module in chosen:
            print(module.path, flush=True)
            found[module.path] = try_module(tree, module, arguments.most, arguments.seed, kernels, end)
    write(found, arguments.seed)
    return 0


def write(found: dict[str, Any], seed: int) -> None:
    """Write the figures of all modules, and their sum."""
    sys.path.insert(0, str(ROOT))
    from sequential_fmnist.files import write_json
    from sequential_fmnist.provenance import provenance

    keys = ("mutants", "places", "tried", "killed", "survived", "timeout")
    total = {key: sum(module[key] for module in found.values()) for key in keys}
    total["surviving_percent"] = round(100 * total["survived"] / max(total["tried"], 1), 1)
    tool = f"cosmic-ray {version('cosmic-ray')}"
    figures = {"tool": tool, "seed": seed, **total, "modules": found, "provenance": provenance()}
    write_json(RESULTS, figures)
    print(f"{total['survived']} of {total['tried']} survived ({total['surviving_percent']} %): {RESULTS}")


if __name__ == "__main__":
    sys.exit(main())
