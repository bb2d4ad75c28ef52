"""What the tests reach and what they notice: the records of `make coverage` and `make mutation`, and their tools.

A record may lag behind the code from day to day; `make torture` asks for one of every module.
"""

from __future__ import annotations

import json
import random
import runpy

import pytest
from support import ROOT

coverage_script = runpy.run_path(str(ROOT / "tools" / "coverage_figures.py"))
SOURCES = {str(path.relative_to(ROOT)) for path in (ROOT / "snn_core").rglob("*.py")}


def record(command: str) -> dict:
    """Return what a command of make has measured."""
    path = ROOT / "results" / f"{command}.json"
    assert path.exists(), f"nothing measured yet: run `make {command}`"
    return json.loads(path.read_text())


def test_tests_reach_nearly_every_line_and_branch(torture):
    found = record("coverage")
    assert min(found["lines"], found["branches"]) >= 95
    assert not torture.full or set(found["modules"]) == SOURCES, "run `make coverage`"
    torture.figure(
        item=8,
        what="Lines and branches of snn_core that the tests reach, its kernels run in Python, no file left out",
        lines_percent=found["lines"],
        branches_percent=found["branches"],
        lines=found["statements"],
        branches=found["arcs"],
    )


def test_tests_notice_most_changes_of_neurons_layers_and_kernels(torture):
    found = record("mutation")
    assert found["tried"] == sum(found[key] for key in ("killed", "survived", "timeout"))
    modules = {module.path for module in mutate().MODULES}
    assert set(found["modules"]) == modules if torture.full else set(found["modules"]) <= modules, (
        "run `make mutation`"
    )
    assert found["surviving_percent"] < 20
    torture.figure(
        item=8,
        what="Changes of one place in neurons, layers and kernels that the tests made for them did not notice",
        changes=found["tried"],
        of=found["mutants"],
        survived=found["survived"],
        surviving_percent=found["surviving_percent"],
        seed=found["seed"],
    )


def report(lines: int, branches: int) -> dict:
    summary = {
        "covered_lines": lines,
        "num_statements": 200,
        "covered_branches": branches,
        "num_branches": 20,
    }
    module = {"summary": summary, "missing_lines": [3]}
    return {"totals": summary, "meta": {"version": "7"}, "files": {"snn_core/a.py": module}}


@pytest.mark.parametrize(("lines", "branches", "status"), [(190, 19, 0), (189, 20, 1), (200, 18, 1)])
def test_coverage_below_the_floor_fails(lines, branches, status, tmp_path, monkeypatch, capsys):
    main = coverage_script["main"]
    monkeypatch.setitem(main.__globals__, "RESULTS", tmp_path / "coverage.json")
    (tmp_path / "report.json").write_text(json.dumps(report(lines, branches)))
    monkeypatch.setattr("sys.argv", ["coverage_figures.py", str(tmp_path / "report.json")])
    assert main() == status
    kept = json.loads((tmp_path / "coverage.json").read_text())
    assert kept["lines"] == lines / 2
    assert kept["modules"]["snn_core/a.py"]["missing_lines"] == [3]
    assert ("error" in capsys.readouterr().err) is bool(status)


def mutate():
    pytest.importorskip("cosmic_ray")
    import mutate

    return mutate


CODE = """
def double(x: int | None, times: int = 2) -> int | None:
    if TYPE_CHECKING:
        return x - 1
    return x * times
"""


def test_what_nothing_evaluates_is_not_changed():
    found = mutate().mutants(CODE)
    assert {mutant.line for mutant in found} == {2, 5}
    assert [m for m in found if "Operator_BitOr_" in m.operator] == []
    assert any("Mul_Add" in mutant.operator for mutant in found)


def test_a_sample_takes_every_place_before_any_twice():
    found = mutate().mutants(CODE)
    places = {mutant.place for mutant in found}
    assert 1 < len(places) < len(found)
    drawn = mutate().sample(found, len(places), random.Random(0))
    assert {mutant.place for mutant in drawn} == places
    assert drawn == mutate().sample(found, len(places), random.Random(0))
    assert len(mutate().sample(found, 10**6, random.Random(0))) == len(found)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(("value", "outcome"), [(2, "survived"), (3, "killed")])
def test_a_change_survives_where_the_tests_pass_and_not_where_they_fail(value, outcome, tmp_path):
    tree = tmp_path / "copy"
    tree.mkdir()
    (tree / "test_one.py").write_text(f"def test_it():\n    assert 1 + 1 == {value}\n")
    module = mutate().Module("one.py", ["test_one.py"])
    assert mutate().outcome(tree, module, tmp_path / "kernels", 300) == outcome
