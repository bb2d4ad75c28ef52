"""What surrounds the code for readers, teachers and contributors: citation, paper, licences, templates for issues."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAPER = (ROOT / "paper.md").read_text()
_, HEAD, BODY = PAPER.split("---\n", 2)


def test_citation_has_what_the_format_requires_and_agrees_with_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    assert all("family-names" in author or "name" in author for author in citation["authors"])
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_paper_has_the_head_and_the_sections_that_the_journal_asks_for():
    head = yaml.safe_load(HEAD)
    assert head.keys() == {"title", "tags", "authors", "affiliations", "date", "bibliography"}
    known = {place["index"] for place in head["affiliations"]}
    assert all(author["affiliation"] in known for author in head["authors"])
    sections = re.findall(r"^# (.*)$", BODY, re.MULTILINE)
    asked = ["Summary", "Statement of need", "Learning objectives", "Content and instructional design"]
    assert sections[:6] == [*asked, "Experience of use", "Story of the project"]
    assert sections[-1] == "References"
    assert "has not been used in a course yet" in BODY


def test_paper_cites_what_its_bibliography_holds_and_nothing_else():
    entries = re.findall(r"^@\w+\{(\w+),", (ROOT / "paper.bib").read_text(), re.MULTILINE)
    assert set(re.findall(r"@(\w+)", BODY)) == set(entries)
    for entry in (ROOT / "paper.bib").read_text().split("\n\n"):
        assert "doi" in entry, entry


@pytest.mark.parametrize("name", ["bug", "error_in_the_text", "question", "teaching"])
def test_issue_template_asks_for_something(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= form.keys()
    fields = form["body"]
    assert any(field.get("validations", {}).get("required") for field in fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


@pytest.mark.parametrize("name", ["CHANGELOG", "CODE_OF_CONDUCT", "CONTRIBUTING"])
def test_local_links_lead_somewhere(name):
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / f"{name}.md").read_text())
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_text_and_code_have_their_licences():
    assert "MIT License" in (ROOT / "LICENSE").read_text()
    assert "CC-BY-4.0" in (ROOT / "LICENSE-text").read_text()
