from __future__ import annotations

import copy
import json
from itertools import product

import numpy as np
import pytest
import torch

from snn_tutorial.live import timing
from snn_tutorial.live.timing import recorded_times
from snn_tutorial.measure import LAYERS

RECORDED = {
    "steps": [7, 28],
    "samples": [1, 32, 64],
    "hidden": [8],
    "milliseconds": {"neurons": np.arange(1.0, 13).reshape(2, 3, 1, 2).tolist()},
    "provenance": {"processor": "a <fast> one", "torch": "2.13.0", "snn_core": "0.1.0"},
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_file_without_what_is_shown_is_an_error(name):
    with pytest.raises(
        ValueError, match=f"recorded has no {name}: `python -m snn_tutorial.live.timing` writes"
    ):
        recorded_times({key: value for key, value in RECORDED.items() if key != name})


@pytest.mark.parametrize(
    "wrong", [[[1.0, 2.0]], np.zeros((2, 3, 1, 2)).tolist(), np.ones((2, 3, 1, 3)).tolist()]
)
def test_times_that_do_not_fit_the_sizes_are_an_error(wrong):
    recorded = copy.deepcopy(RECORDED)
    recorded["milliseconds"]["synapse filter"] = wrong
    with pytest.raises(
        ValueError, match=r"recorded must hold .* \[2, 3, 1, 2\], not so those of synapse filter"
    ):
        recorded_times(recorded)


def test_draws_the_middle_of_the_grid_where_no_script_runs(monkeypatch):
    asked = []
    monkeypatch.setattr(timing, "bars", lambda *given: asked.append(given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        recorded_times(RECORDED)
    assert asked == [({"torch loop": 0.009, "fused scan": 0.01}, "neurons: 28 steps, 32 samples, 8 hidden")]


def test_every_layer_and_size_is_measured_in_its_place():
    asked = []

    def measure(*given):
        asked.append(given)
        return {"torch loop": len(asked) / 1e3, "fused scan": 0.00123456}

    found = timing.measured(0.25, measure)
    assert asked == [
        (layer, *sizes, timing.ROUNDS, 0.25)
        for layer, sizes in product(LAYERS, product(*timing.SIZES.values()))
    ]
    assert list(found) == list(LAYERS)
    for k, layer in enumerate(LAYERS):
        times = np.array(found[layer])
        assert times.shape == (3, 3, 3, 2)
        assert times[..., 0].flatten().tolist() == list(range(27 * k + 1, 27 * k + 28))
        assert (times[..., 1] == 1.235).all()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_command_writes_what_the_view_takes(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(timing, "SIZES", {"steps": (3, 5), "samples": (1,), "hidden": (4, 8)})
    monkeypatch.setattr(timing, "keep_freed_memory", lambda: None)  # it would last as long as this process
    timing.main(["--budget", "0", "--out", str(tmp_path / "times.json")])
    recorded = json.loads((tmp_path / "times.json").read_text())
    assert recorded["steps"] == [3, 5]
    assert list(recorded["milliseconds"]) == list(LAYERS)
    assert recorded["provenance"]["torch_threads"] == 1
    assert recorded["core_share"] > 0
    assert recorded_times(recorded).data


@pytest.mark.parametrize("argument", ["--budget=-1", "--budget=long", "--out=", "--rounds=3"])
def test_command_refuses_what_it_does_not_know(argument, capsys):
    with pytest.raises(SystemExit) as left:
        timing.main([argument])
    assert left.value.code == 2
    assert argument.partition("=")[0] in capsys.readouterr().err
