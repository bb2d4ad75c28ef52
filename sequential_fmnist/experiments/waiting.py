"""Three networks that wait, and read drawings: ``python -m sequential_fmnist.experiments.waiting``.

All have one width and the same training: the same images and drawings in the same order, the same recipe, the same
waiting. A picture enters column by column, blank columns follow, and the mean of the last outputs has to name it: for
half of the samples when the picture ends, for the others after one to 56 blank columns. The networks of seed 0 are
shipped, whatever the others reach; the record has the accuracy of each. The command resumes if it was interrupted.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from sequential_fmnist.checkpoint import load
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.evaluate import predict
from sequential_fmnist.experiments.hands import drawings, seen
from sequential_fmnist.experiments.results import provenance, write_bytes, write_json
from sequential_fmnist.networks import TUTORIAL_NETWORKS, columns_as_sequence
from sequential_fmnist.train import TrainingConfig, fit
from sequential_fmnist.variants import NetworkSpec, fold
from snn_core.functional import scan

RECORD, WEIGHTS = Path("results") / "waiting.json", Path("snn_tutorial") / "live" / "waiting.safetensors"
#: Outputs whose mean answers, and the most blank columns.
LAST, BLANK = 7, 56
#: The weights between hidden neurons of the feedback network, which take most of the time, limit the width of all. The
#: time constant of the synapse is at first as long as the longest wait: the distance is known.
SPEC = NetworkSpec(surrogate_function="sigmoid", detach_reset="none", readout="membrane", batch_norm=True,
                   tau=float(BLANK), hidden=128)  # fmt: skip
#: The networks of the first are shipped.
SEEDS = (0, 1, 2)
TRAINING = TrainingConfig(opt="adam", lr=0.005, loss="cross-entropy", clip=1.0, epochs=12, batch_size=128)
#: Images and drawings to train with, and seed of those; part of the images that are mirrored.
REAL, DRAWN, SEED, MIRRORED = 30_000, 60_000, 1, 0.3
RUNS = Path("runs") / "waiting"
#: Drawings that are counted, 40 of each class, and their seed.
COUNTED, OTHER_SEED = 400, 2


class Waits(nn.Module):
    """A network that is asked when ``blanks`` columns have followed the picture, with None after 0, 7, ... 56 of them.

    In training it is asked at a random time.

    Args:
        net: layers from columns to outputs in each step, its children.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*net.children())
        self.blanks: int | None = BLANK

    def forward(self, images: Tensor) -> Tensor:
        sums = scan(columns_as_sequence(F.pad(images, (0, BLANK))), *self.layers).cumsum(0)
        means = ((sums[LAST:] - sums[:-LAST]) / LAST)[images.shape[-1] - LAST - 1 :]  # [blanks, n, classes]
        if self.training:
            blanks = torch.randint(1, BLANK + 1, (len(images),)) * (torch.rand(len(images)) < 0.5)
            return means[blanks, torch.arange(len(images))]
        return means[::LAST].transpose(0, 1) if self.blanks is None else means[self.blanks]


def drawn(seed: int, count: int) -> SequentialFashionMNIST:
    """Return drawings as networks see them, and their classes, in the place of images."""
    data = copy.copy(SequentialFashionMNIST(train=False, source="embedded", verbose=False))
    labels, strokes = zip(*drawings(seed, count), strict=True)
    data.images = torch.from_numpy(np.stack([seen(one) for one in strokes]))[:, None]
    data.labels = torch.tensor(labels)
    return data


def training_pictures(real: SequentialFashionMNIST, count: int) -> SequentialFashionMNIST:
    """Return real images, some of them mirrored, and ``count`` drawings."""
    data, hands = copy.copy(real), drawn(SEED, count)
    images, labels = real.images[:REAL], real.labels[:REAL]
    is_mirrored = torch.rand(len(images), generator=torch.Generator().manual_seed(SEED)) < MIRRORED
    images = torch.where(is_mirrored[:, None, None, None], images.flip(3), images)
    data.images, data.labels = torch.cat([images, hands.images]), torch.cat([labels, hands.labels])
    return data


def known(net: Waits, data: SequentialFashionMNIST) -> dict[str, float]:
    """Return the share of pictures that are known after 0, 7, ... 56 blank columns."""
    net.blanks = None
    is_right = predict(net, data, 500) == data.labels[:, None]
    return {str(k * LAST): round(share, 4) for k, share in enumerate(is_right.double().mean(0).tolist())}


def counted(net: nn.Module, test: SequentialFashionMNIST, hands: SequentialFashionMNIST) -> dict[str, Any]:
    """Return what the record says of a network."""
    asked = Waits(net)
    record = {"parameters": sum(weight.numel() for weight in net.parameters()),
             "test": known(asked, test), "drawings": known(asked, hands)}  # fmt: skip
    asked.blanks = 0
    cells = (hands.labels * len(hands.classes) + predict(asked, hands, 500)).bincount(minlength=100)
    return record | {"confusion": cells.view(len(hands.classes), -1).tolist()}


def trained(kind: str, seed: int, pictures: SequentialFashionMNIST) -> nn.Module:
    """Train a network as far as it is not trained yet, and return it with weights in half precision."""
    torch.manual_seed(seed)
    net, config = dataclasses.replace(SPEC, model=kind).build(), dataclasses.replace(TRAINING, seed=seed)
    asked, folder = Waits(net), RUNS / f"{kind}-{seed}"
    latest = folder / "latest.pt"
    state = load(latest) if latest.exists() else {"config": {}}
    if dataclasses.asdict(config).items() <= state["config"].items() and state["epoch"] == config.epochs:
        asked.load_state_dict(state["model"])
    else:
        resume = latest if latest.exists() else None
        fit(asked, pictures, config=config, output_dir=folder, log=print, progress=False, resume=resume)
    net = fold(net)
    net.load_state_dict({name: weight.half().float() for name, weight in net.state_dict().items()})
    return net


def main(argv: Sequence[str] | None = None) -> None:
    """Train the networks, and write the weights of the first seed and the record."""
    name = "python -m sequential_fmnist.experiments.waiting"
    argparse.ArgumentParser(name, description=main.__doc__).parse_args(argv)
    pictures = training_pictures(SequentialFashionMNIST(train=True), DRAWN)
    test, hands = SequentialFashionMNIST(train=False), drawn(OTHER_SEED, COUNTED)
    weights: dict[str, Tensor] = {}
    networks: dict[str, Any] = {}
    for seed, kind in product(SEEDS, TUTORIAL_NETWORKS):
        net = trained(kind, seed, pictures)
        found = counted(net, test, hands)
        print(kind, seed, found["test"], found["drawings"])
        if seed == SEEDS[0]:
            weights |= {f"{kind}.{name}": one.half().contiguous() for name, one in net.state_dict().items()}
            networks[kind] = {"hidden": SPEC.hidden, **found, "seeds": {"test": [], "drawings": []}}
        for name, shares in networks[kind]["seeds"].items():
            shares.append(found[name])
    digest = write_bytes(WEIGHTS, save(weights))
    recipe = {"spec": dataclasses.asdict(SPEC) | {"model": list(TUTORIAL_NETWORKS)},
              "training": dataclasses.asdict(TRAINING) | {"seed": list(SEEDS)}, "real": REAL, "drawn": DRAWN,
              "seed": SEED, "mirrored": MIRRORED, "counted": COUNTED, "other_seed": OTHER_SEED}  # fmt: skip
    record = {"last": LAST, "sha256": digest, "recipe": recipe, "networks": networks}
    write_json(RECORD, record | {"provenance": provenance()})


if __name__ == "__main__":
    main()
