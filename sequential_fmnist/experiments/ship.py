"""``python -m sequential_fmnist.experiments.ship``: train the chosen recipes again, and keep weights, each with a card.

Of the seeds of a recipe, the one with the median accuracy is kept, so that the test set picks nothing in its favour.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save

from sequential_fmnist.checkpoint import set_seed
from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.experiments.ablation import ABLATION
from sequential_fmnist.experiments.frame import Case, Record, Spec, Store, one_thread
from sequential_fmnist.experiments.results import provenance, write_bytes, write_json
from sequential_fmnist.experiments.statistics import estimate
from sequential_fmnist.networks import TUTORIAL_NETWORKS
from sequential_fmnist.pretrained import CARDS, PRETRAINED_FOLDER

INTENDED_USE = (
    "To look into, to compare with and to start from: what recurrent connections and stateful synapses do in a small "
    "spiking network."
)
LIMITS = (
    "Grey pictures of clothes, 28 x 28, one column for each time step, values in [0, 1]; nothing is known about other "
    "pictures, other sensors or noise. The ten classes are those of Fashion-MNIST. Not for decisions about anybody."
)


def median(records: Sequence[Record]) -> Record:
    """Return the result with the median accuracy: of two in the middle the lower one, of equal ones the first seed's.

    Raises:
        ValueError: a run failed.
    """
    failed = [record["seed"] for record in records if record["accuracy"] is None]
    if failed:
        raise ValueError(f"the runs with seeds {failed} failed: a recipe that fails is not one to ship")
    return sorted(records, key=lambda r: (r["accuracy"], r["seed"]))[(len(records) - 1) // 2]


@one_thread()
def ship(case: Case, store: Store, folder: str | Path = PRETRAINED_FOLDER) -> dict[str, Any]:
    """Train the run of ``case`` whose seed has the median accuracy, write weights and card, and return the card.

    Each file is written whole or not at all; weights whose card was not written yet are refused by
    :func:`sequential_fmnist.pretrained.load`, as their SHA-256 is not the card's.

    Args:
        case: a recipe with its seeds.
        store: the results of its runs.
        folder: where the files go.

    Raises:
        ValueError: runs of ``case`` are missing in ``store``, or failed.
    """
    specs, known = {spec.key(): spec for spec in case.runs()}, store.records()
    if missing := specs.keys() - known.keys():
        raise ValueError(
            f"{len(missing)} of {len(specs)} runs of {case.kind} are not in {store.path}: run "
            '`make ablation ARGS="best refined"` first'
        )
    chosen = median([known[key] for key in specs])
    spec: Spec = specs[chosen["key"]]
    set_seed(spec.training.seed)
    net, _ = spec.task.train(spec.network.build(spec.task), spec.training)
    training_images, test_images = spec.task.splits()
    _, accuracy = evaluate(net, test_images, 1000, loss=spec.training.loss)
    weights = save({name: weight.contiguous() for name, weight in net.state_dict().items()})
    seeds = estimate([known[key]["accuracy"] for key in specs])
    folder, file = Path(folder), f"{case.kind}.safetensors"
    digest = write_bytes(folder / file, weights)
    card = {
        "file": file,
        "sha256": digest,
        "spec": dataclasses.asdict(dataclasses.replace(spec.network, batch_norm=False)),
        "trained_as": dataclasses.asdict(spec.network),
        "training": dataclasses.asdict(spec.training),
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "accuracy": {
            "test": accuracy,
            "seed": spec.training.seed,
            "recorded": chosen["accuracy"],
            **{"mean": seeds.mean, "low": seeds.low, "high": seeds.high, "seeds": seeds.n},
            "note": "test: these weights; recorded: the same run in the sweep; mean over seeds with its 95 % interval; "
            "the seed is the one with the median accuracy",
        },
        "data": {
            "name": "Fashion-MNIST",
            "home": "https://github.com/zalandoresearch/fashion-mnist",
            "licence": "MIT, Zalando SE",
            "training_images": len(training_images),
            "test_images": len(test_images),
            "is_subset": test_images.is_subset,
            **{name: getattr(spec.task, name) for name in ("order", "standardise", "permuted", "delay")},
        },
        "versions": provenance(),
        "licence": "MIT",
        "intended_use": INTENDED_USE,
        "limits": LIMITS,
    }
    path = folder / CARDS
    cards = (json.loads(path.read_text()) if path.exists() else {}) | {case.kind: card}
    write_json(path, {name: cards[name] for name in TUTORIAL_NETWORKS if name in cards})
    return card


def shipped() -> list[Case]:
    """Return the cases whose weights are kept: each network of its published size, by its latest recipe."""
    cases = [case for name in ("best", "refined") for case in ABLATION.groups[name]({})]
    return list({case.kind: case for case in cases if case.spec.network.hidden == 32}.values())


def main(results: str | Path = "results", folder: str | Path = PRETRAINED_FOLDER) -> None:
    """Train the chosen recipe of each network with the seed of the median accuracy, and keep the weights."""
    for case in shipped():
        try:
            accuracy = ship(case, ABLATION.store(results), folder)["accuracy"]
        except (ValueError, OSError) as error:
            raise SystemExit(f"error: {error}") from error
        print(
            f"{case.kind}: seed {accuracy['seed']}, test accuracy {accuracy['test']:.2%} "
            f"(in the sweep {accuracy['recorded']:.2%}, mean of {accuracy['seeds']} seeds {accuracy['mean']:.2%})"
        )


if __name__ == "__main__":
    main()
