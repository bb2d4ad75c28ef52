"""Tests of reliability run twice: a few cases in every run of the tests, the full count with ``make torture``.

A test takes part by its fixture ``torture``: ``torture.count(fast=3, full=50)`` is the number of cases, and
``torture.figure(item=1, what="SIGKILL and resume, plain", kills=50)`` says what was done. With ``--torture`` only these
tests run, and what they say, their outcomes and times are written to ``results/reliability.json``. A run of some of
them, as with ``make torture ARGS="-k disk"``, leaves the lines of the others as they are.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from support import ROOT

from experiments.results import provenance, write_json

RESULTS = ROOT / "results" / "reliability.json"


class Torture:
    """What a test of reliability asks and tells."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.full: bool = request.config.getoption("--torture")
        self._told: list[tuple[str, object]] = request.node.user_properties

    def count(self, fast: int, full: int) -> int:
        """Return the number of cases to run."""
        return full if self.full else fast

    def figure(self, item: int, what: str, **figures: Any) -> None:
        """Keep the figures of a test that passed.

        Args:
            item: 1 kills, 2 disk, 3 data, 4 checkpoints, 5 arguments, 6 numbers, 7 supply.
            what: one line that a reader understands without the test.
            figures: numbers and strings, as JSON takes them.
        """
        self._told.append(("torture", {"item": item, "what": what} | figures))


@pytest.fixture
def torture(request: pytest.FixtureRequest) -> Torture:
    return Torture(request)


class Results:
    """Gathers what the tests say, from all worker processes, and writes it at the end."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and not report.failed:
            return
        told = [value for name, value in report.user_properties if name == "torture"]
        for line in told or [{"item": 0, "what": "nothing said"}]:
            self.lines.append(
                line
                | {
                    "outcome": report.outcome,
                    "seconds": round(report.duration, 1),
                    "test": _name(report.nodeid),
                }
            )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        ran = {line["test"] for line in self.lines}
        before = json.loads(RESULTS.read_text())["lines"] if RESULTS.exists() else []
        kept = [line for line in before if line["test"] not in ran]
        lines = sorted([*kept, *self.lines], key=lambda line: (line["item"], line["what"]))
        write_json(RESULTS, {"provenance": provenance(), "lines": lines}, width=400)


def _name(test: str) -> str:
    """Return a test's name without the group that pytest-xdist adds."""
    return re.sub(r"@\w+$", "", test)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", action="store_true", help="run the tests of reliability in full, only these"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--torture") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--torture"):
        others = [item for item in items if "torture" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]
