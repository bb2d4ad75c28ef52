from __future__ import annotations

import json

import pytest
from support import ROOT

from sequential_fmnist.evaluate import COLLAPSE, falls
from sequential_fmnist.experiments.statistics import further_run
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_tutorial.exercises.chapter_05 import EXERCISES


@pytest.fixture(scope="module")
def repeated():
    """The study of the published runs."""
    return json.loads((ROOT / "results" / "repeated.json").read_text())


def test_trains_the_three_networks_and_logs_them(run):
    training = run.result("training.json")
    assert list(training["networks"]) == list(TUTORIAL_NETWORKS)
    assert training["is_subset"]
    for network in training["networks"].values():
        assert len(network["history"]) == 2
        assert network["history"][1]["test_accuracy"] > 0.2  # chance is 0.1
    names = {path.name for path in (run.folder / "figures").iterdir()}
    assert {"train_curves.png", "test_accuracy.png"} <= names
    assert list((run.folder / "runs" / "feedback" / "tb").glob("events*"))


@pytest.mark.parametrize(
    ("number", "answer", "why"),
    [
        ("05.2", lambda y, a, b: ((a == y) != (b == y)).sum(), "number of images"),
        ("05.2", lambda y, a, b: (a != b).mean(), "guesses differ"),
        ("05.2", lambda y, a, b: ((a == y) & (b != y)).mean(), "may be the one"),
        ("05.3", [0.04, 0.28], "the other way round"),
        ("05.4", 8192, "8,099 good updates"),
        ("05.4", 65536, "not three"),
    ],
)
def test_mistakes_are_named(number, answer, why):
    is_right, said = EXERCISES[number].reply(answer)
    assert not is_right
    assert why in said


def test_the_full_run_shows_what_the_chapter_says_of_it():
    training = json.loads((ROOT / "results" / "training.json").read_text())
    assert training["epochs"] == 64
    ends = {kind: network["history"][-1]["test_accuracy"] for kind, network in training["networks"].items()}
    published = json.loads((ROOT / "results" / "published.json").read_text())["runs"]["64 epochs"]
    for kind in ("plain", "stateful-synapse"):
        assert abs(ends[kind] - published["right"][kind] / published["images"]) < 0.02
    assert any(max(falls(values)) > COLLAPSE for values in training["float32"])
    last = [values[-1] for values in training["perturbed"]]
    assert max(last) - min(last) > 0.01
    assert all(rule[-1] > 0.73 for rule in training["rule"])
    assert all(0 < skipped < 20 for skipped in training["skipped"])


def test_ten_seeds_with_the_rule_hold_the_published_figure(run, repeated):
    float32, rule = (case["values"] for case in repeated["groups"]["feedback_64"])
    assert len(float32) == len(rule) == 10
    low, high, _ = further_run(rule, 0.7688)
    assert low < 0.7688 < high
    assert max(float32) < 0.7688
    assert repeated["comparisons"]["rule over float32, feedback, 64 epochs, as published"]["decided"]
    assert f"mean {10 * sum(rule):.1f} %," in run.printed()


def test_ten_seeds_with_the_rule_explain_the_published_90_epochs(repeated):
    published = json.loads((ROOT / "results" / "published.json").read_text())["runs"]["90 epochs"]
    (rule,) = [case for case in repeated["groups"]["feedback_90"] if case["name"].endswith("rule")]
    value = published["right"]["feedback"] / published["images"]
    low, high, _ = further_run(rule["on_training"], value)
    assert low < value < high < low + 0.06
