"""Networks, inputs and measures that several test modules share.

A :class:`Case` is a network and its input, built from the parts of a :class:`Library`, so that the same case runs in
snn_core and in spikingjelly: test_parity_spikingjelly.py runs both, golden/make_golden.py stores what spikingjelly
says, and test_golden.py compares snn_core with that. Weights and inputs come from numpy's RandomState, whose numbers
are the same in every version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sequential_fmnist import networks as network
from snn_core import layer, neuron, surrogate

ElementWise = Callable[[Tensor, Tensor], Tensor]

#: A neuron for one time step, the same for a sequence, and arguments of both.
NEURONS = [
    pytest.param(neuron.IFNode, neuron.MultiStepIFNode, {}, id="IF"),
    pytest.param(neuron.LIFNode, neuron.MultiStepLIFNode, {"tau": 4.0}, id="LIF"),
    pytest.param(
        neuron.LIFNode, neuron.MultiStepLIFNode, {"tau": 4.0, "decay_input": False}, id="LIF-whole-input"
    ),
]


def random_currents(*shape: int) -> Tensor:
    """Return fp64 currents that make a neuron with threshold 1 fire now and then."""
    return torch.from_numpy(np.random.RandomState(3).normal(0.5, 3.0, shape))


def random_spikes(*shape: int) -> Tensor:
    """Return fp64 spikes at a rate of about 0.3."""
    return torch.from_numpy((np.random.RandomState(4).uniform(size=shape) < 0.3).astype(np.float64))


def random_images(n: int, columns: int = 28) -> Tensor:
    """Return fp64 images ``[n, 1, 28, columns]`` of noise in [0, 1)."""
    return torch.from_numpy(np.random.RandomState(5).uniform(size=(n, 1, 28, columns)))


def step_by_step(module: nn.Module, x_seq: Tensor) -> Tensor:
    """Call a module for one time step T times: ``[T, N, *]`` to ``[T, N, *]``."""
    return torch.stack([module(x) for x in x_seq])


def weighted_sum(output: Tensor) -> Tensor:
    """Return a loss whose gradient differs from element to element."""
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype)
    return (output * weights.reshape(output.shape)).sum()


def output_and_gradients(
    function: Callable[[Tensor], Tensor], x: Tensor, parameters: Iterable[Tensor] = ()
) -> list[Tensor]:
    """Return ``function(x)`` and the gradients of its :func:`weighted_sum` to ``x`` and to ``parameters``."""
    x = x.detach().clone().requires_grad_()
    output = function(x)
    return [output.detach(), *torch.autograd.grad(weighted_sum(output), [x, *parameters])]


def all_equal(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> bool:
    """Say whether two lists hold the same tensors bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return ``|actual - expected| / |expected|`` in the Euclidean norm over all elements; NaN if both are 0."""
    return float((actual - expected).norm() / expected.norm())


@dataclass(frozen=True)
class Library:
    """The parts of one library, under names that do not depend on it."""

    neurons: Mapping[str, Callable[..., nn.Module]]  # one time step
    sequence_neurons: Mapping[str, Callable[..., nn.Module]]  # [T, N, *]
    surrogates: Mapping[str, Callable[..., nn.Module]]
    element_wise_recurrent: Callable[[nn.Module, ElementWise], nn.Module]
    linear_recurrent: Callable[[nn.Module, int, int], nn.Module]
    synapse_filter: Callable[..., nn.Module]
    multi_step_container: Callable[..., nn.Module]
    network: Callable[[str, int], nn.Module]  # model, hidden


OURS = Library(
    neurons={"IFNode": neuron.IFNode, "LIFNode": neuron.LIFNode},
    sequence_neurons={"IFNode": neuron.MultiStepIFNode, "LIFNode": neuron.MultiStepLIFNode},
    surrogates={
        "Sigmoid": surrogate.Sigmoid,
        "ATan": surrogate.ATan,
        "Triangle": surrogate.Triangle,
        "Rectangle": surrogate.Rectangle,
    },
    element_wise_recurrent=layer.ElementWiseRecurrentContainer,
    linear_recurrent=layer.LinearRecurrentContainer,
    synapse_filter=layer.SynapseFilter,
    multi_step_container=layer.MultiStepContainer,
    network=network.make_network,
)


def spikingjelly_library() -> Library:
    """Return the same parts from spikingjelly, whose names for some of them differ."""
    from spikingjelly.activation_based import functional as peer_functional
    from spikingjelly.activation_based import layer as peer_layer
    from spikingjelly.activation_based import neuron as peer_neuron
    from spikingjelly.activation_based import surrogate as peer_surrogate

    sequence_neurons = {
        "IFNode": partial(peer_neuron.IFNode, step_mode="m"),
        "LIFNode": partial(peer_neuron.LIFNode, step_mode="m"),
    }

    def element_wise_recurrent(sub_module: nn.Module, function: ElementWise) -> nn.Module:
        return peer_layer.ElementWiseRecurrentContainer(sub_module, lambda y, x: function(x, y))

    class Network(nn.Module):
        """A network of the tutorial; its parameters have the names of those in sequential_fmnist.networks."""

        def __init__(self, model: str, hidden: int) -> None:
            super().__init__()
            options = {"surrogate_function": peer_surrogate.ATan(), "detach_reset": True}
            self.fc1 = nn.Linear(28, hidden)
            if model == "feedback":
                self.sn1 = peer_layer.MultiStepContainer(
                    peer_layer.LinearRecurrentContainer(peer_neuron.IFNode(**options), hidden, hidden)
                )
            else:
                self.sn1 = sequence_neurons["IFNode"](**options)
            self.sy1 = nn.Identity()
            if model == "stateful-synapse":
                self.sy1 = peer_layer.MultiStepContainer(peer_layer.SynapseFilter(tau=2.0, learnable=True))
            self.fc2 = nn.Linear(hidden, 10)
            self.sn2 = sequence_neurons["IFNode"](**options)

        def forward(self, images: Tensor) -> Tensor:
            x = images.squeeze(1).permute(2, 0, 1)
            x = self.sy1(self.sn1(peer_functional.seq_to_ann_forward(x, self.fc1)))
            return self.sn2(peer_functional.seq_to_ann_forward(x, self.fc2)).mean(0)

    return Library(
        neurons={"IFNode": peer_neuron.IFNode, "LIFNode": peer_neuron.LIFNode},
        sequence_neurons=sequence_neurons,
        surrogates={
            "Sigmoid": peer_surrogate.Sigmoid,
            "ATan": peer_surrogate.ATan,
            "Triangle": peer_surrogate.PiecewiseQuadratic,
            "Rectangle": peer_surrogate.Rect,
        },
        element_wise_recurrent=element_wise_recurrent,
        linear_recurrent=peer_layer.LinearRecurrentContainer,
        synapse_filter=peer_layer.SynapseFilter,
        multi_step_container=peer_layer.MultiStepContainer,
        network=Network,
    )


@dataclass(frozen=True)
class Case:
    """A network, its input, and what its output is: "spikes", "currents" or "rates"."""

    build: Callable[[Library], nn.Module]
    x: Tensor
    output: str = "spikes"


def neuron_case(
    kind: str, T: int, surrogate_name: str = "Sigmoid", alpha: float = 1.0, **options: object
) -> Case:
    def build(library: Library) -> nn.Module:
        surrogate_function = library.surrogates[surrogate_name](alpha=alpha)
        return library.sequence_neurons[kind](surrogate_function=surrogate_function, **options)

    return Case(build, random_currents(T, 5, 4))


def not_symmetric(x: Tensor, y: Tensor) -> Tensor:
    """An element-wise function that tells x from y."""
    return 2 * x - 0.5 * y + x * y


def element_wise_case(kind: str, T: int, **options: object) -> Case:
    def build(library: Library) -> nn.Module:
        sub_module = library.neurons[kind](surrogate_function=library.surrogates["ATan"](), **options)
        return library.multi_step_container(library.element_wise_recurrent(sub_module, not_symmetric))

    return Case(build, random_currents(T, 5, 4))


def linear_recurrent_case(kind: str, T: int, **options: object) -> Case:
    """A recurrent connection around a linear layer and neurons, of 4 inputs and 3 outputs."""

    def build(library: Library) -> nn.Module:
        sub_module = nn.Sequential(
            nn.Linear(4, 3),
            library.neurons[kind](surrogate_function=library.surrogates["ATan"](), **options),
        )
        return library.multi_step_container(library.linear_recurrent(sub_module, 4, 3))

    return Case(build, random_currents(T, 5, 4))


def synapse_filter_case(T: int, tau: float = 3.0, learnable: bool = False) -> Case:
    def build(library: Library) -> nn.Module:
        return library.multi_step_container(library.synapse_filter(tau=tau, learnable=learnable))

    return Case(build, random_spikes(T, 5, 4), output="currents")


def network_case(model: str, images: Tensor, hidden: int) -> Case:
    return Case(lambda library: library.network(model, hidden), images.double(), output="rates")


def golden_cases() -> dict[str, Case]:
    """Return the cases whose results under spikingjelly are stored in golden/."""
    return {
        "IFNode": neuron_case("IFNode", T=10),
        "LIFNode": neuron_case("LIFNode", T=10, tau=4.0, v_reset=None),
        "ElementWiseRecurrentContainer": element_wise_case("IFNode", T=10),
        "LinearRecurrentContainer": linear_recurrent_case("LIFNode", T=10),
        "SynapseFilter": synapse_filter_case(T=10),
        "SynapseFilter-learnable": synapse_filter_case(T=10, learnable=True),
        **{model: network_case(model, random_images(2), hidden=8) for model in network.NETWORKS},
    }


def seeded_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return fp64 values for every parameter, large enough that all layers of the networks fire."""
    random = np.random.RandomState(6)
    weights = {}
    for name, parameter in module.named_parameters():
        bound = 2 / parameter.shape[1] ** 0.5 if parameter.dim() == 2 else 0.4
        weights[name] = torch.as_tensor(random.uniform(-bound, bound, tuple(parameter.shape)))
    return weights


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    parameters = dict(module.named_parameters())
    assert parameters.keys() == weights.keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def run_case(case: Case, library: Library, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Run a case forward and backward in fp64; without ``weights`` those of :func:`seeded_weights` are used.

    Returns:
        The output, the spikes of the networks' two layers, and the gradients of the input and of every weight.
    """
    module = case.build(library).double()
    load_weights(module, seeded_weights(module) if weights is None else weights)
    results: dict[str, Tensor] = {}
    for name in ("sn1", "sn2"):
        if hasattr(module, name):
            getattr(module, name).register_forward_hook(
                lambda _module, _inputs, output, name=name: results.update(
                    {f"spikes {name}": output.detach()}
                )
            )
    parameters = dict(module.named_parameters())
    output, *gradients = output_and_gradients(module, case.x, parameters.values())
    names = ["gradient of the input", *(f"gradient of {name}" for name in parameters)]
    return {case.output: output, **results, **dict(zip(names, gradients, strict=True))}


def assert_same_results(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float = 1e-9
) -> None:
    """Spikes must be equal, everything else within ``tolerance``, a :func:`relative_error`.

    A silent network, or one without a gradient, would agree with anything: it fails.
    """
    assert actual.keys() == expected.keys()
    for name, values in expected.items():
        if name.startswith("spikes"):
            assert 0 < values.mean() < 1, f"{name}: all are {values.mean():.0f}"
            assert torch.equal(actual[name], values), name
        else:
            assert relative_error(actual[name], values) < tolerance, name
