from __future__ import annotations

import math
import re

import pytest

from snn_tutorial.exercises import exercise


def test_half_life_halves_the_current(run):
    (table,) = (
        output.data["text/markdown"]
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "half-life" in output.get("data", {}).get("text/markdown", "")
    )
    for line in table.splitlines()[2:]:
        tau, steps, _ = map(float, line.strip("|").split("|"))
        assert (1 - 1 / tau) ** steps == pytest.approx(0.5, rel=0.03)


def test_states_sit_where_the_text_says(run):
    assert "432 weights, 12,544 currents after reset_net: {}" in run.printed()
    assert "320 weights,     32 currents after reset_net: {}" in run.printed()


def test_solutions_are_right(run):
    assert (1 - 1 / (1 + math.exp(-exercise("02.3").right))) ** 10 == pytest.approx(0.5)
    for line in run.solved("02.4").splitlines()[:3]:
        simulated, derived = map(float, re.findall(r"\d+\.\d+", line)[-2:])
        assert simulated == pytest.approx(derived, rel=0.03)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda tau, p, w: tau / (1 / (p * w) - 1), "right"),
        (lambda tau, p, w: tau * p * w, "this is the low-pass"),
        (lambda tau, p, w: p * w / (1 - p * w), "It depends on tau"),
        (lambda tau, p, w: tau * p * w / (1 - p), "changes the factor"),
    ],
)
def test_mistakes_with_the_mean_are_named(answer, named):
    assert named in exercise("02.4").reply(answer)[1]
