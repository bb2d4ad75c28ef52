"""The guides and the page on exchange: blocks of Python run in their order, and shell commands have their options."""

from __future__ import annotations

import re
import shlex

import pytest
from support import ROOT

from sequential_fmnist.train import make_parser

GUIDES = [*sorted((ROOT / "docs" / "howto").glob("*.md")), ROOT / "docs" / "exchange.md"]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def without_rounding(text):
    """Leave out what rounding makes of a zero, which depends on the machine."""
    return re.sub(r"\b\de-1\d\b|\b0e\+00\b", "#", text)


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.stem)
def test_the_code_of_a_guide_runs_and_prints_what_the_page_shows(page, monkeypatch, tmp_path, capsys):
    for package in ("nir", "onnxscript") if page.stem == "exchange" else ():
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec", dont_inherit=True), names)
    printed = without_rounding(capsys.readouterr().out)
    for shown in blocks(page, "text"):
        assert without_rounding(shown) in printed
    for line in "".join(blocks(page, "sh")).splitlines():
        if "-m sequential_fmnist" in line:
            make_parser().parse_args(shlex.split(line.partition("-m sequential_fmnist")[2]))
