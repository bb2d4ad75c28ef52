"""The order of work in the forward pass of a network: layer by layer, and in one scan."""

from __future__ import annotations

import html
from collections.abc import Mapping

from IPython.display import HTML

from snn_tutorial.live import started

__all__ = ["schedule"]


def schedule(outputs: Mapping[str, int], steps: int, samples: int, block: int) -> HTML:
    """Return a view of what is done when, and how much waits for the next layer.

    Args:
        outputs: names of layers to their numbers of outputs.
        steps: time steps T.
        samples: of a batch.
        block: samples of a block.
    """
    data = {
        "layers": list(outputs),
        "blocks": samples // block,
        "bytes": [4 * steps * block * count for count in outputs.values()],
    }
    most = max(data["bytes"][:-1]) / 1000
    text = f"At most {most * (data['blocks'] + 1):.0f} kB wait layer by layer, {2 * most:.0f} kB in one scan."
    return started("schedule", data, f'<p class="snn-static">{html.escape(text)}</p>')
