"""The sample that `make mutation` tries, and its record."""

from __future__ import annotations

import json
import tomllib
from collections import Counter

import mutants
import pytest
from cosmic_ray import work_item as work
from cosmic_ray.work_db import WorkDB, use_db
from support import ROOT


def change(module: str, line: int, occurrence: int) -> work.MutationSpec:
    return work.MutationSpec(module, "core/NumberReplacer", occurrence, (line, 0), (line, 1))


@pytest.fixture
def session(tmp_path):
    """Thirty changes on the ten lines of each of two modules."""
    with use_db(tmp_path / "session.sqlite", WorkDB.Mode.create) as session:
        for module in ("a.py", "b.py"):
            for n in range(30):
                session.add_work_item(work.WorkItem(f"{module}{n}", [change(module, n // 3, n)]))
        yield session


def test_a_sample_has_one_change_of_a_line_and_so_many_of_a_module(session):
    mutants.sample(session, most=6)
    drawn = [item.mutations[0] for item in session.work_items]
    assert len({(each.module_path, each.start_pos) for each in drawn}) == len(drawn) == 12
    assert set(Counter(each.module_path for each in drawn).values()) == {6}
    assert session.num_results == 0


def test_record_names_the_survivors(session, tmp_path):
    mutants.sample(session, most=2)
    first, *others = session.work_items
    diff = "--- mutation diff ---\n--- a\n+++ b\n@@ -1 +1 @@\n same\n-x = 1\n+x = 2"
    normal = work.WorkerOutcome.NORMAL
    session.set_result(
        first.job_id, work.WorkResult(normal, test_outcome=work.TestOutcome.SURVIVED, diff=diff)
    )
    for item in others:
        session.set_result(
            item.job_id, work.WorkResult(normal, test_outcome=work.TestOutcome.KILLED, diff=diff)
        )
    mutants.record(session, tmp_path / "mutation.json")
    kept = json.loads((tmp_path / "mutation.json").read_text())
    assert (kept["tried"], kept["killed"], kept["survived"]) == (4, 3, 1)
    assert kept["modules"] == {"a.py": 2, "b.py": 2}
    assert kept["survivors"] == [f"{first.mutations[0].module_path} NumberReplacer: -x = 1 +x = 2"]


def test_what_is_changed_and_what_has_to_notice_are_there():
    config = tomllib.loads((ROOT / "tools" / "mutation.toml").read_text())["cosmic-ray"]
    paths = [word for word in config["test-command"].split() if word.startswith("tests/")]
    assert len(paths) > 2
    assert [name for name in (*config["module-path"], *paths) if not (ROOT / name).exists()] == []
