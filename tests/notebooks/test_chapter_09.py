from __future__ import annotations

import math

import pytest
import torch
from support_notebooks import definitions
from torch import nn

from sequential_fmnist.networks import TUTORIAL_NETWORKS
from snn_core.functional import explain
from snn_core.layer import MultiStepContainer
from snn_tutorial.exercises.chapter_09 import EXERCISES
from snn_tutorial.plot.kernels import STEPS


def test_counts_of_the_loop_grow_with_t_and_those_of_the_fused_scan_do_not(full):
    loop, fused = (full["counts"][name] for name in ("loop", "fused scan"))
    assert [found["nodes"] for found in loop] == [4 * found["T"] + 2 for found in loop]
    assert {found["nodes"] for found in fused} == {2}
    assert {found["bytes_kept"] for found in loop} == {8}
    assert [16 < found["bytes_kept"] < 24 for found in fused] == [True, True, False]
    assert fused[2]["bytes_kept"] == 4


def test_every_way_gives_the_loop_s_numbers(run, result):
    differences = result["largest_differences"]
    assert differences.pop("by hand") == differences.pop("recorded program") == 0
    assert list(differences) == [f"{name}, {way}" for name in TUTORIAL_NETWORKS for way in list(STEPS)[1:]]
    assert max(differences.values()) < 1e-15
    assert result["same_output"] is result["same_bits"] is True
    assert result["different_sums"] > 1
    assert result["scans"] == 4
    printed = run.printed()
    assert printed.count("spikes equal: True\n") == 2
    assert printed.count("differences up to") == 8
    assert "a hook               it has hooks\n" in printed


def test_small_neuron_on_three_steps_worked_out_on_paper():
    # h = 0.6, 1.2, 0.6 and s = 0, 1, 0. ATan with alpha 2: g'(u) = 1 / (1 + (pi u)^2). The loss is the sum of spikes.
    far, near = 1 / (1 + (0.4 * math.pi) ** 2), 1 / (1 + (0.2 * math.pi) ** 2)
    written = definitions("09", "ByHand", "SmallNeuron")
    x_seq = torch.full((3, 1), 0.6, dtype=torch.float64, requires_grad=True)
    for s_seq in (written["ByHand"].apply(x_seq), written["SmallNeuron"]().forward_sequence(x_seq)):
        assert s_seq.flatten().tolist() == [0, 1, 0]
        (gradient,) = torch.autograd.grad(s_seq.sum(), x_seq)
        assert gradient.flatten().tolist() == pytest.approx([far + near, near, far], rel=1e-12)
    (found,) = explain(MultiStepContainer(written["SmallNeuron"]()), torch.rand(2, 1, 1))
    assert found.fused


def test_times_are_in_the_order_that_the_page_says(full):
    """Orders only, and those of the committed page: times of a short run would prove nothing."""
    loop, by_hand, fused = (full["seconds"][name] for name in ("loop", "by hand", "fused scan"))
    assert all(a > b > c for a, b, c in zip(loop, by_hand, fused, strict=True))
    gains = [row[3] / row[4] for row in full["sizes"]]
    assert all(small > large for small, large in zip(gains[::2], gains[1::2], strict=True))
    for networks in full["step_milliseconds"].values():
        for ways in networks.values():
            assert sorted(ways.values(), reverse=True) == list(ways.values())
    small, large = (full["step_milliseconds"][size]["plain"] for size in ("32", "256"))
    assert all(
        large[way] < 4.5 * small[way] for way in list(STEPS)[:3]
    )  # more than half is there for any batch
    kept, again, forward = full["recomputed_seconds"].values()
    few, many = map(int, full["kept_bytes"])
    assert many == few + 16
    assert again / many - kept / few < 1.5 * forward / many


def test_one_more_block_is_recomputed(result):
    few, many = result["kept_bytes"].values()
    assert 7 < few / many < 9


def test_wrong_neurons_are_told_apart():
    small = definitions("09", "SmallNeuron")["SmallNeuron"]
    assert "spikes" in EXERCISES["09.4"].reply(small())[1]
    assert "Hint" in EXERCISES["09.4"].reply(nn.ReLU())[1]


def test_wrong_backward_passes_are_told_apart():
    def leaky(h, s, slope, g_s, tau, to_x=1.0):
        g_x, g_v = torch.empty_like(h), torch.zeros_like(h[0])
        for t in reversed(range(len(h))):
            g_h = g_s[t] * slope[t] + g_v * (1 - s[t])
            g_x[t], g_v = to_x * g_h, g_h * (1 - 1 / tau)
        return g_x

    assert "divided by tau too" in EXERCISES["09.3"].reply(leaky)[1]
    assert EXERCISES["09.3"].reply(lambda *of: leaky(*of, to_x=1 / of[-1]))[0]
