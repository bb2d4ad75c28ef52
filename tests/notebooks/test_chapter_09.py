from __future__ import annotations

import math

import pytest
import torch
from support_notebooks import definitions
from torch import nn

from snn_core.functional import explain
from snn_core.layer import MultiStepContainer
from snn_tutorial.exercises.chapter_09 import EXERCISES


def test_every_way_gives_the_loop_s_spikes(run):
    printed = run.printed()
    assert printed.count("spikes equal: True\n") == 2
    assert printed.count("differences up to") == 4 * 2  # in the text and in the last solution
    assert "a mean over neurons  kernels do not know .mean of a tensor\n" in printed


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


def test_wrong_neurons_are_told_apart():
    small = definitions("09", "SmallNeuron")["SmallNeuron"]
    assert "spikes" in EXERCISES["09.3"].reply(small())[1]
    assert "Hint" in EXERCISES["09.3"].reply(nn.ReLU())[1]


def test_wrong_backward_passes_are_told_apart():
    def leaky(h, s, slope, g_s, tau, to_x=1.0):
        g_x, g_v = torch.empty_like(h), torch.zeros_like(h[0])
        for t in reversed(range(len(h))):
            g_h = g_s[t] * slope[t] + g_v * (1 - s[t])
            g_x[t], g_v = to_x * g_h, g_h * (1 - 1 / tau)
        return g_x

    assert "divided by tau too" in EXERCISES["09.2"].reply(leaky)[1]
    assert EXERCISES["09.2"].reply(lambda *of: leaky(*of, to_x=1 / of[-1]))[0]
