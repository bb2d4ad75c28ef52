from __future__ import annotations

import pytest
from support_notebooks import Run, quick_run

from snn_core.network import NETWORKS

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
