"""What every module with a state does: in steps, in a sequence, in pieces, copied, moved, detached and begun anew."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from support_networks import all_equal, output_and_gradients, random_currents, step_by_step, weighted_sum
from torch import Tensor, nn

from snn_core import layer, neuron, synapse
from snn_core.functional import detach_net, reset_net, states
from snn_core.more import neuron as more_neuron
from snn_core.more.convolution import ConvRecurrentContainer
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.more.synapse import DoubleExponentialSynapse
from snn_core.surrogate import ATan

Build = Callable[[str], nn.Module]


def inner(backend: str) -> neuron.LIFNode:
    return neuron.LIFNode(1.5, surrogate_function=ATan(), backend=backend)


EACH = torch.linspace(0.5, 1.5, 18, dtype=torch.float64).view(3, 2, 3)
#: Modules for steps ``[N, 3, 2, 3]``, whose weights are equal whenever they are made.
MODULES: dict[str, Build] = {
    "IF": lambda b: neuron.IFNode(backend=b),
    "IF, soft, refractory": lambda b: neuron.IFNode(v_reset=None, refractory=2, backend=b),
    "LIF": lambda b: neuron.LIFNode(4.0, decay_input=False, detach_reset=True, backend=b),
    "PLIF": lambda b: neuron.ParametricLIFNode(2.5, v_reset="none", backend=b),
    "ALIF": lambda b: more_neuron.AdaptiveLIFNode(v_reset=-0.5, v_threshold=EACH, refractory=1, backend=b),
    "CUBALIF": lambda b: more_neuron.CUBALIFNode(nn.Parameter(torch.tensor(3.0)), backend=b),
    "LI": lambda b: neuron.LINode(1 + EACH, backend=b),
    "filter": lambda b: synapse.SynapseFilter([2.0, 4.0, 8.0], True, backend=b),
    "low pass": lambda b: synapse.LowPassSynapse(3.0, backend=b),
    "double exponential": lambda b: DoubleExponentialSynapse(2.0, 5.0, True, backend=b),
    "element-wise": lambda b: layer.ElementWiseRecurrentContainer(inner(b), torch.sub, nn.Parameter(torch.tensor(0.7))),
    "linear": lambda b: layer.LinearRecurrentContainer(inner(b), 3, 3),
    "convolution": lambda b: ConvRecurrentContainer(inner(b), 3, 3, 3),
    "delays": lambda b: DelayedRecurrentContainer(inner(b), 3, 3, 3, learn_delays=True),
    "two modules": lambda b: layer.LinearRecurrentContainer(nn.Sequential(nn.Linear(3, 3), inner(b)), 3, 3),
}  # fmt: skip
every_module = pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)


def made(build: Build, backend: str = "torch") -> nn.Module:
    torch.manual_seed(3)
    return build(backend).double()


@every_module
def test_steps_a_sequence_and_pieces_are_the_same(build):
    x_seq = random_currents(9, 4, 3, 2, 3)
    one = made(build)
    expected = output_and_gradients(lambda x: step_by_step(one, x), x_seq, one.parameters())
    for backend in ("torch", "auto"):
        module = made(build, backend)
        container = layer.MultiStepContainer(module)
        runs: dict[str, Callable[[Tensor], Tensor]] = {
            "whole": container,
            "pieces": lambda x, f=container, m=module: torch.cat(
                [f(x[:4]), step_by_step(m, x[4:6]), f(x[6:])]
            ),
        }
        for name, run in runs.items():
            found = output_and_gradients(run, x_seq, module.parameters())
            torch.testing.assert_close(
                found, expected, rtol=1e-11, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
            )
            torch.testing.assert_close(states(module), states(one), rtol=1e-11, atol=1e-12)
            reset_net(module)
            assert states(module) == {}
    assert all(gradient.any() for gradient in expected)


@every_module
def test_a_copy_after_a_pass_goes_on_alike(build):
    module, x_seq = made(build, "auto"), random_currents(5, 4, 3, 2, 3)
    output = module.forward_sequence(x_seq.requires_grad_())
    twins = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    kept = states(module)
    expected = module.forward_sequence(x_seq)
    for twin in twins:
        assert all_equal(states(twin).values(), kept.values())
        assert not any(state.requires_grad for state in states(twin).values())
        assert torch.equal(twin.forward_sequence(x_seq), expected)
    weighted_sum(output).backward()  # the original still has its history


@every_module
def test_states_move_with_the_module_and_are_not_saved(build):
    module, x_seq = made(build), random_currents(5, 4, 3, 2, 3)
    y_seq = module.forward_sequence(x_seq)
    other = made(build)
    other.load_state_dict(module.state_dict())
    assert states(other) == {}
    assert torch.equal(other.forward_sequence(x_seq), y_seq)
    module.float()
    assert {state.dtype for state in states(module).values()} == {torch.float32}
    assert module.forward_sequence(x_seq.float()).dtype == torch.float32
    module.to("meta")
    assert {state.device.type for state in states(module).values()} == {"meta"}


@every_module
def test_after_detach_net_gradients_are_those_of_a_start_from_constants(build):
    module, fresh, x_seq = made(build, "auto"), made(build, "auto"), random_currents(5, 4, 3, 2, 3)
    weighted_sum(module.forward_sequence(x_seq.requires_grad_())).backward()
    detach_net(module)
    for name, state in states(module).items():
        owner, _, attribute = name.rpartition(".")
        setattr(fresh.get_submodule(owner), attribute, state.clone())
    found, expected = (
        output_and_gradients(one.forward_sequence, x_seq, one.parameters()) for one in (module, fresh)
    )
    assert all_equal(found, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
def test_a_compiled_network_does_the_same():
    net, x_seq = (
        layer.MultiStepContainer(nn.Linear(3, 3), made(MODULES["delays"], "auto")).double(),
        random_currents(5, 4, 3),
    )
    expected = output_and_gradients(net, x_seq, net.parameters())
    reset_net(net)
    compiled = torch.compile(net, backend="aot_eager")
    torch.testing.assert_close(output_and_gradients(compiled, x_seq, net.parameters()), expected)


def test_a_recurrent_layer_under_autocast_is_that_of_the_loop():
    found = []
    for backend in ("torch", "cpu"):
        container = made(lambda b: layer.LinearRecurrentContainer(inner(b), 3, 3), backend).float()
        x_seq = random_currents(6, 4, 3).float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            found.append(container.forward_sequence(x_seq))
        found[-1].float().sum().backward()
        assert {one.dtype for one in (x_seq.grad, container.rc.weight.grad, container.y)} == {torch.float32}
    assert found[0].dtype == found[1].dtype and torch.equal(*found)
