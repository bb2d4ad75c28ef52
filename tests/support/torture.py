"""Tests that try random cases: a few in every run, the full count with ``pytest --torture``, or ``make torture``."""

from __future__ import annotations

import pytest


class Torture:
    """How many cases a test tries."""

    def __init__(self, full: bool) -> None:
        self.full = full

    def count(self, fast: int, full: int) -> int:
        """Return the number of cases to run."""
        return full if self.full else fast


@pytest.fixture
def torture(request: pytest.FixtureRequest) -> Torture:
    return Torture(request.config.getoption("--torture"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", action="store_true", help="run only the tests of random cases, with their full counts"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--torture"):
        others = [item for item in items if "torture" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]
