"""Run the tests with the lowest versions that pyproject.toml admits, and with the newest; write results/bounds.json.

Each end gets a virtual environment of its own in build/bounds, resolved by uv: all direct dependencies at their lower
bounds on the oldest Python, then everything at its newest release on the newest Python. PyPI's torch for Linux brings
CUDA along, some gigabytes for each end. A test that fails runs once more, alone: beside others some are too slow.
``--rerun`` takes the environments that are there, ``--junit FOLDER`` also ``lowest.xml`` and ``newest.xml`` of tests
that ran in them before.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from sequential_fmnist.files import write_json
from sequential_fmnist.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "bounds.json"
#: How uv resolves each end, and on which Python.
ENDS = {"lowest": ("lowest-direct", "3.11"), "newest": ("highest", "3.13")}
#: What says nothing of these packages: a browser, and the records of this and of other measurements.
LEFT_OUT = ("test_browser.py", "test_torture_supply.py", "test_torture_coverage.py")
_VERSIONS = """
import json, platform
from importlib.metadata import distributions
found = {d.metadata["Name"]: d.version for d in distributions()}
print(json.dumps({"python": platform.python_version(), "versions": found}))
"""


def run(*argv: str | Path, **variables: str) -> int:
    """Run a command in the root folder and return its exit status."""
    return subprocess.run(argv, cwd=ROOT, env=os.environ | variables, check=False).returncode


def make(folder: Path, resolution: str, version: str) -> Path:
    """Make an environment and return its Python."""
    python = folder / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    shutil.rmtree(folder, ignore_errors=True)
    own = "spikingjelly==2.0.0"
    for argv in (
        [*uv, "venv", "--quiet", "--python", version, folder],
        [*uv, "pip", "install", "--python", python, "--resolution", resolution, "--editable", ".[dev,peers]"],
        # As in the Makefile: it asks for a package that forces another torch.
        [*uv, "pip", "install", "--python", python, "--no-deps", own],
    ):
        if run(*argv):
            raise SystemExit(f"error: {' '.join(map(str, argv))} failed")
    return python


def versions(python: Path) -> dict[str, Any]:
    """Return the version of an environment's Python and of its direct dependencies, by normalised name."""
    printed = subprocess.run([python, "-c", _VERSIONS], capture_output=True, text=True, check=True).stdout
    found = json.loads(printed)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(entry for entries in extras.values() for entry in entries)]
    direct = {normal(entry) for entry in asked} - {normal(project["name"])}
    named = {normal(name): version for name, version in found["versions"].items()}
    return found | {"versions": {name: named[name] for name in sorted(direct & set(named))}}


def normal(requirement: str) -> str:
    """Return the name at the start of a requirement as indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]*\w", requirement)[0]).lower()


def counts(junit: Path) -> dict[str, Any]:
    """Return how many tests passed, failed and were skipped, and the names of those that failed."""
    cases = list(ElementTree.parse(junit).iter("testcase"))  # noqa: S314, pytest's own file
    state = {"failure": [], "error": [], "skipped": []}
    for case in cases:
        for kind, names in state.items():
            if case.find(kind) is not None:
                names.append(node(case.get("classname"), case.get("name")))
    bad = {*state["failure"], *state["error"]}
    return {
        "passed": len(cases) - len(bad) - len(state["skipped"]),
        "failed": len(state["failure"]),
        "errors": len(state["error"]),
        "skipped": len(state["skipped"]),
        "failures": sorted(bad),
    }


def node(place: str, name: str) -> str:
    """Return the name by which pytest runs a test: "tests.test_one.TestIt", "test[3]@group" of pytest-xdist."""
    folder, module, *classes = place.split(".")
    return "::".join([f"{folder}/{module}.py", *classes, re.sub(r"@\w+$", "", name)])


def test(python: Path, junit: Path, arguments: list[str]) -> None:
    """Run tests with an environment's Python, kernels compiled for it alone."""
    junit.unlink(missing_ok=True)
    # Old releases warn of what new ones of their own dependencies announce.
    options = ["-W", "default", "-p", "no:cacheprovider", f"--junitxml={junit}", *arguments]
    variables = {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMBA_CACHE_DIR": str(junit.parent / f"{python.parent.parent.name}.kernels"),
    }
    run(python, "-m", "pytest", *options, **variables)


def test_all(python: Path, junit: Path, arguments: list[str]) -> None:
    """Run all tests, two at a time."""
    ignored = [f"--ignore=tests/{name}" for name in LEFT_OUT]
    test(python, junit, ["--numprocesses", "2", "--dist", "loadgroup", *ignored, *arguments])


def try_again(python: Path, junit: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Return the counts after the tests that failed have run once more, alone."""
    if not found["failures"]:
        return found
    again = junit.with_name(f"{junit.stem}_again.xml")
    test(python, again, found["failures"])
    still = counts(again)
    return found | {
        "passed": found["passed"] + still["passed"],
        "failed": still["failed"],
        "errors": still["errors"],
        "failures": still["failures"],
        "passed_alone": sorted(set(found["failures"]) - set(still["failures"])),
    }


def main() -> int:
    """Return 1 if a test failed at either end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ends", nargs="+", choices=ENDS, default=list(ENDS), help="the ends to try")
    parser.add_argument("--rerun", action="store_true", help="take the environments that are there")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bounds", help="where they are")
    parser.add_argument(
        "--junit", type=Path, metavar="FOLDER", help="take the reports of tests that ran here before"
    )
    arguments, rest = parser.parse_known_args()
    ends: dict[str, Any] = {}
    if RESULTS.exists():
        ends = json.loads(RESULTS.read_text())["ends"]
    for end in arguments.ends:
        folder = arguments.folder / end
        python = folder / "bin" / "python"
        if not (arguments.rerun or arguments.junit):
            python = make(folder, *ENDS[end])
        junit = (arguments.junit or arguments.folder) / f"{end}.xml"
        if not arguments.junit:
            test_all(python, junit, rest)
        found = try_again(python, junit, counts(junit))
        ends[end] = {"resolution": ENDS[end][0]} | versions(python) | found
        print(f"{end}: {ends[end]['passed']} passed, {ends[end]['failed'] + ends[end]['errors']} failed")
        write_json(RESULTS, {"ends": ends, "left_out": list(LEFT_OUT), "provenance": provenance()})
    return int(any(end["failed"] or end["errors"] for end in ends.values()))


if __name__ == "__main__":
    sys.exit(main())
