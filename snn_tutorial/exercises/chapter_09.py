"""Answers of chapter 09: counts of a loop and of scans, a backward pass, and a neuron of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from snn_core import cells, reference
from snn_core.functional import explain, reset_net
from snn_core.layer import MultiStepContainer
from snn_core.neuron import LIFNode
from snn_core.surrogate import ATan
from snn_tutorial.exercises import Exercise

__all__ = ["EXERCISES"]

_TAU = 4.0


def _drive(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the same normal numbers every time, and leave torch's generator as it is."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def _leaky_pass() -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the gradient of a leaky neuron's input by autograd, and h, s, slope and g_s, each [T, N]."""
    x = (1 + 2 * _drive(20, 6)).requires_grad_()
    node = LIFNode(_TAU, surrogate_function=ATan(), detach_reset=True, backend="torch")
    s = node.forward_sequence(x)
    g_s = _drive(*s.shape)
    (g_x,) = torch.autograd.grad((s * g_s).sum(), x)
    h, v = torch.empty_like(g_x), torch.zeros_like(g_x[0])
    for t in range(len(h)):
        h[t] = v + (x[t].detach() - v) / _TAU
        v = h[t] * (h[t] < 1)
    return g_x, (h, s.detach(), ATan().derivative(h - 1), g_s)


def _backward(
    s: Tensor,
    slope: Tensor,
    g_s: Tensor,
    to_x: float,
    to_v: float,
    resets: bool = True,
    forward: bool = False,
) -> Tensor:
    """Return g_x where h has these derivatives with respect to x and v: the right answer, and each wrong one."""
    g_x, g_v = torch.empty_like(g_s), torch.zeros_like(g_s[0])
    for t in range(len(g_s)) if forward else reversed(range(len(g_s))):
        g_h = g_s[t] * slope[t] + g_v * ((1 - s[t]) if resets else 1)
        g_x[t], g_v = to_x * g_h, to_v * g_h
    return g_x


def _gives(expected: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Callable], bool]:
    """Return whether a backward pass gives what this one gives."""

    def given(answer: Callable) -> bool:
        _, (h, s, slope, g_s) = _leaky_pass()
        g_x = answer(h.clone(), s.clone(), slope.clone(), g_s.clone(), _TAU)
        return torch.allclose(g_x, expected(s, slope, g_s), rtol=1e-9, atol=1e-12)

    return given


def _is_that_of_autograd(answer: Callable) -> bool:
    expected, (h, s, slope, g_s) = _leaky_pass()
    return torch.allclose(answer(h, s, slope, g_s, _TAU), expected, rtol=1e-9, atol=1e-12)


class _Quarter(cells.IF):
    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return v + torch.where(x >= 0, x, x / 4)


def _quarter(node: nn.Module) -> tuple[bool, Tensor, Tensor, Tensor, Tensor]:
    """Return whether a node is fused, its spikes and the right ones, and its gradient and the right one."""
    node = copy.deepcopy(node).double()
    reset_net(node)
    x = (2 * _drive(28, 4, 8)).requires_grad_()
    (decision,) = explain(MultiStepContainer(node), x.detach())
    spikes = node.forward_sequence(x * 1)  # which may be changed in place
    (found,) = torch.autograd.grad(spikes.sum(), x)
    cell = _Quarter(node.v_threshold, node.v_reset, node.surrogate_function, node.detach_reset)
    expected, _ = reference.scan(cell.step, x, (torch.zeros_like(x[0]),))
    (right,) = torch.autograd.grad(expected.sum(), x)
    return decision.fused, spikes, expected, found, right


def _own_neuron(node: nn.Module) -> bool:
    fused, spikes, expected, found, right = _quarter(node)
    return fused and torch.equal(spikes, expected) and torch.allclose(found, right, rtol=1e-9, atol=1e-12)


def _takes_the_loop(node: nn.Module) -> bool:
    fused, spikes, expected, _, _ = _quarter(node)
    return torch.equal(spikes, expected) and not fused


def _other_gradient(node: nn.Module) -> bool:
    fused, spikes, expected, _, _ = _quarter(node)
    return fused and torch.equal(spikes, expected)


def _other_spikes(node: nn.Module) -> bool:
    _, spikes, expected, _, _ = _quarter(node)
    return not torch.equal(spikes, expected)


EXERCISES: dict[str, Exercise] = {
    "09.1": Exercise(
        5001,
        "in the table of section 2, how many more nodes does each further step leave? And what is left over?",
        [
            (5000, "each step leaves five nodes, but the total is not a multiple of 5: 5 x 28 is not 141."),
            (
                5003,
                "three nodes stand outside the loop, but the reset of the last step, two nodes, reaches no output.",
            ),
            (4998, "that leaves out the nodes outside the loop: unbind, stack, and the input."),
            (
                lambda n: 5035 <= n <= 5036,
                "the count is not proportional to T: a few nodes are there once, for any T.",
            ),
        ],
        "Five nodes a step, less two for the last reset, plus three outside the loop: 5 T + 1.",
    ),
    "09.2": Exercise(
        2,
        "which modules do kernels know, and what happens to the modules before and after one they do not know?",
        [
            (1, "no kernel knows dropout, so that it cannot lie within a scan."),
            (3, "dropout is called as it is, between two scans; it is not a scan itself."),
            (4, "neighbours still share a scan: fc1 with sn1, and fc2 with sn2."),
            (5, "neighbours still share a scan, and dropout is none."),
        ],
        "Dropout ends the first scan, is called on all steps at once, and the second scan begins after it.",
    ),
    "09.3": Exercise(
        [12, 4],
        "which numbers does dL/dh[t] need where the reset is not detached, see section 3? A number has 4 bytes.",
        [
            (
                [8, 4],
                "that holds with the detached reset; here the spike that resets has a gradient too, and it needs h[t].",
            ),
            (
                [12, 8],
                "beyond 8 MiB the fused scan keeps its input and computes the rest again, whatever the reset.",
            ),
            (
                [12, 12],
                "beyond 8 MiB the fused scan keeps its input and computes the rest again, whatever the reset.",
            ),
            ([12, 16], "that is about what the fused scan keeps up to 8 MiB; with T = 784 it would be more."),
            ([3, 1], "those are numbers; each is a 32-bit float."),
            ([4, 12], "that is the other way round: the loop comes first."),
        ],
        "The loop keeps h[t] - v_threshold, 1 - s[t] and h[t], the fused scan x[t] alone.",
    ),
    "09.4": Exercise(
        _is_that_of_autograd,
        "only the last equation of section 3 changes: what are the derivatives of h[t] to x[t] and to v[t-1]?",
        [
            (
                _gives(lambda s, slope, g_s: _backward(s, slope, g_s, 1, 1)),
                "that is the neuron without a leak: h[t] no longer is v[t-1] + x[t].",
            ),
            (
                _gives(lambda s, slope, g_s: _backward(s, slope, g_s, 1, 1 - 1 / _TAU)),
                "the leak is right; but the input is divided by tau too.",
            ),
            (
                _gives(lambda s, slope, g_s: _backward(s, slope, g_s, 1 / _TAU, 1)),
                "the input is right; but of v[t-1] only 1 - 1/tau is left after a step.",
            ),
            (
                _gives(lambda s, slope, g_s: _backward(s, slope, g_s, 1 / _TAU, 1 / _TAU)),
                "v[t-1] keeps 1 - 1/tau of itself; 1/tau is what it loses.",
            ),
            (
                _gives(lambda s, slope, g_s: _backward(s, slope, g_s, 1 - 1 / _TAU, 1 / _TAU)),
                "the two factors have changed places.",
            ),
            (
                _gives(lambda s, slope, g_s: _backward(s, slope, g_s, _TAU, 1 - _TAU)),
                "h[t] has 1/tau in it, not tau.",
            ),
            (
                _gives(lambda s, slope, g_s: _backward(s, slope, g_s, 1 / _TAU, 1 - 1 / _TAU, resets=False)),
                "where the neuron fired, nothing of h[t] is left in v[t]: the factor 1 - s[t] is missing.",
            ),
            (
                _gives(lambda s, slope, g_s: _backward(s, slope, g_s, 1 / _TAU, 1 - 1 / _TAU, forward=True)),
                "the factors are right; but g_v[t] comes from step t + 1: begin with the last step.",
            ),
        ],
        "The derivatives of h[t] are 1/tau with respect to x[t] and 1 - 1/tau with respect to v[t-1].",
    ),
    "09.5": Exercise(
        _own_neuron,
        "copy SaturatingCell and SaturatingNode, change the charge, and let `answer` be a node.",
        [
            (
                _takes_the_loop,
                "the node is right, but takes the loop: `explain` says why, and `torch.where` needs no loop.",
            ),
            (
                _other_gradient,
                "the spikes are right, but not the gradient: does anything cut or change it on its way to x?",
            ),
            (_other_spikes, "its spikes are not those of the equation: look at the charge."),
        ],
        "It is fused, and its spikes and gradients are those of the equation.",
    ),
}
