"""The how-to guides: every block of Python runs, in the order of its page, and every shell command has its options."""

from __future__ import annotations

import re
import shlex

import pytest
from support import ROOT

from sequential_fmnist.train import make_parser

GUIDES = sorted((ROOT / "docs" / "howto").glob("*.md"))
ASKED = {
    "my_data", "my_neuron", "my_loss", "variable_length", "truncated_bptt", "record", "resume", "several_processes",
    "delays",
    "training_tools", "which_memory",
}  # fmt: skip


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def test_every_question_has_its_guide():
    assert {path.stem for path in GUIDES} >= ASKED


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.stem)
def test_the_code_of_a_guide_runs_and_fits_on_a_page(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code = blocks(page, "python")
    assert code
    names: dict[str, object] = {"__name__": "__main__"}
    for block in code:
        assert max(map(len, block.splitlines())) <= 100, block
        exec(compile(block, page.name, "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.stem)
def test_the_commands_of_a_guide_are_understood(page):
    for line in "".join(blocks(page, "sh")).splitlines():
        if "-m sequential_fmnist" in line:
            make_parser().parse_args(shlex.split(line.partition("-m sequential_fmnist")[2]))
