"""Which run is shipped, and what is written of it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.experiments import ship as shipping
from sequential_fmnist.experiments.ablation import ABLATION
from sequential_fmnist.experiments.frame import Case, Spec, execute
from sequential_fmnist.experiments.images import ImageTask
from sequential_fmnist.experiments.ship import median, ship
from sequential_fmnist.pretrained import CARDS, load
from sequential_fmnist.train import TrainingConfig
from sequential_fmnist.variants import NetworkSpec

pytestmark = pytest.mark.xdist_group("ship")

#: With batch normalisation, so that what is shipped has to be folded.
NORM = {"readout": "membrane", "scale": 10.0, "batch_norm": True, "hidden": 16}
RECIPE = TrainingConfig(epochs=1, opt="adam", lr=0.01, loss="cross-entropy")


@pytest.fixture(scope="module")
def case() -> Case:
    spec = Spec(NetworkSpec("feedback", **NORM), ImageTask(source="embedded"), RECIPE)
    return Case("best recipe", "feedback", spec, 4)


@pytest.fixture(scope="module")
def shipped(case, tmp_path_factory):
    """The folder that ship wrote, its store, and the card."""
    folder = tmp_path_factory.mktemp("shipped")
    store = ABLATION.store(folder)
    for spec in case.runs():
        store.add(execute(spec))
    card = ship(case, store, folder / "pretrained")
    return folder / "pretrained", store, card


@pytest.mark.parametrize(
    ("accuracies", "seed"),
    [([0.8], 0), ([0.7, 0.9, 0.8], 2), ([0.9, 0.7, 0.8, 0.6], 1), ([0.8, 0.8, 0.8, 0.8], 1), ([0.9, 0.7], 1)],
)
def test_median_by_hand(accuracies, seed):
    records = [{"seed": number, "accuracy": accuracy} for number, accuracy in enumerate(accuracies)]
    assert median(records)["seed"] == median(records[::-1])["seed"] == seed
    records[0]["accuracy"] = None
    with pytest.raises(ValueError, match=r"seeds \[0\] failed"):
        median(records)


def test_shipped_weights_are_those_of_the_median_run(case, shipped, embedded):
    folder, store, card = shipped
    assert sorted(path.name for path in folder.iterdir()) == [CARDS, "feedback.safetensors"]
    net, loaded_card = load("feedback", folder)
    assert loaded_card == card
    records = store.records()
    accuracies = [records[spec.key()]["accuracy"] for spec in case.runs()]
    middle = sorted(accuracies)[1]
    accuracy = card["accuracy"]
    assert accuracy["test"] == accuracy["recorded"] == middle
    assert accuracies[accuracy["seed"]] == middle
    assert accuracy["seeds"] == 4
    assert accuracy["mean"] == pytest.approx(sum(accuracies) / 4)
    assert accuracy["low"] < accuracy["mean"] < accuracy["high"]
    assert evaluate(net, embedded[1], 1000)[1] == middle
    assert NetworkSpec(**card["trained_as"]) == case.spec.network
    assert TrainingConfig(**card["training"]) == dataclasses.replace(RECIPE, seed=accuracy["seed"])
    assert card["parameters"] == 28 * 16 + 16 + 2 * 16 * 16 + 16 + 170


def test_the_command_writes_the_same_bytes_and_keeps_other_cards(
    case, shipped, tmp_path, monkeypatch, capsys
):
    folder, store, card = shipped
    monkeypatch.setattr(shipping, "shipped", lambda: [case])
    (tmp_path / CARDS).write_text(json.dumps({"feedback": "old", "plain": {"file": "kept"}}))
    shipping.main(store.path.parent, tmp_path)
    assert f"feedback: seed {card['accuracy']['seed']}, test accuracy" in capsys.readouterr().out
    assert json.loads((tmp_path / CARDS).read_text()) == {"plain": {"file": "kept"}, "feedback": card}
    assert (tmp_path / card["file"]).read_bytes() == (folder / card["file"]).read_bytes()


def test_missing_runs_are_named(case, shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "shipped", lambda: [case])
    ABLATION.store(tmp_path).add(shipped[1].records()[case.runs()[0].key()])
    with pytest.raises(SystemExit, match=r"error: 3 of 4 runs of feedback are not in .*make ablation"):
        shipping.main(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
