from __future__ import annotations

import itertools
import time

import torch

from snn_tutorial.measure import autograd_nodes, medians, saved_bytes


def test_nodes_by_hand():
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    assert autograd_nodes(y + y.exp()) == {
        "AddBackward0": 1,
        "ExpBackward0": 1,
        "MulBackward0": 1,
        "torch::autograd::AccumulateGrad": 1,
    }


def test_bytes_by_hand():
    x = torch.ones(100, requires_grad=True)
    assert saved_bytes(lambda x: (2 * x).exp(), x) == 400  # the result; the factor 2 is no tensor
    assert saved_bytes(lambda x: x * x, x) == 400  # x, once
    assert saved_bytes(lambda x: x * x, x, known=[x]) == 0
    assert saved_bytes(lambda x: x + 1, x) == 0


def test_runs_take_turns_after_a_first_call():
    calls = []
    medians({name: lambda name=name: calls.append(name) for name in "ab"}, repeats=3)
    assert "".join(calls) == "ab" + 3 * "ab"


def test_times_are_those_of_the_runs(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    late = iter([0, 3, 3, 30])  # ticks of the call before the times, and of three calls
    runs = {"one": lambda: None, "four": lambda: [next(clock) for _ in range(next(late))]}
    assert medians(runs, repeats=3) == {"one": 1, "four": 4}
