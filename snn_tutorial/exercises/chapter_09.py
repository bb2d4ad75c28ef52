"""Answers of chapter 09: a block's memory, a backward pass, and a neuron of one's own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from snn_core import cells, functional, layer, reference
from snn_core.surrogate import ATan
from snn_tutorial.exercises import Exercise


def _gives(to_x: float, to_v: float, resets: bool = True) -> Callable[[Callable], bool]:
    """Return whether an answer is the backward pass of an h with these derivatives to x and v, for tau = 4."""

    def given(answer: Callable) -> bool:
        generator = torch.Generator().manual_seed(0)
        h, g_s = torch.randn(2, 20, 6, generator=generator, dtype=torch.float64)
        s, slope, g_x, g_v = (h >= 1).double(), ATan().derivative(h - 1), torch.empty_like(h), 0
        for t in reversed(range(20)):
            g_h = g_s[t] * slope[t] + g_v * (1 - resets * s[t])
            g_x[t], g_v = to_x * g_h, to_v * g_h
        return torch.allclose(answer(h, s, slope, g_s, 4.0), g_x, rtol=1e-9, atol=1e-12)

    return given


class _Quarter(cells.IF):
    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return v + torch.where(x >= 0, x, x / 4)


def _is(verdict: str) -> Callable[[nn.Module], bool]:
    """Return whether a neuron is right, or what is wrong with it."""

    def given(node: nn.Module) -> bool:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(28, 4, 3, generator=generator, dtype=torch.float64).mul_(2).requires_grad_()
        (decision,) = functional.explain(layer.MultiStepContainer(node), x.detach())
        right, _ = reference.loop(_Quarter(1.0, 0.0, ATan(), True).step, x, (torch.zeros(4, 3).double(),))
        functional.reset_net(node)
        found = node.forward_sequence(x * 1)
        ours, theirs = (torch.autograd.grad(spikes.sum(), x)[0] for spikes in (right, found))
        same = "right" if torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12) else "gradient"
        return verdict == (same if torch.equal(found, right) else "spikes") + " loop" * (not decision.fused)

    return given


_BLOCK = "how many numbers are that, and how many bytes has each?"
_LEAKY = "what are the derivatives of h[t] with respect to x[t] and to v[t-1]?"
_OWN = "copy SmallCell and SmallNeuron, change the charge, and let `answer` be a neuron."
_NUMBERS: tuple = (1.605632, "that many million numbers; a 32-bit float has 4 bytes.")
_MIBI: tuple = (6.125, "that is in MiB, 2^20 bytes.")
_IF: tuple = (_gives(1, 1), "that is the neuron without a leak.")
_INPUT: tuple = (_gives(1, 0.75), "the leak is right, but the input is divided by tau too.")
_LEAK: tuple = (_gives(0.25, 0.25), "v[t-1] keeps 1 - 1/tau of itself; 1/tau is what it loses.")
_FIRED: tuple = (_gives(0.25, 0.75, False), "after a spike nothing of h[t] is left: 1 - s[t] is missing.")
_SLOW: tuple = (_is("right loop"), "right, but it falls back to the loop; `torch.where` needs none.")
_OTHER: tuple = (_is("spikes"), "its spikes are not those of the equation.")
_SLOPE: tuple = (
    _is("gradient"),
    "its spikes are right, its gradient is not: is the spike in the reset detached?",
)
EXERCISES: dict[str, Exercise] = {
    "09.1": Exercise(6.422528, _BLOCK, [_NUMBERS, _MIBI], "So time is cut into segments, too.", 0.01),
    "09.2": Exercise(_gives(0.25, 0.75), _LEAKY, [_IF, _INPUT, _LEAK, _FIRED], "It is that of autograd."),
    "09.3": Exercise(
        _is("right"), _OWN, [_SLOW, _OTHER, _SLOPE], "It is fused, with the spikes of the equation."
    ),
}
