"""snn_core and spikingjelly 2.0.0 give the same spikes and the same gradients in fp64.

Spikes must be equal. Gradients and currents must agree within 1e-9 in the relative Euclidean norm
``|ours - theirs| / |theirs|``, taken over each tensor; see ``support_networks.assert_same_results``. Only where a
fixed tau is rounded to float32, it is 1e-6.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
import torch
from support import require
from support_networks import (
    OURS,
    Case,
    Library,
    assert_same_results,
    element_wise_case,
    linear_recurrent_case,
    network_case,
    neuron_case,
    random_images,
    run_case,
    spikingjelly_library,
    synapse_filter_case,
)

from sequential_fmnist.networks import NETWORKS

every_T = pytest.mark.parametrize("T", [3, 28])
every_detach_reset = pytest.mark.parametrize("detach_reset", [False, True], ids=["attached", "detached"])
every_v_reset = pytest.mark.parametrize(
    "v_reset", [0.0, -0.5, None], ids=["hard reset to 0", "hard reset to -0.5", "soft reset"]
)
every_neuron = pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("IFNode", {}, id="IF"),
        pytest.param("LIFNode", {"tau": 4.0}, id="LIF"),
        pytest.param("LIFNode", {"tau": 4.0, "decay_input": False}, id="LIF-whole-input"),
    ],
)
every_model = pytest.mark.parametrize("model", NETWORKS)


@pytest.fixture(scope="module")
def peer() -> Library:
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    return spikingjelly_library()


def assert_parity(case: Case, peer: Library, tolerance: float = 1e-9) -> None:
    assert_same_results(run_case(case, OURS), run_case(case, peer), tolerance)


@every_T
@every_v_reset
@every_detach_reset
@every_neuron
def test_neuron(kind, options, detach_reset, v_reset, T, peer):
    assert_parity(neuron_case(kind, T, v_reset=v_reset, detach_reset=detach_reset, **options), peer)


def test_neuron_with_another_threshold(peer):
    assert_parity(neuron_case("IFNode", T=28, v_threshold=0.7, v_reset=None), peer)


@every_v_reset
def test_neuron_that_often_just_reaches_the_threshold(v_reset, peer):
    case = neuron_case("IFNode", T=28, v_reset=v_reset)
    assert_parity(replace(case, x=case.x.round()), peer)


@every_v_reset
@every_neuron
def test_potentials_in_two_sequences_in_a_row(kind, options, v_reset, peer):
    case = neuron_case(kind, T=10, v_reset=v_reset, store_v_seq=True, **options)
    ours, theirs = case.build(OURS), case.build(peer)
    v_seq = []
    for x_seq in (case.x, -case.x):
        assert torch.equal(ours(x_seq), theirs(x_seq))
        v_seq.append(theirs.v_seq)  # theirs begins anew with each call, ours goes on
    torch.testing.assert_close(ours.v_seq, torch.cat(v_seq), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", OURS.surrogates)
def test_surrogate(name, alpha, peer):
    assert_parity(neuron_case("IFNode", T=28, surrogate_name=name, alpha=alpha), peer)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", OURS.surrogates)
def test_smooth_surrogate(name, alpha, peer):
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)
    ours, theirs = (library.surrogates[name](alpha=alpha, spiking=False) for library in (OURS, peer))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-14)


@every_T
@every_v_reset
@every_detach_reset
@every_neuron
def test_element_wise_recurrent_container_of_a_function_that_is_not_symmetric(
    kind, options, detach_reset, v_reset, T, peer
):
    assert_parity(element_wise_case(kind, T, v_reset=v_reset, detach_reset=detach_reset, **options), peer)


@every_T
@every_v_reset
@every_detach_reset
@every_neuron
def test_linear_recurrent_container(kind, options, detach_reset, v_reset, T, peer):
    assert_parity(linear_recurrent_case(kind, T, v_reset=v_reset, detach_reset=detach_reset, **options), peer)


@every_T
@pytest.mark.parametrize("tau", [1.2, 3.0, 100.0])
@pytest.mark.parametrize("learnable", [False, True], ids=["fixed", "learnable"])
def test_synapse_filter(learnable, tau, T, peer):
    # A fixed tau is kept in float32 here and in fp64 there.
    assert_parity(synapse_filter_case(T, tau, learnable), peer, tolerance=1e-9 if learnable else 1e-6)


@pytest.mark.parametrize("tau", [1.2, 2.0, 100.0])
def test_synapse_filter_keeps_a_learnable_tau_in_the_same_number(tau, peer):
    ours, theirs = (library.synapse_filter(tau=tau, learnable=True).w for library in (OURS, peer))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


@every_model
def test_network_on_noise(model, peer):
    assert_parity(network_case(model, random_images(5), hidden=8), peer)


@every_model
def test_network_on_short_images(model, peer):
    assert_parity(network_case(model, random_images(5, columns=7), hidden=8), peer)


@every_model
def test_network_on_real_images(model, embedded, peer):
    test_images = embedded[1].images[:64].double() / 255
    assert_parity(network_case(model, test_images, hidden=32), peer)
