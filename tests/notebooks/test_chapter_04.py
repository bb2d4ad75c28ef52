from __future__ import annotations

import json
import re

import pytest
import torch
from support import ROOT
from support_notebooks import Run, committed, definitions, prose, quick_run

from sequential_fmnist.networks import NETWORKS, make_network
from sequential_fmnist.train import TrainingConfig, fit
from snn_tutorial.exercises.chapter_04 import EXERCISES
from snn_tutorial.probe import record

pytestmark = pytest.mark.xdist_group("chapter_04")

#: The listings of the text by the names of the package's networks.
LISTINGS = {"plain": "PlainNet", "stateful-synapse": "StatefulSynapseNet", "feedback": "FeedBackNet"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("04", tmp_path_factory.mktemp("chapter"))


@pytest.fixture(scope="module")
def result(run):
    return run.result("chapter_04.json")


@pytest.fixture(scope="module")
def full():
    """What the committed full run recorded."""
    return json.loads((ROOT / "results" / "chapter_04.json").read_text())


@pytest.fixture(scope="module")
def text() -> str:
    return prose(committed("04"))


def test_every_solution_is_right(run):
    assert re.findall(r"Exercise (\S+): right", run.printed()) == list(EXERCISES)


@pytest.mark.parametrize(("name", "listing"), LISTINGS.items())
def test_listings_are_the_packages_networks(run, name, listing):
    torch.manual_seed(0)
    ours, images = make_network(name), torch.rand(4, 1, 28, 28)
    theirs = definitions("04", listing)[listing]()
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(theirs(images), ours(images))
    assert re.search(rf"{name} +largest difference of a firing rate: 0\n", run.printed())


def test_signs_of_the_comparisons_are_as_the_text_says(run, text):
    """A minus marks what the plain network alone has; the text had it the other way round."""
    assert "A line with `-` is in the plain network only, a line with `+` in the other one only" in text
    nets = definitions("04", *LISTINGS.values())
    plain = str(nets["PlainNet"]()).splitlines()
    shown = [
        output["data"]["text/markdown"].splitlines()[1:-1]
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if output.get("data", {}).get("text/markdown", "").startswith("```diff")
    ]
    for listing, lines in zip(("StatefulSynapseNet", "FeedBackNet"), shown, strict=True):
        other = str(nets[listing]()).splitlines()
        assert {line[1:] for line in lines if line[0] == "-"} <= set(plain)
        assert {line[1:] for line in lines if line[0] == "+"} <= set(other)
        assert f"-{plain[0]}" in lines
        assert f"+{other[0]}" in lines
    # "nothing is taken away and one part is added"
    assert [line for line in shown[0] if line[0] == "-"] == [f"-{plain[0]}"]


def test_counts_every_parameter(run, result):
    assert result["parameters"] == {"plain": 1258, "stateful-synapse": 1259, "feedback": 3338}
    for line in (
        "928 + 330 = 1,258",
        "928 + 1 + 330 = 1,259",
        "928 + 2080 + 330 = 3,338",
        "sn1.0.rc.weight  32 x 64  2,048",
    ):
        assert line in run.printed()


def test_momentum_by_hand(run):
    rows = re.findall(
        r"step \d: g (\S+)  m (\S+)  w (\S+)  torch.optim's w (\S+)",
        run.printed(),
    )
    (g0, m0, w0, _), (g1, m1, w1, _), (g2, m2, w2, _) = ([float(cell) for cell in row] for row in rows)
    assert g0 != 0
    assert [m0, m1, m2] == pytest.approx([g0, 0.9 * g0 + g1, 0.81 * g0 + 0.9 * g1 + g2], abs=3e-6)
    assert [w1 - w0, w2 - w1] == pytest.approx([-0.1 * m1, -0.1 * m2], abs=3e-6)
    assert all(row[2] == row[3] for row in rows)


def test_three_ways_to_take_a_step_agree(result):
    batch = result["one_batch"]
    assert batch["largest_difference"] < 1e-5
    assert batch["before"][0] > batch["after_3"][0] > batch["after_100"][0]


def test_records_what_the_package_says(result, embedded):
    train, test = embedded
    net, history = fit(TrainingConfig(model="feedback", epochs=1, seed=0), train, test, progress=False)
    images = test.images[:1000].float() / 255
    assert result["test_accuracy"]["feedback"] == pytest.approx(history[-1]["test_accuracy"], abs=0.01)
    rate = record(net, images).hidden_spikes.mean().item()
    assert result["rates"]["feedback"]["hidden"] == pytest.approx(rate, rel=0.01)


class TestWhatTheTextSaysOfTheFullRun:
    def test_it_is_the_full_data(self, full):
        assert not full["is_subset"]
        assert full["provenance"]["torch"]

    def test_only_the_synapse_carries_the_image_through_a_blank(self, full, text):
        blank = {name: part["blank"] for name, part in full["accuracy_in_a_blank_half"].items()}
        assert blank["stateful-synapse"] > 0.4
        assert max(blank["plain"], blank["feedback"]) < 0.25
        seeing = full["accuracy_in_a_blank_half"]["stateful-synapse"]["seeing"]
        assert (
            blank["stateful-synapse"] > 0.75 * seeing
        )  # "still knows most of the images that it knew before"
        for share in (*blank.values(), seeing):
            assert f"{100 * share:.1f} %" in text

    def test_a_hundred_steps_on_one_batch(self, full, text):
        assert 0.08 < full["one_batch"]["after_3"][1] < 0.12  # "still about that of guessing"
        for share in (full["one_batch"]["after_100"][1], full["one_batch"]["test_accuracy_after_100"]):
            assert f"{100 * share:.1f} %" in text
            assert share > 0.4

    def test_read_out_rates_are_close_to_a_tenth(self, full):
        rates = full["rates"]
        assert all(abs(rate["read-out"] - 0.1) < 0.015 for rate in rates.values())

    def test_hidden_spikes(self, full, text):
        rates = {name: rate["hidden"] for name, rate in full["rates"].items()}
        assert rates.keys() == NETWORKS.keys()
        for name, rate in rates.items():
            assert f"{896 * rate:.0f} spikes ({name})" in text
        assert f"fire {rates['feedback'] / rates['plain']:.1f} times as often" in text
