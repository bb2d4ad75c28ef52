"""A chapter runs once, in quick mode and with its solutions, for the tests of its module test_chapter_NN.py.

Its committed outputs were made by the very code that they name by its digest. So it runs where that has changed, where
another command has run it already, as in CI, and by night.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from chapters import is_outdated
from support_notebooks import BUILT, Run, committed, quick_run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
            if "run" in item.fixturenames and not BUILT and not is_outdated(committed(item.path.stem[-2:])):
                item.add_marker(pytest.mark.nightly)
                item.add_marker(pytest.mark.chapter)


@pytest.fixture(scope="module")
def number(request: pytest.FixtureRequest) -> str:
    """The chapter's number, as in "01"."""
    return request.module.__name__[-2:]


@pytest.fixture(scope="module")
def run(number: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = quick_run(number, tmp_path_factory.mktemp("chapter"))
    exercises = importlib.import_module(f"snn_tutorial.exercises.chapter_{number}").EXERCISES
    assert re.findall(r"Exercise (\S+): right\.", run.printed()) == list(exercises)
    return run
