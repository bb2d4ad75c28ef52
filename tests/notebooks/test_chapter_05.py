from __future__ import annotations

import json
import re

import pytest
from support import ROOT
from support_notebooks import Run, quick_run

from sequential_fmnist.networks import NETWORKS
from snn_tutorial.exercises.chapter_05 import EXERCISES

pytestmark = pytest.mark.xdist_group("chapter_05")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("05", tmp_path_factory.mktemp("chapter"))


def test_records_the_training_of_the_three_networks(run):
    training = run.result("training.json")
    assert list(training["networks"]) == list(NETWORKS)
    assert training["is_subset"]
    assert training["provenance"]["torch"]
    for network in training["networks"].values():
        assert len(network["history"]) == 2
        assert network["history"][1]["test_accuracy"] > 0.2  # chance is 0.1


def test_writes_the_curves(run):
    names = {path.name for path in (run.folder / "figures").iterdir()}
    assert {"train_loss.png", "train_accuracy.png", "test_accuracy.png"} <= names


def test_logs_for_tensorboard_and_reads_them_back(run):
    assert list((run.folder / "runs" / "feedback" / "tb").glob("events*"))
    assert "test_accuracy   2 points" in run.printed()


def test_counts_every_test_image_once(run):
    lines = [line for line in run.printed().splitlines() if " images: plain " in line]
    counts = {tuple(line.split(": ")[1].split(", ")): int(line.split()[0].replace(",", "")) for line in lines}
    assert sum(counts.values()) == 1000
    only = {
        name: network["only_this_one_right"]
        for name, network in run.result("training.json")["networks"].items()
    }
    assert only["feedback"] == counts["plain wrong", "stateful-synapse wrong", "feedback right"]
    assert only["plain"] == counts["plain right", "stateful-synapse wrong", "feedback wrong"]


def test_what_the_text_says_about_seeds_holds():
    group = json.loads((ROOT / "results" / "ablation.json").read_text())["groups"]["reproduction"]
    last = {case["kind"]: case["values"] for case in group if case["name"] == "64 epochs"}
    assert min(last["stateful-synapse"]) > max(last["plain"])
    assert min(last["feedback"]) < min(last["plain"])
    assert max(last["feedback"]) > max(last["plain"])
    peers = json.loads((ROOT / "results" / "peer_seeds.json").read_text())["test_accuracy_percent"]
    assert len(peers["snn_core"]) == 3
    assert peers["spikingjelly"] == peers["snn_core"]


def test_solutions_are_right(run):
    assert re.findall(r"Exercise (\S+): right\. ", run.printed()) == list(EXERCISES)


def test_what_the_text_says_about_the_collapse_and_its_cure_holds():
    training = json.loads((ROOT / "results" / "training.json").read_text())
    assert training["epochs"] == 64
    ends = {name: history[-1]["test_accuracy"] for name, history in training["cures"].items()}
    listing, clipped, through = ends
    assert round(ends[listing], 2) == 0.69
    assert 0.77 <= ends[through] < ends[clipped] < 0.785
    falls = training["largest_falls"]
    assert falls[listing] > 0.1 > falls[clipped]
    assert falls[through] < 0.005
    networks = {
        name: network["history"][-1]["test_accuracy"] for name, network in training["networks"].items()
    }
    assert networks["stateful-synapse"] > networks["plain"]


def test_with_the_best_recipes_the_stateful_synapse_lies_below():
    group = json.loads((ROOT / "results" / "ablation.json").read_text())["groups"]["best"]
    mean = {case["kind"]: case["accuracy"]["mean"] for case in group}
    assert mean["stateful-synapse"] < mean["plain"] < mean["feedback"]
