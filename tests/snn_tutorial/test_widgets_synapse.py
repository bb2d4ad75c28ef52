from __future__ import annotations

import pytest

import snn_tutorial.widgets
import snn_tutorial.widgets.synapse
from snn_tutorial.widgets.synapse import synapse_explorer


@pytest.fixture
def asked(monkeypatch, shown) -> list[tuple]:
    """Spike train and currents of each figure."""
    calls: list[tuple] = []
    draw = snn_tutorial.widgets.synapse.traces

    def traces(train, both, title):
        calls.append((train, both["synapse filter"].tolist(), title))
        return draw(train, both, title)

    monkeypatch.setattr(snn_tutorial.widgets.synapse, "traces", traces)
    return calls


def test_starts_with_the_given_train_and_one_button_for_each_step(asked):
    box = synapse_explorer([1, 0, 0], tau=2)
    slider, buttons = box.children[0].children[0], box.children[1].children
    assert slider.value == 2
    assert [button.description for button in buttons] == ["0", "1", "2"]
    assert [button.value for button in buttons] == [True, False, False]
    assert asked == [([1, 0, 0], [1, 0.5, 0.25], r"$\tau$ = 2 steps")]


def test_a_button_adds_a_spike_to_its_step(asked, shown):
    box = synapse_explorer([1, 0, 0], tau=2)
    box.children[1].children[2].value = True
    assert asked[-1][:2] == ([1, 0, 1], [1, 0.5, 1.5])
    assert shown[0] != shown[1]


def test_steps_stay_in_order_beyond_ten(asked):
    """s10 sorts before s2 as a name."""
    s = [int(t in (2, 10)) for t in range(12)]
    box = synapse_explorer(s)
    assert asked[0][0] == s
    box.children[1].children[11].value = True
    assert asked[-1][0] == [*s[:11], 1]


def test_slider_changes_the_decay(asked, shown):
    box = synapse_explorer([1, 0, 0], tau=2)
    box.children[0].children[0].value = 4
    assert asked[-1][1] == [1, 0.75, 0.5625]
    assert shown[0] != shown[1]
