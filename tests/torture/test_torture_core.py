"""What is done to the core to break it: any value as any argument, threads, children of a process, memory."""

from __future__ import annotations

import gc
import importlib
import inspect
import math
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from support import tries
from torch import Tensor, nn

from sequential_fmnist.evaluate import rate_loss
from sequential_fmnist.networks import NETWORKS, make_network
from sequential_fmnist.train import TrainingConfig, fit
from snn_core import layer, neuron, surrogate
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
def test_any_value_of_any_argument_is_taken_or_refused(name, torture):
    """A module that was built, and its call on a step, too: the documented errors, with a message, and no others."""
    function = PUBLIC[name]

    @tries(torture.count(fast=6, full=1000))
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


# Numbers


@pytest.mark.parametrize("model", NETWORKS)
def test_same_seed_same_bits_for_any_number_of_threads(few, model, torture):
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4)[: torture.count(fast=2, full=3)]:
            torch.set_num_threads(threads)
            config = TrainingConfig(model=model, epochs=2, batch_size=40)
            net, history = fit(config, *few, progress=False)
            found.append((nn.utils.parameters_to_vector(net.parameters()).detach(), history))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][0], one) and history == found[0][1] for one, history in found)


def layers() -> nn.Module:
    torch.manual_seed(0)
    cells = layer.LinearRecurrentContainer(neuron.IFNode(surrogate_function=surrogate.ATan()), 16, 16)
    return layer.MultiStepContainer(nn.Linear(8, 16), cells, layer.SynapseFilter(3.0, learnable=True))


def both_passes(net: nn.Module, x_seq: Tensor) -> list[Tensor]:
    """Return the output and every gradient."""
    x_seq = x_seq.clone().requires_grad_()
    y_seq = net(x_seq)
    reset_net(net)
    return [y_seq.detach(), *torch.autograd.grad(y_seq.square().sum(), [x_seq, *net.parameters()])]


def test_threads_of_python_at_once_give_what_one_gives(torture):
    inputs = [torch.rand(12, 5, 8, generator=torch.Generator().manual_seed(k)) for k in range(8)]
    expected = [both_passes(layers(), x_seq) for x_seq in inputs]
    nets = [layers() for _ in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(torture.count(fast=5, full=200)):
            for ours, theirs in zip(pool.map(both_passes, nets, inputs), expected, strict=True):
                assert all(map(torch.equal, ours, theirs))


def _child(queue) -> None:
    torch.set_num_threads(1)
    queue.put(both_passes(layers(), torch.ones(4, 2, 8))[0].sum().item())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_a_process_that_used_kernels_neither_die_nor_wait(method):
    expected = both_passes(layers(), torch.ones(4, 2, 8))[0].sum().item()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(timeout=60)
    assert child.exitcode == 0


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("model", NETWORKS)
def test_steps_leave_nothing_behind(few, model, backend, torture):
    net, images = make_network(model, backend=backend), few[0].images[:20].float() / 255
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
    assert steps(torture.count(fast=10, full=2000)) <= before  # what other tests left may go meanwhile


@pytest.mark.parametrize("model", NETWORKS)
def test_a_change_in_place_before_backward_is_torchs_error_or_changes_nothing(model):
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    gradients = []
    for changed in (False, True):
        torch.manual_seed(0)
        net, images = make_network(model), x.clone()
        loss = net(images).sum()
        if changed:
            images.mul_(0)
        try:
            loss.backward()
        except RuntimeError as error:
            assert "inplace" in str(error)
            return
        gradients.append(net.fc1.weight.grad)
    assert torch.equal(*gradients)
