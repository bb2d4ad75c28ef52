"""The order of work in the forward pass of a network: layer by layer, and in one scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from IPython.display import HTML

from snn_tutorial.live.frames import frames, line, squares

__all__ = ["schedule"]

#: Parts of a sequence that are drawn.
_PARTS = 4


def schedule(outputs: Mapping[str, int], steps: int, samples: int, block: int) -> HTML:
    """Return a view of what is done when, and how much waits for the next layer.

    Args:
        outputs: names of layers to their numbers of outputs.
        steps: time steps T.
        samples: of a batch.
        block: samples of a block.
    """
    layers, blocks = len(outputs), samples // block
    kilobytes = np.array([4 * steps * block * count for count in outputs.values()]) / 1000
    layer, number = np.indices((layers, blocks))
    width, work = blocks * _PARTS, layers * blocks * _PARTS
    panels, waiting = [], []
    for name, order in (("layer by layer", layer * blocks + number), ("one scan", number * layers + layer)):
        begin, end = order * _PARTS, (order + 1) * _PARTS
        read = np.concatenate([end[1:], end[-1:]])  # by the next layer
        waits = (begin[..., None] < np.arange(work + 1)) & (np.arange(work + 1) < read[..., None])
        waiting.append(np.rint(np.einsum("l,lbt->t", kilobytes[:-1], waits[:-1])).astype(int))
        done = np.repeat(begin.T, _PARTS, 0) + np.arange(width)[:, None] % _PARTS + 1
        finished, over = (np.repeat(one.T, _PARTS, 0) for one in (end, read))
        every = np.ones((width, layers), bool)
        marks: list[dict[str, Any]] = [
            squares(np.full((width, layers), 0.25), **{"from": over}),
            squares(every, color="current", **{"from": finished, "until": over}),
            squares(every, color="spike", **{"from": done, "until": finished}),
        ]
        marks += [
            line([b - 0.5, b - 0.5], [-0.5, layers - 0.5], width=1) for b in range(0, width + 1, _PARTS)
        ]
        marks.append({"kind": "words", "x": [-3.5] * layers, "y": list(range(layers)), "text": list(outputs)})
        ends = {"x": [-6, width - 0.5], "y": [layers - 0.5, -0.5], "height": 84, "isBare": True}
        panels.append({**ends, "title": [f"{name}: {{}} kB wait", waiting[-1].tolist()], "marks": marks})
    alt = "blocks of samples by layers: what is done, and what waits for the next layer"
    said = ["{} kB wait for the next layer in one order, {} kB in the other.", *waiting]
    still = "At most {} kB wait layer by layer, {} kB in one scan.".format(*(one.max() for one in waiting))
    first = int(0.4 * layers * blocks) * _PARTS + 2
    time = {"label": "work done", "steps": work + 1, "first": first, "pace": 50, "unit": f"of {work}"}
    return frames({}, lambda: ([{"alt": alt, "panels": panels}], said), still, time=time)
