"""A feedback network that reads drawings: trained on the real images, and on drawings made of them.

``python -m snn_tutorial.live.drawings`` trains it on the full data, in ten minutes, and writes its weights beside this
file. It prints the digest that belongs into :data:`DIGEST`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from sequential_fmnist.checkpoint import atomic_write, sha256
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.evaluate import evaluate
from sequential_fmnist.pretrained import PretrainedError
from sequential_fmnist.train import TrainingConfig, fit, set_seed
from sequential_fmnist.variants import NetworkSpec, fold
from snn_tutorial.page import save_results

#: The rest is the command's.
__all__ = ["FILE", "network"]

FILE = Path(__file__).with_name("drawings.safetensors")
#: SHA-256 of that file.
DIGEST = "21bbfb4fbaf7206b387fa7a4628b4fdc1d5e6a65afb390beb2e674cc54ef2b04"
SPEC = NetworkSpec(
    "feedback", 64, detach_reset="none", surrogate_function="sigmoid", readout="membrane", scale=10.0
)
EPOCHS, BATCH, LR, SEED = 60, 512, 0.01, 0
#: The part of each batch that is turned into drawings, and the greys of strokes and of what they enclose.
DRAWN, INK, FILL = 0.45, 230.0, 150.0


def network(file: Path = FILE) -> nn.Module:
    """Return the network with its shipped weights.

    Raises:
        PretrainedError: the file of weights is damaged.
    """
    content = file.read_bytes()
    if (found := sha256(content)) != DIGEST:
        raise PretrainedError(f"weights {file} are damaged: expected SHA-256 {DIGEST}, found {found}")
    net = SPEC.build()
    net.load_state_dict(load(content))
    return net


def _grown(mask: Tensor, size: int = 3) -> Tensor:
    return F.max_pool2d(mask, size, 1, size // 2)


def masks_of(images: Tensor) -> Tensor:
    """Return masks ``[N, 3, 28, 28]`` of images ``[N, 28, 28]``: of the garment, with its holes, and of seams."""
    images = images[:, None]
    garment = -_grown(-_grown((images > 25).float()))  # without holes of a pixel
    ground = F.pad(torch.zeros_like(garment), (1, 1, 1, 1), value=1.0)
    free = 1 - F.pad(garment, (1, 1, 1, 1))
    for _ in range(2 * images.shape[-1]):
        ground = _grown(ground) * free
    seams = ((images - F.avg_pool2d(images, 3, 1, 1)).abs() > 35) * garment
    return torch.cat([garment, 1 - ground[:, :, 1:-1, 1:-1], seams], 1)


def as_drawings(masks: Tensor) -> Tensor:
    """Return drawings ``[N, 28, 28]``, from 0 to 255, of garments that :func:`masks_of` has found.

    They are as ``prepared`` in ``pad.js`` leaves a drawing: what the garment covers is filled with a grey, and its
    outline and some of its seams are strokes.
    """
    n = len(masks)

    def between(low: float, high: float) -> Tensor:
        return torch.empty(n).uniform_(low, high)

    width = masks[:, 0].amax(1).sum(1).clamp(min=1) / masks.shape[-1]
    angle, size = between(-0.1, 0.1), between(0.9, 1.06)
    stretch = (
        between(0, 1) * (1.05 / width).clamp(max=1.6).sub(0.85) + 0.85
    )  # narrow garments may be drawn wider
    turn = torch.stack([angle.cos() / stretch, -angle.sin(), angle.sin() / stretch, angle.cos()], 1)
    place = torch.stack([between(-0.07, 0.07), between(-0.07, 0.07)], 1)
    affine = torch.cat([turn.view(n, 2, 2) / size.view(n, 1, 1), place[:, :, None]], 2)
    bent = F.interpolate(0.05 * torch.randn(n, 2, 4, 4), (28, 28), mode="bicubic")  # as by an unsteady hand
    grid = F.affine_grid(affine, [n, 3, 28, 28], align_corners=False) + bent.permute(0, 2, 3, 1)
    garment, whole, seams = (F.grid_sample(masks, grid, align_corners=False) > 0.5).float().split(1, 1)
    has_seams, is_bright, is_wide, is_hatched = torch.rand(4, n, 1, 1, 1) < 0.5
    outline = garment + torch.where(is_wide, _grown(-garment, 5), _grown(-garment))
    strokes = torch.where(has_seams, torch.maximum(outline, seams), outline)
    hatched = torch.where(torch.arange(28)[:, None] % 2 > 0, INK, FILL)
    inside = garment * torch.where(is_bright, torch.where(is_hatched, hatched, INK), FILL)
    drawn = torch.maximum(torch.maximum(whole * FILL, inside), strokes * INK)
    return ((drawn + F.avg_pool2d(drawn, 3, 1, 1)) / 2)[:, 0]


class Batches:
    """Batches ``(images, labels)`` of the real images, in each of which some are turned into drawings, always anew."""

    def __init__(self, train: SequentialFashionMNIST) -> None:
        self.real, self.labels = train.images.float(), train.labels
        self.masks = torch.cat([masks_of(some[:, 0]) for some in self.real.split(1000)])

    def __len__(self) -> int:
        return -(-len(self.real) // BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for which in torch.randperm(len(self.real)).split(BATCH):
            some, count = self.real[which], int(DRAWN * len(which))
            some[:count, 0] = as_drawings(self.masks[which[:count]])
            yield some / 255, self.labels[which]


def trained(train: SequentialFashionMNIST, epochs: int) -> nn.Module:
    """Train the network, and return it with its batch normalisation folded in."""
    set_seed(SEED)
    net = dataclasses.replace(SPEC, batch_norm=True).build()
    config = TrainingConfig(epochs=epochs, opt="adam", lr=LR, loss="cross-entropy", clip=1.0, seed=SEED)
    fit(net, Batches(train), config=config)
    return fold(net)


def main() -> None:
    """Train, and write weights and accuracy."""
    net = trained(SequentialFashionMNIST(train=True), EPOCHS)
    content = save({name: tensor.contiguous() for name, tensor in net.state_dict().items()})
    with atomic_write(FILE) as file:
        file.write(content)
    print(f"DIGEST = {sha256(content)!r}")
    _, accuracy = evaluate(net, SequentialFashionMNIST(train=False))
    settings = {
        "epochs": EPOCHS,
        "batch": BATCH,
        "lr": LR,
        "seed": SEED,
        "hidden": SPEC.hidden,
        "drawn": DRAWN,
    }
    save_results("results", "drawings", {**settings, "test_accuracy": round(accuracy, 4)})


if __name__ == "__main__":
    main()
