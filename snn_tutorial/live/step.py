"""A neuron's step that the reader writes on the page, with what is recorded and derived from it."""

from __future__ import annotations

import html

from IPython.display import HTML

from snn_tutorial.live import started

__all__ = ["EXAMPLES", "written_step"]

#: Steps to begin with: lines of Python, of input x and states, which are the names that are read before they are set.
EXAMPLES: dict[str, str] = {
    "the small neuron": "h = v + x\ns = spike(h - 1)\nv = (1 - detach(s)) * h",
    "reset not detached": "h = v + x\ns = spike(h - 1)\nv = (1 - s) * h",
    "soft reset": "h = v + x\ns = spike(h - 1)\nv = h - detach(s)",
    "adaptive threshold": (
        "h = v + x\ns = spike(h - 1 - a)\nv = (1 - detach(s)) * h\na = 0.9 * a + 0.3 * s  # a second state"
    ),
    "exponential": "h = v + (x - v + exp(2 * (v - 1))) / 2\ns = spike(h - 1)\nv = where(h >= 1, 0 * h, h)",
}


def written_step(recorded: str, steps: int = 28) -> HTML:
    """Return a view in which a step can be written: its forward and backward pass, and a trace of ``steps`` steps.

    Args:
        recorded: what :func:`snn_core.functional.derived` gives for the first example, shown where no script runs.
        steps: time steps T.
    """
    inside = f'<pre class="snn-static">{html.escape(recorded)}</pre>'
    return started("step", {"steps": steps, "examples": EXAMPLES}, inside)
