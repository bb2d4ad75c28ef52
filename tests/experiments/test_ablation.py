"""The study of chapter 07: what images are shown, what a run keeps, what the committed runs say, published figures."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import pytest
import torch
from support import ROOT

from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.experiments import images
from sequential_fmnist.experiments.ablation import ABLATION, MATCHED
from sequential_fmnist.experiments.evidence import interval, verdict_table
from sequential_fmnist.experiments.frame import Spec, execute, key_of, one_thread
from sequential_fmnist.experiments.images import ImageTask, hidden_spikes
from sequential_fmnist.train import TrainingConfig, set_seed
from sequential_fmnist.variants import NetworkSpec
from snn_core.functional import reset_net

pytestmark = pytest.mark.xdist_group("experiments")

RESULTS = ROOT / "results"
PUBLISHED = json.loads((RESULTS / "published.json").read_text())
QUICK = ImageTask(source="embedded")


# One run


def test_a_run_keeps_what_it_says(embedded):
    spec = Spec(NetworkSpec("feedback"), QUICK, TrainingConfig(epochs=1, seed=1))
    record = execute(spec)
    with one_thread():
        set_seed(1)
        net, history = QUICK.train(spec.network.build(), spec.training)
    test = embedded[1]
    spikes = hidden_spikes(net, test.images.float() / 255).sum().item() / len(test)
    reset_net(net)
    assert record["key"] == spec.key() == key_of(record["spec"], 1)
    assert (record["seed"], record["parameters"]) == (1, 3338)
    assert record["accuracy"] == evaluate(net, test)[1] == history[-1]["test_accuracy"]
    assert record["curve"] == [round(history[-1]["test_accuracy"], 4)]
    assert record["train_accuracy"] == history[-1]["train_accuracy"]
    assert record["spikes"] == pytest.approx(spikes)
    assert spikes > 1


def test_batch_normalisation_is_folded_away_and_a_learned_tau_is_kept():
    network = NetworkSpec("stateful-synapse", batch_norm=True, readout="leaky")
    record = execute(Spec(network, QUICK, TrainingConfig(epochs=1)))
    assert record["parameters"] == 1260
    assert record["accuracy"] == pytest.approx(record["curve"][-1], abs=0.002)  # rounding may move a spike
    assert record["tau of the synapse"] != 2 != record["tau of the read-out"]


def test_a_run_that_diverges_is_kept_as_one_that_failed():
    network = NetworkSpec(readout="membrane", scale=1e40)  # infinite in fp32
    record = execute(Spec(network, QUICK, TrainingConfig(epochs=1, loss="cross-entropy")))
    assert record["accuracy"] is None
    assert "is not finite" in record["error"]


# What is shown


class Numbered:
    """100 training images and 30 test images, each of which can be told from the others."""

    loaded: list[bool]

    def __init__(self, train, **options):
        self.loaded.append(train)
        n = 100 if train else 30
        self.labels = torch.arange(n) + (0 if train else 1000)
        self.images = self.labels.view(n, 1, 1, 1).expand(n, 1, 28, 28)

    def __len__(self):
        return len(self.labels)


@pytest.fixture
def numbered(monkeypatch):
    monkeypatch.setattr(Numbered, "loaded", [], raising=False)
    monkeypatch.setattr(images, "SequentialFashionMNIST", Numbered)
    return Numbered.loaded


def split(task: ImageTask):
    return ImageTask.splits.__wrapped__(task)  # past the cache


def test_validation_images_are_not_trained_on_and_the_test_set_is_never_loaded(numbered):
    train_part, held = split(ImageTask(split="validation"))
    assert numbered == [True]
    assert (len(train_part), len(held)) == (90, 10)
    assert sorted(torch.cat([train_part.labels, held.labels]).tolist()) == list(range(100))
    for part in (train_part, held):
        assert torch.equal(part.images[:, 0, 0, 0], part.labels)
    again = split(ImageTask(split="validation", delay=3))[1]
    assert torch.equal(again.labels, held.labels)  # the same images whatever is done to them
    assert not torch.equal(held.labels.sort().values, torch.arange(10))
    train_part, test = split(ImageTask())
    assert torch.equal(train_part.labels, torch.arange(100))
    assert torch.equal(test.labels, torch.arange(30) + 1000)


def test_rows_blank_columns_and_permuted_ones(embedded):
    for given, data in zip(embedded, split(dataclasses.replace(QUICK, delay=5)), strict=True):
        assert torch.equal(data.images[..., :28], given.images)
        assert data.images.shape[-1] == 33 and not data.images[..., 28:].any()
        assert torch.equal(data.labels, given.labels)
    assert torch.equal(
        split(dataclasses.replace(QUICK, order="row"))[1].images, embedded[1].images.transpose(2, 3)
    )
    assert split(dataclasses.replace(QUICK, standardise=True))[1].mean == 0.286
    parts, orders = split(dataclasses.replace(QUICK, permuted=True)), []
    for given, data in zip(embedded, parts, strict=True):
        columns, permuted = (one.images[:200].permute(3, 0, 1, 2).flatten(1) for one in (given, data))
        same = (permuted.unsqueeze(1) == columns.unsqueeze(0)).all(2)
        assert torch.equal(same.sum(0), torch.ones(28, dtype=torch.int64))
        orders.append(same.int().argmax(1))
    assert torch.equal(*orders)
    assert (orders[0] != torch.arange(28)).sum() > 20


# The study


def test_every_case_has_a_name_seeds_and_keys_of_its_own():
    for group in ABLATION.groups.values():
        assert group.__doc__
        members = list(group({}))
        assert len({(case.kind, case.name) for case in members}) == len(members)
        for case in members:
            assert case.kind == case.spec.network.model
            assert len({spec.key() for spec in case.runs()}) == case.seeds >= 1
    counts = [
        sum(p.numel() for p in spec.build().parameters())
        for spec in (NetworkSpec("plain", hidden=MATCHED), NetworkSpec("feedback"))
    ]
    assert counts == [3364, 3338]


def test_verdicts_and_intervals():
    each = {
        "gain": {"mean": 0.02, "low": 0.015, "high": 0.025},
        "above": 0.96,
        "p_holm": 1e-5,
        "decided": True,
    }
    found = {"b over a": each, "c over a": each | {"decided": False, "p_holm": 0.2}}
    rows = verdict_table(found).splitlines()[2:]
    assert [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows] == [
        ["b over a", "+2.0 [+1.5, +2.5]", "96 %", "< 0.001", "a gain"],
        ["c over a", "+2.0 [+1.5, +2.5]", "96 %", "0.200", "undecided"],
    ]
    of_ten = {"mean": 0.725, "low": 0.72, "high": 0.73, "n": 10}
    assert interval(of_ten) == "72.5 [72.0, 73.0]"
    assert interval(of_ten | {"n": 2}) == "72.5"
    assert interval({"mean": 1234.4, "low": 1200, "high": 1300, "n": 5}, 1, 0) == "1,234 [1,200, 1,300]"


# What is committed


def test_no_committed_run_is_on_the_subset():
    for record in ABLATION.store(RESULTS).records().values():
        assert record["provenance"]["torch"]
        assert record["spec"]["task"]["source"] == "full"


def test_feedback_of_64_epochs_falls_and_ends_unlike_ours_with_the_same_cut():
    records = ABLATION.store(RESULTS).records()
    falls, ends = {}, {}
    for case in ABLATION.groups["reset"]({}):
        if case.kind == "feedback" and case.name.startswith("64 epochs"):
            curves = [records[spec.key()]["curve"] for spec in case.runs()]
            cut = case.name.removeprefix("64 epochs, ")
            falls[cut] = [max(a - b for a, b in pairwise(curve)) for curve in curves]
            ends[cut] = [curve[-1] for curve in curves]
    run = PUBLISHED["runs"]["64 epochs"]
    assert max(falls["cut nowhere"]) < 0.025 < run["largest_fall"]["feedback"]
    assert run["largest_fall"]["feedback"] < 0.12 < min(falls["cut in the hidden layer"])
    assert max(ends["cut in the hidden layer"]) < run["right"]["feedback"] / run["images"]
