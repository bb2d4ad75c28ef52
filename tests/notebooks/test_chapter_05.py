from __future__ import annotations

import json

import pytest
from support import ROOT

from sequential_fmnist.networks import NETWORKS
from snn_tutorial.exercises.chapter_05 import EXERCISES


@pytest.fixture(scope="module")
def kept():
    """Accuracies of ten seeds in per cent, by the name of the case and by network."""
    found = {}
    for case in json.loads((ROOT / "results" / "ablation.json").read_text())["groups"]["reset"]:
        found.setdefault(case["name"], {})[case["kind"]] = [100 * value for value in case["values"]]
    return found


def test_trains_the_three_networks_and_logs_them(run):
    training = run.result("training.json")
    assert list(training["networks"]) == list(NETWORKS)
    assert training["is_subset"]
    for network in training["networks"].values():
        assert len(network["history"]) == 2
        assert network["history"][1]["test_accuracy"] > 0.2  # chance is 0.1
    names = {path.name for path in (run.folder / "figures").iterdir()}
    assert {"train_loss.png", "train_accuracy.png", "test_accuracy.png"} <= names
    assert list((run.folder / "runs" / "feedback" / "tb").glob("events*"))


@pytest.mark.parametrize(
    ("number", "answer", "why"),
    [
        ("05.2", lambda y, a, b: ((a == y) != (b == y)).sum(), "number of images"),
        ("05.2", lambda y, a, b: (a != b).mean(), "guesses differ"),
        ("05.2", lambda y, a, b: ((a == y) & (b != y)).mean(), "may be the one"),
        ("05.4", 0.0, "nothing changed"),
        ("05.3", [0.04, 0.28], "the other way round"),
        ("05.4", 0.012, "in points"),
        ("05.4", -1.2, "rows minus columns"),
    ],
)
def test_mistakes_are_named(number, answer, why):
    is_right, said = EXERCISES[number].reply(answer)
    assert not is_right
    assert why in said


def test_the_full_run_collapses_and_each_change_cures_it():
    training = json.loads((ROOT / "results" / "training.json").read_text())
    assert training["epochs"] == 64
    ends = [history[-1]["test_accuracy"] for history in training["cures"].values()]
    listing, clipped, attached = training["largest_falls"].values()
    assert ends[0] < min(ends[1:]) - 0.03
    assert listing > 0.2 > 0.08 > max(clipped, attached)
    plain, stateful, _ = (network["history"][-1] for network in training["networks"].values())
    assert stateful["test_accuracy"] > plain["test_accuracy"] > ends[0]


def test_ten_seeds_show_what_is_concluded_from_them(run, kept):
    listed = kept["64 epochs, cut everywhere"]
    assert min(listed["stateful-synapse"]) > max(listed["plain"])
    assert max(listed["feedback"]) > max(listed["plain"])
    assert max(listed["feedback"]) - min(listed["feedback"]) > 20
    for name in ("64 epochs, cut everywhere, gradient norm at most 1", "64 epochs, cut nowhere"):
        mean = {kind: sum(values) / len(values) for kind, values in kept[name].items()}
        assert min(kept[name]["feedback"]) > max(kept[name]["plain"])
        assert max(mean, key=mean.get) == "feedback"
        assert max(kept[name]["feedback"]) - min(kept[name]["feedback"]) < 2
        assert f"mean {mean['feedback']:.1f}," in run.printed()


def test_the_loop_agrees_with_spikingjelly():
    peers = json.loads((ROOT / "results" / "peer_seeds.json").read_text())["test_accuracy_percent"]
    assert peers["spikingjelly"] == peers["snn_core"]
