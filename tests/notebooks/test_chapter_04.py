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
    assert result["rates"]["feedback"]["hidden"] == pytest.approx(rate, rel=0.01)


class TestWhatTheChapterSaysOfTheFullRun:
    def test_output_rates_are_close_to_a_tenth_and_many_images_are_wrong(self, full):
        assert not full["is_subset"]
        assert all(abs(rate["output"] - 0.1) < 0.015 for rate in full["rates"].values())
        assert max(max(values) for values in full["test_accuracy"].values()) < 0.7

    def test_only_the_synapse_carries_the_image_through_a_blank(self, full):
        left = full["blank_half"]
        assert left["stateful-synapse"]["kept"] > 0.5
        for other in ("plain", "feedback"):
            assert left[other]["blank"] < 0.3 < left["stateful-synapse"]["blank"]
            assert left[other]["kept"] < 0.4

    def test_currents_matter_most_and_potentials_add_to_them(self, full):
        left = full["blank_half"]
        without = {
            part: left[f"without {part}"] for part in ("currents", "hidden potentials", "output potentials")
        }
        assert min(without, key=without.get) == "currents"
        assert max(without.values()) < left["without nothing"] == left["stateful-synapse"]["blank"]
