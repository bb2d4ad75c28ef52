from __future__ import annotations

import pytest

from snn_tutorial.widgets import kernels
from snn_tutorial.widgets.kernels import HIDDEN, SAMPLES, STEPS, speed_explorer, timed


@pytest.fixture
def asked(monkeypatch) -> list[tuple]:
    """What was measured, by a stand-in whose times depend on nothing else."""
    calls: list[tuple] = []

    def measure(*sizes):
        calls.append(sizes)
        return {"torch loop": 0.01, "fused scan": 0.001}

    monkeypatch.setattr(timed, "__defaults__", (measure,))
    return calls


@pytest.mark.parametrize(
    ("control", "value"), [(0, "recurrent layer"), (1, STEPS[-1]), (2, SAMPLES[0]), (3, HIDDEN[-1])]
)
def test_each_control_measures_anew_and_changes_the_picture(asked, shown, control, value):
    box = speed_explorer()
    box.children[0].children[control].value = value
    expected = ["neurons", 28, 32, 32]
    expected[control] = value
    assert len(shown) == len(asked) == 2
    assert asked[0] == ("neurons", 28, 32, 32)
    assert asked[1] == tuple(expected)
    assert shown[0] != shown[1]


def test_slider_waits_until_it_stops():
    controls = speed_explorer().children[0].children
    assert [control.continuous_update for control in controls[1:]] == [False] * 3


def test_really_measures(monkeypatch):
    found = []
    monkeypatch.setattr(kernels, "bars", lambda seconds, title: found.append((seconds, title)))
    timed("synapse filter", 7, 1, 8)
    seconds, title = found[0]
    assert list(seconds) == ["torch loop", "fused scan"]
    assert min(seconds.values()) > 0
    assert title == "synapse filter: 7 steps, 1 samples, 8 hidden"
