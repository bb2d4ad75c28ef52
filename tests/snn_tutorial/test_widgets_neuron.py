from __future__ import annotations

import pytest
import torch

import snn_tutorial.widgets
from snn_tutorial.widgets.neuron import driven_neuron


def controls(box):
    """The widget of each control by its description."""
    return {control.description: control for row in box.children[:-1] for control in row.children}


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("input x[0]", 0.75),
        ("threshold v_threshold", 1.25),
        ("reset", "hard, v_reset=0"),
        ("feed the spike back", False),
    ],
)
def test_each_control_changes_the_picture(shown, control, value):
    controls(driven_neuron())[control].value = value
    assert len(shown) == 2
    assert shown[0] != shown[1]


def test_draws_the_neuron_that_the_controls_describe(shown, monkeypatch):
    drawn = []
    draw = snn_tutorial.widgets.neuron.neuron_traces
    monkeypatch.setattr(
        "snn_tutorial.widgets.neuron.neuron_traces", lambda traces: drawn.append(traces) or draw(traces)
    )
    choose = controls(driven_neuron(steps=5))
    choose["input x[0]"].value = 2.0
    choose["threshold v_threshold"].value = 1.25
    assert choose["reset"].value == "soft, v_reset=None"  # and not an empty menu
    choose["reset"].value = "hard, v_reset=0"
    first, *_, last = (next(iter(traces.items())) for traces in drawn)
    assert first[0] == "i[t] = x[t] + y[t-1]; spikes in 5 steps: 5"
    assert first[1].v.tolist() == [0.5] * 5
    assert last[0] == "i[t] = x[t] + y[t-1]; spikes in 5 steps: 1"
    assert last[1].h.tolist() == [2, 1, 1, 1, 1]
    choose["feed the spike back"].value = False
    ((title, record),) = drawn[-1].items()
    assert title == "i[t] = x[t]; spikes in 5 steps: 1"
    assert torch.equal(record.i, record.x)
