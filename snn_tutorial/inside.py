"""``python -m snn_tutorial.inside``: how long trained and untrained networks hold a cue, and a gradient.

The networks are those of the group ``long-noisy-recall`` at a delay of 100 steps, trained again, since a record keeps
no weights. They are asked for up to 1,000 steps after the cue. Beside them stands what a linear reader says of an image
that sees only the last pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.command import Parser, target, whole
from experiments.long.grid import DRAWS, NETWORKS, QUESTIONS, chosen, spec_of
from experiments.long.networks import MemoryNet
from experiments.long.runs import LongRun, build, train
from experiments.long.tasks import Recall
from experiments.results import provenance, write_json
from experiments.statistics import estimate
from snn_core.functional import reset_net
from snn_core.state import MemoryModule
from snn_tutorial.ridge import LinearReaders

#: A command: it has no functions for others.
__all__ = ["PATH"]

PATH = Path("results") / "long_inside.json"
DELAY, SEEDS = 100, 3
#: Steps between the end of the cue and the state that the probe reads.
AFTER = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
NAME = "noisy-recall"
QUESTION = QUESTIONS[NAME]
#: Sequences that the probe is fitted to, and asked about.
FITTED, SAMPLES = 1_500, 400
#: Samples whose states are kept for the picture: the first two principal components.
SHOWN = 64
#: Images that the reader without memory is fitted to.
IMAGES = 20_000


def cues(seed: int, delay: int = AFTER[-1], samples: int = SAMPLES) -> tuple[Tensor, Tensor]:
    """Return sequences of the recall task with noise, ``[T, samples, 9]``, and their symbols."""
    x_seq, target, _ = Recall(delay, QUESTION.noise).draw(torch.Generator().manual_seed(seed), samples)
    return x_seq, target


@torch.no_grad()
def states(net: MemoryNet, x_seq: Tensor) -> Iterator[Tensor]:
    """Yield the whole state of the hidden layer after each of :data:`AFTER` steps, ``[N, features]``.

    Of spiking layers that is what their neurons, synapses and loops keep from step to step; of gated ones h, and c.
    """
    kept, begin = None, 0
    reset_net(net)
    for k in AFTER:
        end = Recall.SHOWN + k
        if net.is_spiking:
            for x in x_seq[begin:end]:  # step by step, since pieces may be shorter than a delay
                for layer in (net.fc1, *net.memory):
                    x = layer(x)
            owners = [module for module in net.memory.modules() if isinstance(module, MemoryModule)]
            parts = [getattr(owner, name) for owner in owners for name in owner.state_names]
        else:
            _, kept = net.rnn(x_seq[begin:end], kept)
            parts = [part[0] for part in (kept if isinstance(kept, tuple) else (kept,))]
        # Each kind of number in units of its own deviation.
        yield torch.cat([part.flatten(1) / part.std().clamp_min(1e-6) for part in parts], 1)
        begin = end
    reset_net(net)


def held(net: MemoryNet) -> tuple[list[float], list[list[list[float]]]]:
    """Return how many of the cues a linear probe reads from the state after each of :data:`AFTER` steps, as a fraction.

    The probe is fitted to other sequences than it is asked about. Also returned are some of the states in their first
    two principal components, ``[AFTER, SHOWN, 2]``.
    """
    (known_seq, known), (asked_seq, asked) = cues(1, samples=FITTED), cues(2)
    pictures, rates = [], []
    for fitted, shown in zip(states(net, known_seq), list(states(net, asked_seq)), strict=True):
        readers = LinearReaders(fitted, known, penalty=0.1, classes=Recall.outputs)
        rates.append(readers.accuracy(readers.weights(torch.eye(fitted.shape[1])), shown, asked))
        pictures.append(_plane(fitted, shown[:SHOWN]))
    return rates, pictures


def _plane(known: Tensor, shown: Tensor) -> list[list[float]]:
    """Return states in the first two principal components of the known ones, in units of the first one's deviation."""
    mean = known.mean(0)
    _, values, axes = torch.linalg.svd(known - mean, full_matrices=False)
    scale = (values[0] / len(known) ** 0.5).clamp_min(1e-6)
    return [[round(value, 2) for value in row] for row in ((shown - mean) @ axes[:2].T / scale).tolist()]


def reach(net: MemoryNet, samples: int = 50) -> list[float]:
    """Return the norm of the gradient of the loss to the input after each of :data:`AFTER` steps back from the answer.

    It is the mean over sequences of each one's norm, ``E ||dL/dx[T - 5 - k]||``, with the loss after 1,000 steps.
    """
    x_seq, symbols = cues(3, samples=samples)
    x_seq.requires_grad_()
    torch.nn.functional.cross_entropy(net(x_seq), symbols, reduction="sum").backward()
    norms = x_seq.grad.norm(dim=2).mean(1)  # type: ignore[union-attr]
    return [norms[len(norms) - Recall.SHOWN - k].item() for k in AFTER]


def window(name: str) -> float:
    """Return how well a linear reader does that sees the inputs of the read-out's window only, so without any memory.

    Args:
        name: a question about images, ``"pixels"`` or ``"permuted"``; its reader is fitted to training images and asked
            about all test images.
    """
    task = QUESTIONS[name].task_spec(None).task()
    last = task.window or task.shortest
    (known, classes), (asked, answers) = (
        (batch.x_seq[-last:].squeeze(2).t(), batch.target)
        for batch in (next(task.training(0, IMAGES, "test")), next(task.fixed("test", IMAGES)))
    )
    readers = LinearReaders(known, classes)
    return readers.accuracy(readers.weights(torch.eye(last)), asked, answers)


def look(spec: LongRun) -> dict[str, Any]:
    """Return what can be seen of the network of a run before and after training."""
    found = {}
    for name, net in (("random", build(spec)), ("trained", train(spec)[0])):
        rates, plane = held(net)
        found[name] = {"held": rates, "reach": reach(net), "plane": plane}
    return found


def _interval(values: Sequence[float]) -> list[float | None]:
    found = estimate(values)
    return [found.mean, found.low, found.high]


def run(kinds: Sequence[str] = NETWORKS, seeds: int = SEEDS) -> dict[str, Any]:
    """Return for every network, untrained and trained, means over seeds; the states are those of seed 0."""
    found = {}
    for kind in kinds:
        spec = spec_of(NAME, kind, DRAWS[chosen()[NAME][kind]], DELAY)
        each = [look(spec.with_seed(seed)) for seed in range(seeds)]
        found[kind] = {
            state: {
                "held": [
                    list(vars(estimate(at)).values())[:3]
                    for at in zip(*(e[state]["held"] for e in each), strict=True)
                ],
                "reach": [sum(at) / seeds for at in zip(*(e[state]["reach"] for e in each), strict=True)],
                "plane": each[0][state]["plane"] if state == "trained" else None,
            }
            for state in ("random", "trained")
        }
        print(
            f"{kind:34} holds {found[kind]['trained']['held'][-1][0]:.0%} of cues for {AFTER[-1]} steps",
            flush=True,
        )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the networks and write what can be seen inside."""
    parser = Parser(prog="python -m snn_tutorial.inside", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seeds", type=whole(1, 1000), default=SEEDS, help=f"runs of each (default: {SEEDS})"
    )
    parser.add_argument("--out", type=target, default=PATH, help=f"file to write (default: {PATH})")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    settings = {
        "delay": DELAY,
        "after": AFTER,
        "noise": QUESTION.noise,
        "samples": SAMPLES,
        "seeds": args.seeds,
        "window": {name: round(window(name), 4) for name in ("pixels", "permuted")},
    }
    symbols = cues(2)[1][:SHOWN].tolist()
    write_json(
        args.out,
        settings | {"symbols": symbols, "networks": run(seeds=args.seeds), "provenance": provenance()},
        width=400,
    )


if __name__ == "__main__":
    main()
