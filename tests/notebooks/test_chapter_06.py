from __future__ import annotations

import math
import re

import pytest
import torch
from support_notebooks import definitions

from sequential_fmnist.data import DataError
from sequential_fmnist.experiments import collapse
from sequential_fmnist.networks import make_network
from snn_core.functional import reset_net
from snn_tutorial.exercises.chapter_06 import EXERCISES


def test_mistakes_in_the_matrix_are_named():
    eye, shear = torch.eye(32), torch.zeros(32, 32)
    shear[0, 1] = 5
    for answer, why in (
        (-eye, "diagonal"),
        (shear, "eigenvalues"),
        (eye.roll(1, 0), "I \\+ W_y"),
        (0 * eye, "0.5"),
    ):
        is_right, said = EXERCISES["06.4"].reply(answer)
        assert not is_right
        assert re.search(why, said)


def test_nothing_moves_with_the_true_derivative(result):
    true, surrogate = result["twenty_steps"].values()
    assert true["moved"] == 0 < surrogate["moved"]
    assert surrogate["losses"][-1] < true["losses"][-1] == true["losses"][0]


def test_detach_reset_by_hand(run):
    (answer,) = (cell.outputs[0]["data"]["text/html"] for cell in run.notebook.cells if cell.id == "c06c0022")
    for h, spike in ((0.9, 0), (1.2, 1)):
        attached = 1 - spike - h / (1 + (math.pi * (h - 1)) ** 2)
        for detach, slope in ((True, 1 - spike), (False, attached)):
            number = f"{slope:7.4f}"
            line = f"h = {h}: spike {spike}, detach_reset={detach!s:5} dv/dh {number}, formula {number}"
            assert line in answer


@pytest.mark.parametrize("cut", [True, False])
def test_factors_of_the_feedback_network_are_autograds(cut):
    torch.manual_seed(0)
    net, images = make_network("feedback"), torch.rand(1, 1, 28, 28)
    net.sn1[0].sub_module.detach_reset = cut
    node, rc = net.sn1[0].sub_module, net.sn1[0].rc
    factors = definitions("06", "step_factors")["step_factors"](net, images, cut)
    h = definitions("06", "probe")["probe"].trace(net.sn1[0], net.fc1(images[:, 0].permute(2, 0, 1))).h

    def next_h(h):
        reset_net(net)
        s = node(h)
        return node.v + rc(torch.cat((torch.zeros_like(h), s), -1))

    for t in (0, 5, 20):
        expected = torch.autograd.functional.jacobian(next_h, h[t, 0].detach())
        assert torch.allclose(factors[t, 0], expected, atol=1e-5)


def test_one_update_loses_a_third_and_each_cure_prevents_it(result):
    before, after = result["one_update"]["before"], result["after_one_update"]
    assert result["one_update"]["norm"] > 10
    assert max(after["perturbed"] + after["as is"]) < before - 0.2
    for cure in ("clipped", "rule", "attached"):
        assert after[cure][0] > before - 0.04
    first, second = result["norm_of_each"][:2]
    assert first > 0.99 * result["one_update"]["norm"] > 100 * second


def test_a_damaged_state_is_refused(tmp_path, monkeypatch):
    content = bytearray(collapse.PATH.read_bytes())
    content[-1] ^= 1
    (tmp_path / "collapse.npz").write_bytes(content)
    monkeypatch.setattr(collapse, "PATH", tmp_path / "collapse.npz")
    with pytest.raises(DataError, match="expected SHA-256"):
        collapse.load()


class TestFullRun:
    def test_gradients_vanish_in_the_plain_network_and_not_past_a_synapse(self, full):
        assert not full["is_subset"]
        median = {name: reach["median"] for name, reach in full["reach"].items()}
        assert max(median["plain"]) < 0.4 < 1 < min(median["stateful-synapse"])

    def test_the_cut_sends_more_back(self, full):
        cut, attached = (full["stretch_over_27_steps"][name] for name in ("cut", "attached"))
        assert cut["largest"] > 10 * attached["largest"]

    def test_large_updates_do_harm_with_the_cut_and_random_ones_do_not(self, full):
        cut, _, attached = full["worst_change"].values()
        assert min(cut) < -10 < min(attached)
        assert min(full["worst_change_of_random_updates"]["cut"]) > min(cut)
