"""Laws that hold for all inputs, tried on many by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_core.neuron import IFNode, LIFNode, MultiStepIFNode, MultiStepLIFNode, SpikingNeuron
from snn_core.surrogate import ATan, FastSigmoid, Rectangle, Sigmoid, Triangle

law = settings(max_examples=40, deadline=None, derandomize=True)

steps = st.integers(1, 6)
batches = st.integers(0, 3)
features = st.lists(st.integers(1, 4), min_size=0, max_size=2)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
seeds = st.integers(0, 2**31)
v_resets = st.sampled_from([0.0, -0.3, None])


@st.composite
def sequences(draw, dtypes=dtypes, batches=batches):
    """Input currents ``[T, N, *]`` that make a neuron fire now and then."""
    generator = torch.Generator().manual_seed(draw(seeds))
    shape = [draw(steps), draw(batches), *draw(features)]
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 0.5).to(draw(dtypes))


@dataclass
class Neurons:
    """The arguments of a neuron, which it can be built from again and again."""

    single: type[SpikingNeuron]
    multi: type[SpikingNeuron]
    arguments: dict[str, Any]


@st.composite
def neurons(draw, v_resets=v_resets):
    arguments = {
        "v_threshold": draw(st.sampled_from([0.7, 1.0, 2.5])),
        "v_reset": draw(v_resets),
        "detach_reset": draw(st.booleans()),
        "surrogate_function": draw(st.sampled_from([ATan, FastSigmoid, Rectangle, Sigmoid, Triangle]))(),
    }
    if draw(st.booleans()):
        return Neurons(IFNode, MultiStepIFNode, arguments)
    arguments |= {"tau": draw(st.sampled_from([1.1, 2.0, 7.0])), "decay_input": draw(st.booleans())}
    return Neurons(LIFNode, MultiStepLIFNode, arguments)


@law
@given(sequences(dtypes=st.just(torch.float64)), st.sampled_from([0.7, 1.0, 2.5]), seeds)
def test_soft_reset_conserves_charge(x_seq, v_threshold, seed):
    node = MultiStepIFNode(v_threshold=v_threshold, v_reset=None)
    v = torch.randn(x_seq.shape[1:], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    node.v = v
    s_seq = node(x_seq)
    torch.testing.assert_close(x_seq.sum(0), node.v - v + v_threshold * s_seq.sum(0), rtol=0, atol=1e-12)


@law
@given(neurons(v_resets=st.sampled_from([0.0, -0.3])), sequences())
def test_hard_reset_leaves_exactly_v_reset_where_there_was_a_spike(neuron, x_seq):
    node = neuron.multi(store_v_seq=True, **neuron.arguments)
    s_seq = node(x_seq)
    v_after_spikes = node.v_seq[s_seq == 1]
    assert torch.equal(v_after_spikes, torch.full_like(v_after_spikes, node.v_reset))
    assert (node.v_seq[s_seq == 0] < node.v_threshold).all()
