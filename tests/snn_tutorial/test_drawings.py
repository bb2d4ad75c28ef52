from __future__ import annotations

import pytest
import torch

from sequential_fmnist.pretrained import PretrainedError
from snn_tutorial.live.drawings import FILE, FILL, INK, as_drawings, masks_of, network, trained


def ring():
    image = torch.zeros(28, 28)
    image[6:22, 6:22] = 200
    image[11:17, 11:17] = 0
    return image


def test_holes_of_a_garment_are_known():
    garment, whole, seams = masks_of(ring()[None])[0]
    assert garment.sum() == 16 * 16 - 6 * 6
    assert whole.sum() == 16 * 16
    assert not (seams > garment).any()


def test_drawings_are_strokes_with_grey_between_them(embedded):
    torch.manual_seed(0)
    drawn = as_drawings(masks_of(embedded[0].images[:50, 0].float()))
    assert drawn.shape == (50, 28, 28)
    assert drawn.min() == 0
    assert drawn.max() <= INK
    inner = as_drawings(masks_of(ring()[None].expand(20, -1, -1)))[:, 14, 14]
    assert (inner == FILL).any()


def test_training_folds_the_batch_normalisation(few):
    net = trained(few[0], epochs=1)
    assert net.state_dict().keys() == network().state_dict().keys()
    assert torch.isfinite(net(few[1].images / 255)).all()


def test_damaged_weights_are_refused(tmp_path):
    (tmp_path / "weights").write_bytes(FILE.read_bytes()[:-1] + b"?")
    with pytest.raises(PretrainedError, match="damaged"):
        network(file=tmp_path / "weights")
