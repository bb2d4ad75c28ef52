"""Helpers that several test modules share."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

#: The repository's root folder.
ROOT = Path(__file__).resolve().parents[2]
#: What is missing where tests in a browser are skipped, and what that leaves out.
NO_BROWSER = "the site, the views and JupyterLab are not tested: Chromium or Playwright"


#: Set by `make torture`: tests of random cases try many more.
TORTURE = bool(os.environ.get("SNN_TORTURE"))


def count(fast: int, full: int) -> int:
    """Return how many random cases a test tries."""
    return full if TORTURE else fast


def require(available: bool, what: str) -> None:
    """Go on if ``available``; else fail in CI, which must have ``what``, and skip the test elsewhere."""
    if not available and os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and a run in CI must have it")
    if not available:
        pytest.skip(f"{what} is missing")


def tries(count: int) -> settings:
    """Return settings by which Hypothesis tries so many cases, however long one takes; by day the same in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=not TORTURE,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def tracked() -> list[str]:
    """Return the files in version control."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def environment(**variables: str) -> dict[str, str]:
    """Return what a process of Python needs to find the collection and the tests' support, and ``variables``."""
    paths = [str(ROOT), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)} | variables


def records(folder: Path) -> list[dict[str, float]]:
    """Return the records of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
