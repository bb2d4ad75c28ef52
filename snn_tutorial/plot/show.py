"""How a figure becomes a file or a picture on a page."""

from __future__ import annotations

import io
import os

import matplotlib.pyplot as plt
from IPython.display import Image
from matplotlib.figure import Figure

from sequential_fmnist.files import atomic_write
from snn_tutorial.plot.style import RC


def png(figure: Figure) -> bytes:
    """Return ``figure`` as the bytes of a PNG file, and close it. The same figure gives the same bytes."""
    buffer = io.BytesIO()
    with plt.rc_context(RC):
        # Without the version of matplotlib in it, the same picture is the same file.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write ``figure`` to ``path`` as PNG, atomically, and close it."""
    with atomic_write(path) as file:
        file.write(png(figure))


def show(figure: Figure, alt: str, path: str | os.PathLike[str] | None = None) -> Image:
    """Return ``figure`` as a picture for a notebook, and close it, so that a notebook does not show it twice.

    Args:
        figure: the figure.
        alt: what the picture shows, for readers who cannot see it.
        path: PNG file to write as well.
    """
    data = png(figure)
    if path is not None:
        with atomic_write(path) as file:
            file.write(data)
    # As metadata, since the IPython of Colab has no argument alt.
    return Image(data=data, format="png", width=round(100 * figure.get_figwidth()), metadata={"alt": alt})


def show_gif(data: bytes, alt: str) -> Image:
    """Return an animation for a notebook.

    Args:
        data: the bytes of a GIF file.
        alt: what the animation shows, for readers who cannot see it.
    """
    return Image(data=data, format="gif", metadata={"alt": alt})
