from __future__ import annotations

from types import SimpleNamespace

import torch

from sequential_fmnist.experiments.columns import shuffled


def test_each_image_keeps_its_columns_in_an_order_of_its_own():
    images = torch.arange(28).expand(50, 1, 28, 28) + 28 * torch.arange(50)[:, None, None, None]
    mixed = shuffled(SimpleNamespace(images=images, labels=None), seed=0).images
    assert torch.equal(mixed.sort(3).values, images)
    assert (mixed == mixed[:, :, :1]).all()  # a column stays together
    orders = {tuple((image[0, 0] % 28).tolist()) for image in mixed}
    assert len(orders) == 50
