"""Pictures with what networks said about them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from snn_tutorial.plot.style import NO_GRID, WIDTH

_PER_ROW = 5


@plt.rc_context(NO_GRID)
def pictures(images: np.ndarray, captions: Sequence[str]) -> Figure:
    """Draw images in rows of five, each with a caption above.

    Args:
        images: grey images ``[n, 28, 28]``.
        captions: text for each image, one or more lines.
    """
    rows = -(-len(images) // _PER_ROW)
    lines = max(caption.count("\n") + 1 for caption in captions)
    figure, all_axes = plt.subplots(
        rows, _PER_ROW, figsize=(WIDTH, rows * (1.2 + 0.2 * lines)), squeeze=False
    )
    for axes in all_axes.flat:
        axes.set_axis_off()
    for axes, image, caption in zip(all_axes.flat, images, captions, strict=False):
        axes.imshow(image, vmin=0, vmax=255)
        axes.set_title(caption)
    return figure
