"""What is done to the core to break it: any value as any argument, memory, changes in place."""

from __future__ import annotations

import gc
import importlib
import inspect
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from support import count, tries
from torch import Tensor, nn

from sequential_fmnist.evaluate import rate_loss
from sequential_fmnist.networks import NETWORKS, make_network
from snn_core import neuron
from snn_core.functional import reset_net
from snn_core.surrogate import ATan

#: Modules whose public classes and functions a user calls.
MODULES = (
    "snn_core.functional", "snn_core.layer", "snn_core.more.batch_norm", "snn_core.more.convolution",
    "snn_core.more.delays", "snn_core.neuron", "snn_core.surrogate", "snn_core.synapse", "sequential_fmnist.networks",
)  # fmt: skip
#: Equations, which compute with what they get, and bases, which compute nothing.
LEFT_OUT = ("lif_charge", "reset", "SpikingNeuron", "StatefulSynapse")
#: What a user may meet; all else is a fault of ours. RuntimeError is torch's.
DOCUMENTED = (TypeError, ValueError, RuntimeError, NotImplementedError, IndexError)


def public() -> dict[str, object]:
    """Return every public class and function of :data:`MODULES` by its name."""
    found = {}
    for module in map(importlib.import_module, MODULES):
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if (inspect.isfunction(value) or inspect.isclass(value)) and name not in LEFT_OUT:
                found[f"{module.__name__}.{name}"] = value
    return found


PUBLIC = public()
tensors = st.builds(
    lambda shape, dtype: torch.ones(shape, dtype=dtype),
    st.lists(st.integers(0, 3), max_size=4),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool]),
)
modules = st.sampled_from([neuron.IFNode, lambda: nn.Linear(2, 2), nn.Sequential, ATan, nn.Identity]).map(
    lambda make: make()
)
anything = (
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.text(max_size=3) | tensors | modules
    | st.lists(st.floats(), max_size=3) | st.sampled_from([torch.add, nn.Linear, b"x", 10**30, -math.inf, "torch"])
)  # fmt: skip


def arguments_of(function: object) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one for one in inspect.signature(function).parameters.values() if one.kind in kinds]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", PUBLIC)
def test_any_value_of_any_argument_is_taken_or_refused(name):
    """A module that was built, and its call on a step, too: the documented errors, with a message, and no others."""
    function = PUBLIC[name]

    @tries(count(fast=6, full=1000))
    @given(st.data())
    def check(data):
        given_ = {}
        for one in arguments_of(function):
            if one.default is inspect.Parameter.empty or data.draw(st.booleans()):
                given_[one.name] = data.draw(anything)
        # Sizes that are right, and only too large for this machine.
        assume(not any(type(value) is int and value > 2**20 for value in given_.values()))
        try:
            built = function(**given_)
            if isinstance(built, nn.Module):
                built(data.draw(tensors))
        except DOCUMENTED as error:
            assert str(error), f"{name}: an error without a message for {given_}"

    check()


@pytest.mark.parametrize("model", NETWORKS)
def test_steps_leave_nothing_behind(few, model):
    net, images = make_network(model), few[0].images[:20].float() / 255
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def steps(number: int) -> int:
        for _ in range(number):
            optimizer.zero_grad()
            rate_loss(net(images), few[0].labels[:20]).backward()
            optimizer.step()
            reset_net(net)
        gc.collect()
        # A type is asked, since a proxy may do what it likes when it is asked itself.
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    before = steps(3)
    assert steps(count(fast=10, full=2000)) <= before  # what other tests left may go meanwhile
