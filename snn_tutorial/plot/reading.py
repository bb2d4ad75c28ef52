"""How an image is read column by column: one step, and an animation of all steps."""

from __future__ import annotations

import imageio.v3 as imageio
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from snn_tutorial.plot.style import NO_GRID, QUANTITY, WIDTH, drawn

#: How long an animation shows a step, and its last step, in milliseconds, and how often it begins again.
STEP_MS, PAUSE_MS, REPEATS = 110, 1800, 2

#: How much of the ink of pixels that were not read yet is shown, and the grey on which they lie.
_DIM = 0.22
_UNREAD = 236

_TICKS = (0, 9, 18, 27)


@plt.rc_context(NO_GRID)
def reading_step(image: np.ndarray, t: int, name: str) -> Figure:
    """Draw one step of reading: the image, the 28 values of this step, and the input so far.

    Args:
        image: one grey image ``[28, 28]``, 0 to 255, as it is seen (not transposed).
        t: time step, 0 to 27.
        name: the image's class.
    """
    later = np.arange(28) > t
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDTH, 2.6), width_ratios=(1, 0.62, 1))
    left.imshow(np.where(later, _UNREAD - _DIM * image, 255.0 - image), cmap="gray", vmin=0, vmax=255)
    left.set(title=f"{name}, column {t}", xlabel="column", ylabel="row", xticks=_TICKS, yticks=_TICKS)
    middle.barh(np.arange(28), image[:, t] / 255, height=0.8, color=QUANTITY["input"])
    middle.set(title=f"input, t = {t}", xlabel="grey value", ylabel="feature i", yticks=_TICKS)
    middle.set(xlim=(0, 1), ylim=(27.5, -0.5), box_aspect=1 / 0.62)
    middle.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    right.imshow(np.where(later, np.nan, image), vmin=0, vmax=255)
    right.set(title="input so far", xlabel="time step t", xticks=_TICKS, yticks=_TICKS)
    right.set_facecolor(str(_UNREAD / 255))
    for axes in (left, right):  # a frame around the column, a little larger, so that it hides no pixel
        look = {"fill": False, "edgecolor": QUANTITY["input"], "linewidth": 2.5, "clip_on": False}
        axes.add_patch(Rectangle((t - 0.6, -0.6), 1.2, 28.2, **look))
    return figure


def reading_gif(image: np.ndarray, name: str) -> bytes:
    """Return all steps of :func:`reading_step` as the bytes of a GIF file, which stops at the last one.

    Args:
        image: one grey image ``[28, 28]``, 0 to 255.
        name: its class.
    """
    frames = np.stack([drawn(reading_step(image, t, name), dpi=100) for t in range(28)])
    # 32 levels in each channel: so few colours fit into a palette exactly, and what stands still costs no bytes.
    frames = np.round(np.round(frames / 255 * 31) / 31 * 255).astype(np.uint8)
    look = {"duration": [STEP_MS] * 27 + [PAUSE_MS], "loop": REPEATS}
    return imageio.imwrite("<bytes>", frames, extension=".gif", plugin="pillow", **look)
