"""``python -m snn_tutorial.inside``: what networks of chapter 08 still hold of a cue, and where a gradient reaches.

Networks are trained again, since a record keeps no weights: with the recipes of the informed start, for a distance of
200 steps. Those of the group ``fair-ratios`` are looked at before training.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sequential_fmnist.experiments.fair.networks import MemoryNet
from sequential_fmnist.experiments.fair.plan import FAIR, FIRST, RATIOS_AT, final
from sequential_fmnist.experiments.fair.tasks import Recall
from sequential_fmnist.experiments.frame import Spec
from sequential_fmnist.experiments.results import provenance, write_json
from sequential_fmnist.train import set_seed
from snn_core import functional

#: A command: it has no functions for others.
__all__ = ["PATH"]

PATH = Path("results") / "fair_inside.json"
KINDS = ("plain", "stateful synapse", "feedback", "feedback through SynapseFilter", "GRU", "LSTM")
#: Steps between the end of the cue and the state that a linear reader classifies.
AFTER = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
#: Sequences that the reader is fitted to, and asked about.
FITTED, ASKED = 1_500, 400
#: Of the reader's weights, in units of the features' variance.
PENALTY = 0.1
#: Seeds of the networks that are looked at before training.
SEEDS = range(FIRST, FIRST + 3)


def cues(seed: int, samples: int, distance: int = AFTER[-1]) -> tuple[Tensor, Tensor]:
    """Return sequences of the recall task, ``[T, samples, 9]``, and their symbols."""
    return Recall(distance).draw(torch.Generator().manual_seed(seed), samples)


@torch.no_grad()
def states(net: MemoryNet, x_seq: Tensor) -> Iterator[Tensor]:
    """Yield what the hidden layer keeps after each of :data:`AFTER` steps, ``[N, features]``, in units of its SD."""
    kept, begin = None, 0
    functional.reset_net(net)
    for k in AFTER:
        end = Recall.window + k
        if hasattr(net, "rnn"):
            _, kept = net.rnn(x_seq[begin:end], kept)
            parts = [part[0] for part in (kept if isinstance(kept, tuple) else (kept,))]
        else:
            for x in x_seq[begin:end]:
                for layer in (net.fc1, *net.memory):
                    x = layer(x)
            parts = list(functional.states(net.memory).values())
        yield torch.cat([part.flatten(1) / part.std().clamp_min(1e-6) for part in parts], 1)
        begin = end
    functional.reset_net(net)


def read(fitted: Tensor, known: Tensor, shown: Tensor, asked: Tensor) -> float:
    """Return the share of ``asked`` that a linear reader, fitted to other sequences, classifies from ``shown``."""
    mean, targets = fitted.mean(0), one_hot(known, Recall.outputs).double()
    x, average = (fitted - mean).double(), targets.mean(0)
    penalty = PENALTY * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(x.T @ x + penalty, x.T @ (targets - average))
    scores = (shown - mean).double() @ weights + average
    return (scores.argmax(1) == asked).float().mean().item()


def look(net: MemoryNet) -> dict[str, list[float]]:
    """Return what a reader classifies after each of :data:`AFTER` steps."""
    (known_seq, known), (asked_seq, asked) = cues(1, FITTED), cues(2, ASKED)
    pairs = zip(states(net, known_seq), list(states(net, asked_seq)), strict=True)
    return {"held": [round(read(fitted, known, shown, asked), 4) for fitted, shown in pairs]}


def before(net: MemoryNet) -> tuple[float, float]:
    """Return what the read-out could classify after D steps, and the gradient at the cue over that at the answer."""
    (known_seq, known), (asked_seq, asked) = (
        cues(seed, number, RATIOS_AT) for seed, number in ((1, FITTED), (2, ASKED))
    )
    with torch.no_grad():
        fitted, shown = (net.hidden_seq(x_seq)[-net.window :].mean(0) for x_seq in (known_seq, asked_seq))
    x_seq = asked_seq[:, :100].clone().requires_grad_()
    torch.nn.functional.cross_entropy(net(x_seq), asked[:100], reduction="sum").backward()
    norms = x_seq.grad.norm(dim=2).mean(1)  # type: ignore[union-attr]
    ratio = norms[: net.window].mean() / norms[-net.window :].mean().clamp_min(1e-30)
    return read(fitted, known, shown, asked), ratio.item()


def built(spec: Spec, seed: int) -> MemoryNet:
    """Return the network of a run with the weights that a seed draws."""
    set_seed(seed)
    return spec.network.build(spec.task)


def main() -> None:
    """Train the networks, look into them, and write what is seen to :data:`PATH`."""
    torch.set_num_threads(1)
    store = FAIR.store()
    records, networks = store.records(), {}
    for kind in KINDS:
        spec = final(records, "recall", kind, "informed", RATIOS_AT)
        if spec is None:
            raise SystemExit(
                f"error: {store.path} lacks runs: run `make ablation ARGS=fair-recall-search` first"
            )
        net = built(spec, FIRST)
        spec.task.train(net, spec.with_seed(FIRST).training)
        networks[kind] = look(net)
        print(f"{kind:31} holds {networks[kind]['held'][-1]:.0%} of cues for {AFTER[-1]} steps", flush=True)
    ratios: dict[str, dict[str, list[float]]] = {}
    for case in FAIR.groups["fair-ratios"](records):
        if case.name.startswith("tau learned"):
            seen = [before(built(case.spec, seed)) for seed in SEEDS]
            means = ratios.setdefault(case.kind, {"cue": [], "gradient": []})
            for name, values in zip(means, zip(*seen, strict=True), strict=True):
                means[name].append(float(f"{sum(values) / len(values):.4g}"))
    found = {
        "distance": RATIOS_AT,
        "after": AFTER,
        "networks": networks,
        "ratios": ratios,
        "provenance": provenance(),
    }
    write_json(PATH, found, width=400)


if __name__ == "__main__":
    main()
