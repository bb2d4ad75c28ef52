from __future__ import annotations

import re

import pytest


def test_spikes_are_equal_wherever_the_network_runs(run):
    printed = " ".join(run.printed().split())
    assert "W_y is the cycle's weight: True" in printed
    assert "W_x is in the first layer: True" in printed
    assert re.search(r"\b0 of [\d,]+ chances to fire differ", printed)
    assert len(re.findall(r"\b0 of [\d,]+ differ; accuracy", printed)) == 2  # in NumPy and in snnTorch


def test_solutions(run):
    printed = run.printed()
    assert int(re.search(r"1/16: .* in step 0 for (\d+)% of these", printed)[1]) > 95
    assert int(re.search(r"(\d+) biases are exactly 1", printed)[1]) > 0
    soft, hard = re.search(r"([\d,]+) spikes with the soft reset, ([\d,]+)", printed).groups()
    assert int(hard.replace(",", "")) / int(soft.replace(",", "")) == pytest.approx(0.75, abs=0.03)
