"""However a layer stores weight and bias, a fused scan reads them as torch's own forward does, or the loop runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.testing._internal.two_tensor import TwoTensor

from snn_core import surrogate
from snn_core.functional import reset_net, scan, set_backend
from snn_core.layer import LinearRecurrentContainer
from snn_core.more.convolution import ConvRecurrentContainer
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.neuron import LIFNode

T, N = 6, 3


def _pruned(linear: Any, *names: str) -> None:
    for name in names:
        prune.custom_from_mask(linear, name, (torch.arange(getattr(linear, name).numel()) % 3 > 0).view_as(
            getattr(linear, name)
        ).float())  # fmt: skip


def _plain(linear: Any, name: str, change: Callable[[Tensor], Any] = lambda tensor: tensor) -> None:
    """Put what ``change`` makes of a parameter in its place, as a plain attribute."""
    value = getattr(linear, name)
    delattr(linear, name)
    setattr(linear, name, change(value.detach()))


def _buffer(linear: Any, name: str) -> None:
    value = getattr(linear, name).detach()
    delattr(linear, name)
    linear.register_buffer(name, value)


def _computed(linear: Any, name: str) -> None:
    """Keep the parameter under another name, and compute the attribute from it once."""
    value = getattr(linear, name)
    delattr(linear, name)
    linear.other = value
    setattr(linear, name, 2 * value)


class Doubling(Tensor):
    """A tensor that means twice its numbers to a linear layer or a convolution."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = [one.as_subclass(Tensor) if isinstance(one, Doubling) else one for one in args]
        if function.__name__ in ("linear", "conv2d", "addmm"):
            plain[1] = 2 * plain[1]
        return function(*plain, **(kwargs or {}))


class Halved(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return value / 2


WAYS: dict[str, Callable[[Any], Any]] = {
    "parameters": lambda linear: None,
    "no bias": lambda linear: setattr(linear, "bias", None),
    "a bias that is pruned": lambda linear: _pruned(linear, "bias"),
    "a weight that is pruned": lambda linear: _pruned(linear, "weight"),
    "both pruned": lambda linear: _pruned(linear, "weight", "bias"),
    "a bias that is a plain tensor": lambda linear: _plain(linear, "bias"),
    "a weight that is a plain tensor": lambda linear: _plain(linear, "weight"),
    "a bias that is a buffer": lambda linear: _buffer(linear, "bias"),
    "a weight that is a buffer": lambda linear: _buffer(linear, "weight"),
    "a bias that is computed": lambda linear: _computed(linear, "bias"),
    "a weight that is computed": lambda linear: _computed(linear, "weight"),
    "a bias that is parametrized": lambda linear: parametrize.register_parametrization(linear, "bias", Halved()),
    "a weight that is parametrized": parametrizations.weight_norm,
    "a bias under a parameter": lambda linear: linear.__dict__.update(bias=torch.ones_like(linear.bias)),
    "a weight in another order": lambda linear: _plain(
        linear, "weight", lambda weight: weight.transpose(0, 1).contiguous().transpose(0, 1)
    ),
    "a negative view": lambda linear: _plain(linear, "bias", torch._neg_view),
    "one number, expanded": lambda linear: _plain(linear, "bias", lambda bias: bias[:1].expand_as(bias)),
    "a subclass of Tensor": lambda linear: _plain(linear, "weight", lambda weight: weight.as_subclass(Doubling)),
    "a frozen weight": lambda linear: linear.weight.requires_grad_(False),
}  # fmt: skip
#: Those that only ``nn.Linear`` takes.
LINEAR = {
    "a sparse weight": lambda linear: _plain(linear, "weight", lambda weight: weight.to_sparse_csr()),
    "a wrapper of two tensors": lambda linear: _plain(
        linear, "weight", lambda weight: TwoTensor(weight, weight.clone())
    ),
}


def _neuron() -> LIFNode:
    return LIFNode(2.0, v_threshold=0.4, surrogate_function=surrogate.ATan())


#: Each makes a network, says which of its layers is stored in another way, and the shape of a step.
NETWORKS: dict[str, Callable[[], tuple[nn.Module, nn.Module, tuple[int, ...]]]] = {
    "nn.Linear": lambda: (net := nn.Sequential(nn.Linear(4, 5), _neuron()), net[0], (4,)),
    "LinearRecurrentContainer": lambda: (net := LinearRecurrentContainer(_neuron(), 4, 4), net.rc, (4,)),
    "DelayedRecurrentContainer": lambda: (
        net := DelayedRecurrentContainer(_neuron(), 4, 4, 2, delays=[1.0, 1.5, 2.0, 1.0]), net.rc, (4,)
    ),
    "ConvRecurrentContainer": lambda: (net := ConvRecurrentContainer(_neuron(), 2, 2, 3), net.rc, (2, 3, 3)),
}  # fmt: skip


def results(name: str, way: str, run: Any) -> list[Tensor | None]:
    """Return outputs and the gradients of the input and of all parameters; of computed ones after a change, too."""
    torch.manual_seed(1)
    net, layer, shape = NETWORKS[name]()
    net.double()
    with torch.no_grad():
        for one in (layer.weight, layer.bias):
            one.add_(0.3)
    (WAYS | LINEAR)[way](layer)
    x_seq = torch.rand(T, N, *shape, dtype=torch.float64, requires_grad=True)
    found: list[Tensor | None] = []
    for _ in range(2 if "pruned" in way or "parametrized" in way else 1):
        reset_net(net)
        net.zero_grad()
        y = run(net, x_seq)
        (y * torch.arange(1.0, 1 + y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
        found += [y.detach(), x_seq.grad, *(weight.grad for _, weight in sorted(net.named_parameters()))]
        with torch.no_grad():
            for weight in net.parameters():
                weight.mul_(1.1)
    return found


def by_hand(net: Any, x_seq: Tensor) -> Tensor:
    return torch.stack([net(x) for x in x_seq])


def by_loop(net: nn.Module, x_seq: Tensor) -> Tensor:
    set_backend(net, "torch")
    return scan(x_seq, net)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in NETWORKS for way in (*WAYS, *LINEAR) if way in WAYS or "Conv" not in name]
)  # fmt: skip
def test_a_scan_reads_weights_as_the_layer_does(name: str, way: str):
    try:
        expected = results(name, way, by_hand)
    except (
        RuntimeError,
        NotImplementedError,
        TypeError,
    ) as error:  # torch's own layer does not take it either
        with pytest.raises(type(error)):
            results(name, way, lambda net, x_seq: scan(x_seq, net))
        return
    assert expected[0].any()
    for run in (by_loop, lambda net, x_seq: scan(x_seq, net)):
        for found, wanted in zip(results(name, way, run), expected, strict=True):
            assert (found is None) == (wanted is None)
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("outputs", [8, 20_000 // 4], ids=["small", "large"])
def test_a_parametrized_weight_is_computed_once(outputs: int):
    class Counted(nn.Module):
        calls = 0

        def forward(self, weight: Tensor) -> Tensor:
            self.calls += 1
            return weight

    linear = nn.Linear(4, outputs)
    parametrize.register_parametrization(linear, "weight", counted := Counted())
    counted.calls = 0
    scan(torch.rand(T, N, 4), linear, _neuron())
    assert counted.calls == 1
