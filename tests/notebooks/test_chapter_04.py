from __future__ import annotations

import json
import math
import re

import pytest
import torch
from support import ROOT
from support_notebooks import Run, definitions, quick_run

from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.training import fit
from snn_tutorial.probe import gradient_by_column, record

pytestmark = pytest.mark.xdist_group("chapter_04")


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


def test_counts_every_parameter(run, result):
    assert result["parameters"] == {"plain": 1258, "stateful-synapse": 1259, "feedback": 3338}
    for line in (
        "928 + 330 = 1,258",
        "928 + 1 + 330 = 1,259",
        "928 + 2080 + 330 = 3,338",
        "sn1.0.rc.weight  32 x 64  2,048",
    ):
        assert line in run.printed()


def test_nothing_moves_with_the_true_derivative(result):
    honest, surrogate = result["twenty_steps"]["TrueDerivative"], result["twenty_steps"]["ATan"]
    assert honest["norm"] == honest["moved"] == 0
    assert len(set(honest["losses"])) == 1
    assert surrogate["norm"] > 0.01
    assert surrogate["losses"][0] == honest["losses"][0]
    assert surrogate["losses"][-1] < 0.98 * surrogate["losses"][0]


def test_true_derivative_is_a_step_forward_and_nothing_backward():
    x = torch.tensor([-0.5, 0.0, 0.7], requires_grad=True)
    spikes = definitions("04", "TrueDerivative")["TrueDerivative"](alpha=1.0)(x)
    spikes.sum().backward()
    assert spikes.tolist() == [0, 1, 1]
    assert x.grad.tolist() == [0, 0, 0]


def test_loss_is_a_staircase(run):
    values, losses = re.search(
        r"(\d+) values of the weight give (\d+) values of the loss", run.printed()
    ).groups()
    assert int(values) == 1001
    assert 1 < int(losses) < 100


def test_detach_reset_by_hand(run):
    for h, spike in ((0.9, 0), (1.2, 1)):
        attached = 1 - spike - h / (1 + (math.pi * (h - 1)) ** 2)
        for detach, slope in ((True, 1 - spike), (False, attached)):
            number = f"{slope:7.4f}"
            line = f"h = {h}: spike {spike}, detach_reset={detach!s:5} dv/dh {number}, formula {number}"
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
    images, labels = test.images[:1000].float() / 255, test.labels[:1000]
    assert result["test_accuracy"]["feedback"] == pytest.approx(history[-1]["test_accuracy"], abs=0.01)
    rate = record(net, images).hidden_spikes.mean().item()
    assert result["rates"]["feedback"]["hidden"] == pytest.approx(rate, rel=0.01)
    norms = gradient_by_column(net, images, labels).mean(1)
    assert result["gradient_by_column"]["feedback"] == pytest.approx(norms.tolist(), rel=0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cut_changes_only_what_lies_before_it(run, result, name):
    whole, cut = result["gradient_by_column"][name], result["gradient_by_column_cut"][name]
    assert cut[14:] == pytest.approx(whole[14:], rel=0.01)
    assert cut[13] < 0.5 * whole[13]
    assert re.search(rf"{name} +G\[0\] 0\.0000  G\[13\] 0\.0000  G\[14\] 0\.0[1-9]", run.printed())


class TestWhatTheTextSaysOfTheFullRun:
    def test_it_is_the_full_data(self, full):
        assert not full["is_subset"]
        assert full["provenance"]["torch"]

    def test_only_the_synapse_carries_the_image_through_a_blank(self, full):
        blank = {name: part["blank"] for name, part in full["accuracy_in_a_blank_half"].items()}
        assert blank["stateful-synapse"] > 0.4
        assert max(blank["plain"], blank["feedback"]) < 0.25

    def test_all_surrogates_train(self, full):
        assert min(full["surrogate_accuracy"].values()) > 0.3

    def test_the_median_gradient_vanishes_without_a_synapse(self, full):
        median = {name: reach["median"] for name, reach in full["reach"].items()}
        assert max(median["plain"], median["feedback"]) < 0.3
        assert median["stateful-synapse"] > 1

    def test_a_larger_recurrent_matrix_sends_more_back(self, full):
        growth = [full["growth_by_scale_of_w_y"][scale] for scale in ("0", "1", "2", "4", "8")]
        assert growth == sorted(growth)
        assert growth[-1] > 100 * growth[0] > 100

    def test_one_step_of_the_feedback_network_goes_too_far(self, full):
        longest = full["longest_step"]
        beyond = {name: step["norm"] / step["median norm"] for name, step in longest.items()}
        assert max(beyond["plain"], beyond["stateful-synapse"]) < 6
        assert max(longest["plain"]["step"], longest["stateful-synapse"]["step"]) < 10
        assert beyond["feedback"] > 20
        assert longest["feedback"]["after"] < longest["feedback"]["before"] - 0.1
        assert longest["feedback"]["largest G[0]"] > 10 * longest["stateful-synapse"]["largest G[0]"]
        assert full["test_accuracy"]["feedback"] > longest["feedback"]["after"] + 0.1  # it recovers
