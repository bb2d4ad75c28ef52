from __future__ import annotations

import re

import pytest
import torch
from support_notebooks import definitions

from sequential_fmnist.networks import make_network
from sequential_fmnist.train import TrainingConfig, fit
from snn_tutorial.probe import record

#: SpikingJelly's listings by the names of the package's networks.
LISTINGS = {"plain": "Net", "stateful-synapse": "StatefulSynapseNet", "feedback": "FeedBackNet"}


def test_solutions_are_right(run):
    (equal,) = re.findall(r"([\d.]+)% of the firing rates are equal", run.printed())
    assert float(equal) > 99


@pytest.mark.parametrize(("name", "listing"), LISTINGS.items())
def test_listings_are_the_packages_networks(run, name, listing):
    torch.manual_seed(0)
    ours, images = make_network(name), torch.rand(4, 1, 28, 28)
    theirs = definitions("04", listing)[listing]()
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(theirs(images), ours(images))
    assert re.search(rf"{name} +largest difference of a firing rate: 0\n", run.printed())


def test_prints_every_parameter(run):
    for line in (
        "plain: 1,258 parameters",
        "stateful-synapse: 1,259 parameters",
        "feedback: 3,338 parameters",
        "sn1.0.rc.weight  32 x 64  2,048",
    ):
        assert line in run.printed()


def test_a_step_lowers_the_loss(run):
    losses = [float(loss) for loss in re.findall(r"step \d: loss ([\d.]+)", run.printed())]
    assert losses == sorted(losses, reverse=True)


def test_records_what_the_package_says(result, embedded):
    train, test = embedded
    torch.manual_seed(0)
    history = fit(net := make_network("feedback"), train, test, TrainingConfig(epochs=1), progress=False)
    images = test.images[:1000].float() / 255
    assert result["test_accuracy"]["feedback"][0] == pytest.approx(history[-1]["test_accuracy"], abs=0.01)
    rate = record(net, images).hidden_spikes.mean().item()
    assert result["rates"]["feedback"][0]["hidden"] == pytest.approx(rate, rel=0.01)


class TestWhatTheChapterSaysOfTheFullRun:
    def test_without_its_loop_the_network_answers_coat(self, full):
        cut = full["cut"]
        assert [round(100 * share, 1) for share in cut["right"].values()] == [84.8, 35.1, 81.5]
        assert max(cut["answers"]["loop cut"]) == cut["answers"]["loop cut"][4] > 4000
        assert max(cut["answers"]["with its loop"]) < 1100

    def test_output_rates_are_close_to_a_tenth_and_many_images_are_wrong(self, full):
        assert not full["is_subset"]
        rates = full["rates"]
        assert all(abs(rate["output"] - 0.1) < 0.015 for many in rates.values() for rate in many)
        most = max(rate["hidden"] for name in ("plain", "stateful-synapse") for rate in rates[name])
        assert min(rate["hidden"] for rate in rates["feedback"]) > most
        assert max(max(values) for values in full["test_accuracy"].values()) < 0.7
        assert [value < 0.5 for value in full["test_accuracy"]["feedback"]] == [False, True, False]

    def test_only_the_synapse_carries_the_image_through_a_blank(self, full):
        left = full["blank_half"]
        others = [share for name in ("plain", "feedback") for share in left[name]["blank"]]
        assert max(others) < 0.3 < min(left["stateful-synapse"]["blank"])

    def test_currents_are_needed_most(self, full):
        without = full["without"]
        for s in range(3):
            shares = {part: values[s] for part, values in without.items()}
            assert max(shares, key=shares.get) == "nothing"
        assert min(without, key=lambda part: sum(without[part])) == "currents"
