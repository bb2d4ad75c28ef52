"""Synapses with state: their currents, and their time constants for each channel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_networks import random_spikes

from snn_core.functional import reset_net, scan
from snn_core.more.synapse import DoubleExponentialSynapse
from snn_core.synapse import LowPassSynapse, SynapseFilter

KINDS = [
    pytest.param(SynapseFilter, ["tau"], id="filter"),
    pytest.param(LowPassSynapse, ["tau"], id="low pass"),
    pytest.param(DoubleExponentialSynapse, ["tau_rise", "tau_decay"], id="double exponential"),
]
every_kind = pytest.mark.parametrize(("kind", "names"), KINDS)


def impulse(steps: int) -> torch.Tensor:
    x_seq = torch.zeros(steps, 1, 1, dtype=torch.float64)
    x_seq[0] = 1
    return x_seq


def test_low_pass_decays_in_a_step_with_a_spike_too():
    current = scan(torch.tensor([[1.0], [1.0], [0.0]]), LowPassSynapse(tau=4.0))
    assert current.flatten().tolist() == [1.0, 1.75, 1.3125]


@settings(deadline=None, max_examples=60)
@given(st.floats(1.01, 40), st.floats(1.05, 6))
def test_double_exponential_peaks_at_1_for_any_time_constants(tau_rise, ratio):
    one = DoubleExponentialSynapse(tau_rise, tau_rise * ratio)
    current = scan(impulse(200), one)
    assert current.max().item() == pytest.approx(1, abs=1e-9)
    assert (current >= 0).all()


def test_double_exponential_time_constants_stay_in_order():
    """Whatever their parameters become; and both are what was given at first."""
    one = DoubleExponentialSynapse([2.0, 3.0], [4.0, 30.0], learnable=True)
    torch.testing.assert_close(one.tau_rise, torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(one.tau_decay, torch.tensor([4.0, 30.0]))
    for rise, decay in ((-9.0, 4.0), (99.0, -2.0), (4.0, 4.0), (-99.0, 4.0)):
        one.w_rise.data.fill_(rise)
        one.w_decay.data.fill_(decay)
        assert (one.tau_rise >= 1).all()
        assert (one.tau_rise < one.tau_decay).all()
        reset_net(one)
        current = scan(impulse(30).expand(30, 1, 2).float(), one)
        assert current.amax(0).flatten().tolist() == pytest.approx([1, 1], rel=2e-3)
        (gradient,) = torch.autograd.grad(current.sum(), one.w_decay)
        assert gradient.isfinite().all()
    assert dict(one.named_parameters()).keys() == {"w_rise", "w_decay"}


@every_kind
def test_each_channel_has_its_own_time_constants(kind, names):
    x_seq = random_spikes(9, 2, 3, 4, 5)
    taus = {name: [2.0 + k + 7 * (name == "tau_decay") for k in range(3)] for name in names}
    found = scan(x_seq, kind(**taus).double())
    for channel in range(3):
        alone = kind(**{name: values[channel] for name, values in taus.items()}).double()
        torch.testing.assert_close(found[:, :, channel], scan(x_seq[:, :, channel], alone))


@every_kind
def test_learnable_time_constants_give_the_same_at_first(kind, names):
    x_seq = random_spikes(9, 4, 3).float()
    fixed, trained = kind(), kind(learnable=True)
    torch.testing.assert_close(scan(x_seq, trained), scan(x_seq, fixed), rtol=1e-5, atol=1e-6)
    for name in names:
        assert getattr(trained, name).item() == pytest.approx(getattr(fixed, name))
    assert not list(fixed.parameters())
    assert len(list(trained.parameters())) == len(names)


@every_kind
def test_names_are_those_that_weights_are_saved_under(kind, names):
    assert not kind().state_dict()
    several = {name: [2.0 + k] * 3 for k, name in enumerate(names)}
    assert {*names} == kind(**several).state_dict().keys()
    assert {name.replace("tau", "w") for name in names} == kind(learnable=True).state_dict().keys()


@every_kind
def test_numbers_of_another_size_are_not_loaded(kind, names):
    saved = kind(**{name: [2.0 + k] * 3 for k, name in enumerate(names)}, learnable=True).state_dict()
    with pytest.raises(RuntimeError, match=r"size mismatch for w\w*: \[3\] saved, \[\] here"):
        kind(learnable=True).load_state_dict(saved)
