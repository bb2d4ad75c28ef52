"""What the collection is built from: bounds of every dependency, and what workflows may do."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


def test_every_dependency_has_two_bounds():
    extras = [entry for extra in PROJECT["optional-dependencies"].values() for entry in extra]
    for entry in [*PROJECT["dependencies"], *extras]:
        one = Requirement(entry)
        operators = {bound.operator for bound in one.specifier}
        assert one.name == PROJECT["name"] or {">=", "<"} <= operators, entry


def faults(text: str) -> list[str]:
    """Return what a workflow allows that it need not."""
    workflow = yaml.safe_load(text)
    found = [] if workflow.get("permissions") == {"contents": "read"} else ["permissions of the workflow"]
    found += [f"permissions of {name}" for name, job in workflow["jobs"].items() if "permissions" in job]
    known = ("push", "pull_request", "schedule", "workflow_dispatch")
    found += [trigger for trigger in workflow[True] if trigger not in known]  # YAML reads "on" so
    found += ["secrets"] if "secrets." in text else []
    for step in [step for job in workflow["jobs"].values() for step in job["steps"]]:
        uses = step.get("uses", "")
        if uses and not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", uses):
            found.append(f"{uses} is no commit")
        persists = step.get("with", {}).get("persist-credentials") is not False
        if uses.startswith("actions/checkout@") and persists:
            found.append("checkout leaves its token behind")
        if "${{" in step.get("run", ""):
            found.append(f"an expression in a command: {step['run']}")
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_the_least_permissions_and_pinned_actions(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("contents: read", "contents: write", "permissions of the workflow"),
        ("  pull_request:", "  pull_request_target:", "pull_request_target"),
        ("    runs-on:", "    permissions: write-all\n    runs-on:", "permissions of test"),
        ("run: bash .ci/run", "run: echo ${{ github.event.pull_request.title }}", "an expression"),
        ("persist-credentials: false", "persist-credentials: true", "leaves its token"),
    ],
)
def test_a_workflow_that_allows_more_is_found(before, after, fault):
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert before in text
    assert any(fault in line for line in faults(text.replace(before, after)))
