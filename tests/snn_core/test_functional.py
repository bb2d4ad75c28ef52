"""Pure step functions against trajectories worked out by hand, and what is done to whole networks.

The numbers in the tables are sums of powers of two, so they are exact and compared without a tolerance.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support_networks import if_step
from torch import nn

from snn_core import functional
from snn_core.functional import reset_net, synapse_filter_step
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import IFNode
from snn_core.surrogate import Sigmoid

LIF = partial(if_step, tau=4.0, decay_input=True)
LIF_WHOLE_INPUT = partial(if_step, tau=4.0, decay_input=False)

# step, v_reset, inputs x[t], spikes s[t], potentials v[t]; the potentials h[t] before the spike are for the reader.
# v[-1] is v_reset, or 0 for the soft reset; the threshold is 1, and it is enough to reach it.
TRAJECTORIES = [
    # h = v + x
    pytest.param(
        if_step, 0.0, [0.75, 0.5, 0.25, -0.5, 1.75],
        # h: 0.75, 1.25, 0.25, -0.25, 1.5
        [0, 1, 0, 0, 1], [0.75, 0, 0.25, -0.25, 0], id="IF-hard",
    ),
    pytest.param(
        if_step, None, [0.75, 0.5, 0.25, -0.5, 1.75],
        # h: 0.75, 1.25, 0.5, 0, 1.75
        [0, 1, 0, 0, 1], [0.75, 0.25, 0.5, 0, 0.75], id="IF-soft",
    ),
    # h = v + (x - (v - v_rest)) / 4 = 0.75 v + 0.25 x + 0.25 v_rest
    pytest.param(
        LIF, -0.5, [3, 2, 4, 1, 5],
        # h: -0.375 + 0.75 - 0.125, 0.1875 + 0.5 - 0.125, 0.421875 + 1 - 0.125, -0.375 + 0.25 - 0.125,
        #    -0.1875 + 1.25 - 0.125
        [0, 0, 1, 0, 0], [0.25, 0.5625, -0.5, -0.25, 0.9375], id="LIF-hard-to-minus-one-half",
    ),
    # h = v - (v - v_rest) / 4 + x = 0.75 v + 0.25 v_rest + x
    pytest.param(
        LIF_WHOLE_INPUT, None, [0.75, 0.5, -0.25, 0.5, 1],
        # h: 0.75, 1.0625, 0.046875 - 0.25, -0.15234375 + 0.5, 0.2607421875 + 1
        [0, 1, 0, 0, 1], [0.75, 0.0625, -0.203125, 0.34765625, 0.2607421875], id="LIF-whole-input-soft",
    ),
]  # fmt: skip


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize(("step", "v_reset", "x_seq", "expected_s", "expected_v"), TRAJECTORIES)
def test_trajectory_worked_out_by_hand(step, v_reset, x_seq, expected_s, expected_v, detach_reset):
    v = torch.tensor(v_reset or 0.0)
    s_seq, v_seq = [], []
    for x in x_seq:
        s, v = step(
            torch.tensor(float(x)),
            v,
            v_threshold=1.0,
            v_reset=v_reset,
            surrogate_function=Sigmoid(),
            detach_reset=detach_reset,
        )
        s_seq.append(s.item())
        v_seq.append(v.item())
    assert s_seq == expected_s
    assert v_seq == expected_v


# tau = 4: the current loses a quarter of itself, but not in a step that brings a spike. A plain low-pass would
# have 0.75 * 0.5625 + 1 in the fourth step. Half a spike halves the decay: 1.171875 * (1 - 0.5 / 4) + 0.5.
def test_synapse_filter_worked_out_by_hand():
    i = torch.tensor(0.0)
    i_seq = []
    for s in [1.0, 0.0, 0.0, 1.0, 0.0, 0.5]:
        i = synapse_filter_step(torch.tensor(s), i, inv_tau=0.25)
        i_seq.append(i.item())
    assert i_seq == [1, 0.75, 0.5625, 1.5625, 1.171875, 1.525390625]


def test_states_are_named_by_their_place():
    net = nn.Sequential(LinearRecurrentContainer(IFNode(), 4, 4), SynapseFilter(2.0))
    assert functional.states(net) == {}
    net(torch.rand(2, 4))
    assert list(functional.states(net)) == ["0.y", "0.sub_module.v", "1.out_i"]
    assert functional.states(net)["0.sub_module.v"] is net[0].sub_module.v
    assert list(functional.states(net[0].sub_module)) == ["v"]
    reset_net(net)
    assert functional.states(net) == {}


def test_scan_goes_on_from_the_states_of_a_module_that_comes_twice():
    synapse, x_seq = SynapseFilter(2.0), torch.rand(5, 2, 3).round()
    modules = nn.Sequential(synapse, nn.Linear(3, 3), LinearRecurrentContainer(synapse, 3, 3))
    twice = functional.scan(x_seq, *modules)
    reset_net(modules)
    one_by_one = x_seq
    for module in modules:
        one_by_one = torch.stack([module(x) for x in one_by_one])
    torch.testing.assert_close(twice, one_by_one)


def test_reset_net_calls_the_reset_of_a_module_of_ones_own():
    class Counter(nn.Module):
        count = 3

        def reset(self):
            self.count = 0

    net = nn.Sequential(nn.Sequential(Counter()))
    reset_net(net)
    assert net[0][0].count == 0
