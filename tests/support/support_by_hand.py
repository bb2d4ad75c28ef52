"""The three networks written out step by step, without any module: what variants and probes are compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sequential_fmnist.variants import NetworkSpec


def primitive(name: str, x: Tensor, alpha: float) -> Tensor:
    """The smooth step whose derivative the surrogate function ``name`` takes."""
    if name == "atan":
        return torch.atan(math.pi / 2 * alpha * x) / math.pi
    return torch.tanh(alpha * x / 2) / 2  # the logistic function less 1/2, without its overflow


def by_hand(spec: NetworkSpec, net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return ``output`` ``[N, 10]``, and what neurons and synapses do in each step, ``[T, N, *]``."""
    weights = dict(net.named_parameters()) | dict(net.named_buffers())

    def fire(h: Tensor, is_cut: bool) -> tuple[Tensor, Tensor]:
        smooth = primitive(spec.surrogate_function, h - 1, spec.alpha)
        s = (h >= 1).to(h) + (smooth - smooth.detach())
        r = s.detach() if is_cut else s
        return s, (1 - r) * h

    zeros = images.new_zeros(len(images), spec.hidden)
    v_hidden = current = spike = zeros
    v_out = images.new_zeros(len(images), 10)
    kept: dict[str, list[Tensor]] = {}
    for t in range(images.shape[-1]):
        x = images[:, 0, :, t] @ weights["fc1.weight"].T + weights["fc1.bias"]
        if spec.batch_norm:
            scale = weights["bn.weight"] / (weights["bn.running_var"] + 1e-5).sqrt()
            x = (x - weights["bn.running_mean"]) * scale + weights["bn.bias"]
        if spec.model == "feedback":
            w_x, w_y = weights["sn1.0.rc.weight"].split(spec.hidden, dim=1)
            x = x @ w_x.T + spike @ w_y.T + weights["sn1.0.rc.bias"]
        spike, v_hidden = fire(v_hidden + x, spec.detach_reset != "none")
        arriving = spike
        if spec.model == "stateful-synapse":
            decay = 1 / spec.tau if spec.tau_mode == "frozen" else torch.sigmoid(weights["sy1.0.w"])
            current = arriving = current - (1 - spike) * decay * current + spike
        out = arriving @ weights["fc2.weight"].T + weights["fc2.bias"]
        if spec.readout == "rate":
            out, v_out = fire(v_out + out, spec.detach_reset == "all")
        elif spec.readout == "summing":
            decay = 1 / spec.tau if spec.tau_mode == "frozen" else torch.sigmoid(weights["sn2.w"])
            out = v_out = v_out - decay * v_out + out
        for name, value in {
            "hidden_spikes": spike,
            "hidden_v": v_hidden,
            "current": current,
            "read_out_spikes": out,
            "read_out_v": v_out,
        }.items():
            kept.setdefault(name, []).append(value)
    seen = {name: torch.stack(values) for name, values in kept.items()}
    return seen | {"output": spec.scale * seen["read_out_spikes"][-(spec.last or 0) :].mean(0)}
