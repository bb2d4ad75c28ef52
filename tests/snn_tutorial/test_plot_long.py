"""Figures of chapter 08, and what its command sees inside networks."""

from __future__ import annotations

import json
from itertools import islice

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from support import ROOT

from experiments.long.grid import DRAWS, NETWORKS, spec_of
from experiments.long.networks import GATED, KINDS, MemoryNet, MemorySpec
from experiments.long.runs import build
from experiments.long.tasks import Recall
from snn_tutorial import inside
from snn_tutorial.live.cue import SHOWN
from snn_tutorial.page import png
from snn_tutorial.plot import long as draw

POINTS = (20, 50, 100)


def case(kind: str, at: int | None, mean: float, **more) -> dict:
    accuracy = {"mean": mean, "low": mean - 0.02, "high": mean + 0.02, "n": 3}
    return {"kind": kind, "at": at, "accuracy": accuracy, "values": [mean - 0.01, mean, mean + 0.01]} | more


@pytest.fixture
def group() -> list[dict]:
    return [case(kind, at, 0.9 - 0.001 * at - 0.01 * k) for k, kind in enumerate(NETWORKS) for at in POINTS]


@pytest.fixture
def seen() -> dict:
    """A file like results/long_inside.json."""
    after = [1, 10, 100]
    rng = np.random.default_rng(0)
    state = {
        "held": [[1.0, None, None], [0.6, None, None], [0.125, None, None]],
        "reach": [1.0, 1e-3, 0.0],
        "plane": rng.normal(size=(3, 16, 2)).tolist(),
    }
    networks = {kind: {"random": state, "trained": state} for kind in NETWORKS}
    return {"after": after, "delay": 100, "symbols": [k % 8 for k in range(16)], "networks": networks}


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_every_network_has_a_family_and_a_look_of_its_own():
    assert sorted(kind for family in draw.FAMILIES.values() for kind in family) == sorted(NETWORKS)
    for family in draw.FAMILIES.values():
        for part in ("color", "linestyle", "marker"):
            assert len({draw.LOOKS[kind][part] for kind in family}) == len(family)


def test_curves_show_means_and_chance(group):
    figure = draw.curves(group, "delay (time steps)", 1 / 8)
    assert [axes.get_title() for axes in figure.axes] == list(draw.FAMILIES)
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    for kind in NETWORKS:
        x, y = lines[kind].get_data()
        assert list(x) == list(POINTS)
        assert y == pytest.approx([100 * c["accuracy"]["mean"] for c in group if c["kind"] == kind])
    assert all(axes.get_lines()[0].get_ydata()[0] == 12.5 for axes in figure.axes)
    assert all(axes.get_xlabel() == "delay (time steps)" for axes in figure.axes)


def test_errors_are_drawn_on_a_logarithmic_axis(group):
    figure = draw.curves(group, "length", 1 / 6, "mean squared error", scale=1)
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}


def test_strips_show_every_run():
    groups = {name: [case(kind, None, 0.5) for kind in NETWORKS] for name in ("in order", "permuted")}
    figure = draw.strips(groups, 0.1)
    assert [axes.get_title() for axes in figure.axes] == ["in order", "permuted"]
    for axes in figure.axes:
        points = [x for line in axes.get_lines() if line.get_marker() == "o" and line.get_linestyle() == "None"
                  for x in line.get_xdata() if len(line.get_xdata()) == 3]  # fmt: skip
        assert len(points) == 3 * len(NETWORKS)


def test_strips_mark_what_needs_no_memory_where_it_is_known():
    groups = {name: [case("plain", None, 0.5)] for name in ("in order", "permuted")}
    figure = draw.strips(groups, 0.1, memoryless={"permuted": 0.65})
    dotted = [[line for line in axes.get_lines() if line.get_linestyle() == ":"] for axes in figure.axes]
    assert [len(lines) for lines in dotted] == [0, 1]
    assert list(dotted[1][0].get_xdata()) == [65, 65]


@pytest.mark.parametrize("figure", [lambda: draw.curves([], "", 0.1), lambda: draw.strips({"a": []}, 0.1),
                                    lambda: draw.learned({})])  # fmt: skip
def test_nothing_to_draw_is_said(figure):
    assert figure().texts[0].get_text() == "no runs to show"


def test_what_was_held_and_how_far_gradients_reach(seen):
    for figure, last in ((draw.held(seen), 12.5), (draw.reach(seen), 1e-12)):
        lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
        for kind in NETWORKS:
            assert lines[kind].get_ydata()[-1] == last


def test_learned_numbers_are_a_share_of_all():
    runs = [list(np.linspace(1, 50, 21)), list(np.linspace(2, 300, 21))]
    figure = draw.learned({"a network": case("parametric LIF", None, 0.5, learned={"tau": runs})})
    (axes,) = figure.axes
    assert sum(patch.get_height() for patch in axes.patches) == pytest.approx(100)
    assert axes.get_xlabel() == "tau (time steps)"


def test_headline_has_both_chapters(group):
    ablation = {
        "groups": {
            "delay": [case(k, at, 0.7) for k in ("plain", "stateful-synapse", "feedback") for at in (0, 56)]
        }
    }
    summary = {"groups": {"long-noisy-recall": group}, "tasks": {"noisy-recall": {"points": list(POINTS)}}}
    left, right = draw.headline(ablation, summary).axes
    assert (
        len([line for line in left.get_lines() if len(line.get_xdata()) == 2 and line.get_marker() != "None"])
        == 3
    )
    assert {"plain", "stateful synapse", "feedback", "GRU"} <= {
        line.get_label() for line in right.get_lines()
    }


def test_figures_are_the_same_every_time(seen):
    assert png(draw.plane(seen, 10, SHOWN)) == png(draw.plane(seen, 10, SHOWN))


# What the command sees


@pytest.mark.parametrize(
    "kind", ["parametric LIF", "adaptive threshold", "feedback and stateful synapse", *GATED]
)
def test_state_is_the_same_as_after_the_whole_sequence_at_once(kind):
    net = MemoryNet(MemorySpec(kind, 6), 9, 8, window=5)
    x_seq, _ = inside.cues(0, samples=4)
    x_seq = x_seq[:15]
    kept = list(islice(inside.states(net, x_seq), 3))  # after 1, 5 and 10 steps
    if kind in KINDS:
        from snn_core.functional import reset_net, scan

        reset_net(net)
        with torch.no_grad():
            scan(x_seq, net.fc1, *net.memory)
        owners = [m for m in net.memory.modules() if hasattr(m, "state_names")]
        parts = [getattr(m, name) for m in owners for name in m.state_names]
    else:
        with torch.no_grad():
            last = net.rnn(x_seq)[1]
        parts = [part[0] for part in (last if isinstance(last, tuple) else (last,))]
    expected = torch.cat([part / part.std().clamp_min(1e-6) for part in parts], 1)
    torch.testing.assert_close(kept[2], expected, rtol=1e-4, atol=1e-4)


def test_a_probe_reads_what_is_there_and_guesses_what_is_not(monkeypatch):
    monkeypatch.setattr(inside, "FITTED", 200)
    monkeypatch.setattr(inside, "AFTER", (1, 60))
    torch.manual_seed(0)
    lasting = MemoryNet(MemorySpec("stateful synapse", 40, tau=1_000.0), 9, 8, window=5)
    gone = MemoryNet(MemorySpec("plain", 40, membrane=1.5), 9, 8, window=5)
    monkeypatch.setattr(inside, "SHOWN", 8)
    assert inside.held(lasting)[0][1] > 0.5
    first, later = inside.held(gone)[0]
    assert first > 0.5 > 0.3 > later


def test_gradient_reaches_as_far_as_a_leak_lets_it():
    torch.manual_seed(0)
    near = inside.reach(MemoryNet(MemorySpec("plain", 40, membrane=2.0), 9, 8, window=5), samples=4)
    far = inside.reach(MemoryNet(MemorySpec("stateful synapse", 40, tau=1_000.0), 9, 8, window=5), samples=4)
    assert near[-1] < 1e-12 < far[-1]
    assert near[0] > 0


def test_looking_changes_no_run(monkeypatch):
    spec = spec_of("noisy-recall", "stateful synapse", DRAWS[0], 20)
    torch.manual_seed(5)
    before = [p.clone() for p in build(spec).parameters()]
    inside.reach(build(spec), samples=2)
    for a, b in zip(before, build(spec).parameters(), strict=True):
        assert torch.equal(a, b)


def test_cues_are_those_of_the_task():
    x_seq, symbols = inside.cues(4, delay=20, samples=6)
    assert x_seq.shape == (30, 6, 9)
    assert (x_seq[: Recall.SHOWN, :, :8].mean(0).argmax(1) == symbols).all()


def test_what_the_last_pixels_tell_is_what_the_file_says(full_folder, monkeypatch):
    monkeypatch.setenv("SNN_CORE_CACHE", str(full_folder))
    kept = json.loads((ROOT / "results" / "long_inside.json").read_text())["window"]
    assert kept == {name: pytest.approx(inside.window(name), abs=1e-3) for name in ("pixels", "permuted")}
    assert 0.1 < kept["pixels"] < kept["permuted"] - 0.2
