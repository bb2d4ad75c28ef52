"""``python -m snn_tutorial.inside``: what reaches the answer of a network of chapter 08 before training.

For each time constant at the start of the group ``fair-ratios``: the share of cues that a linear reader gets from the
hidden layer at the answer, and the gradient at the cue.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from sequential_fmnist.experiments.fair.networks import MemoryNet
from sequential_fmnist.experiments.fair.plan import FAIR, FIRST, RATIOS_AT
from sequential_fmnist.experiments.fair.tasks import Recall
from sequential_fmnist.experiments.frame import Spec
from sequential_fmnist.experiments.results import provenance, write_json
from sequential_fmnist.train import set_seed

#: A command: it has no functions for others.
__all__ = ["PATH"]

PATH = Path("results") / "fair_inside.json"
#: Sequences that the reader is fitted to, and asked about.
FITTED, ASKED = 1_500, 400
#: Of the reader's weights.
PENALTY = 0.1
#: Seeds of the networks.
SEEDS = range(FIRST, FIRST + 3)


def cues(seed: int, samples: int) -> tuple[Tensor, Tensor]:
    """Return sequences of the recall task, ``[T, samples, 9]``, and their symbols."""
    return Recall(RATIOS_AT).draw(torch.Generator().manual_seed(seed), samples)


def read(fitted: Tensor, known: Tensor, shown: Tensor, asked: Tensor) -> float:
    """Return the share of ``asked`` that a linear reader, fitted to other sequences, classifies from ``shown``."""
    mean, targets = fitted.mean(0), one_hot(known, Recall.outputs).double()
    x, average = (fitted - mean).double(), targets.mean(0)
    penalty = PENALTY * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(x.T @ x + penalty, x.T @ (targets - average))
    scores = (shown - mean).double() @ weights + average
    return (scores.argmax(1) == asked).float().mean().item()


def before(net: MemoryNet) -> tuple[float, float]:
    """Return what the read-out could classify after D steps, and the gradient at the cue over that at the answer."""
    (known_seq, known), (asked_seq, asked) = cues(1, FITTED), cues(2, ASKED)
    with torch.no_grad():
        fitted, shown = (net.hidden_seq(x_seq)[-net.window :].mean(0) for x_seq in (known_seq, asked_seq))
    x_seq = asked_seq[:, :100].clone().requires_grad_()
    cross_entropy(net(x_seq), asked[:100], reduction="sum").backward()
    norms = x_seq.grad.norm(dim=2).mean(1)  # type: ignore[union-attr]
    ratio = norms[: net.window].mean() / norms[-net.window :].mean().clamp_min(1e-30)
    return read(fitted, known, shown, asked), ratio.item()


def built(spec: Spec, seed: int) -> MemoryNet:
    """Return the network of a run with the weights that a seed draws."""
    set_seed(seed)
    return spec.network.build(spec.task)


def main() -> None:
    """Look into the networks, and write what is seen to :data:`PATH`."""
    torch.set_num_threads(1)
    ratios: dict[str, dict[str, list[float]]] = {}
    for case in FAIR.groups["fair-ratios"](FAIR.store().records()):
        if case.name.startswith("tau learned"):
            seen = [before(built(case.spec, seed)) for seed in SEEDS]
            means = ratios.setdefault(case.kind, {"cue": [], "gradient": []})
            for name, values in zip(means, zip(*seen, strict=True), strict=True):
                means[name].append(float(f"{sum(values) / len(values):.4g}"))
    if not ratios:
        raise SystemExit("error: runs are missing: run `make ablation ARGS=fair-recall-search` first")
    write_json(PATH, {"distance": RATIOS_AT, "ratios": ratios, "provenance": provenance()}, width=400)


if __name__ == "__main__":
    main()
