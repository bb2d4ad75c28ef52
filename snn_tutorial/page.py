"""What every chapter needs for its page: versions, pictures, and the numbers that it keeps in results/."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from IPython.display import Image
from matplotlib.figure import Figure

from sequential_fmnist.checkpoint import atomic_write
from sequential_fmnist.experiments.results import provenance, write_json
from snn_tutorial.plot.style import drawn


def print_versions(*packages: str) -> None:
    """Print one line: the versions of snn_core, torch and ``packages``, the processor and its cores."""
    where = provenance()
    versions = {"snn_core": where["snn_core"], "torch": where["torch"]}
    versions |= {package: version(package) for package in packages}
    named = [f"{package} {number}" for package, number in versions.items()]
    print(*named, where["processor"], f"{where['cores']} cores", sep=", ")


def save_results(folder: str | os.PathLike[str], name: str, numbers: Mapping[str, Any]) -> None:
    """Write ``numbers``, with their provenance added, to the file ``name.json`` in ``folder``."""
    write_json(Path(folder) / f"{name}.json", {**numbers, "provenance": provenance()})


def load_results(folder: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """Return what the file ``name.json`` in ``folder`` holds."""
    return json.loads((Path(folder) / f"{name}.json").read_text())


def png(figure: Figure) -> bytes:
    """Return ``figure`` as the bytes of a PNG file with a palette, the same for the same figure, and close it.

    The colour of the corner, which is the ground, stays exact; others change where many blend into each other.
    """
    pixels = drawn(figure, dpi=160)
    reduced = PIL.Image.fromarray(pixels).quantize(
        256, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE
    )
    palette = np.reshape(reduced.getpalette(), (-1, 3))
    palette[reduced.getpixel((0, 0))] = pixels[0, 0]
    reduced.putpalette(palette.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    reduced.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> bytes:
    """Write ``figure`` to ``path`` as PNG, atomically, close it, and return the bytes."""
    data = png(figure)
    with atomic_write(path) as file:
        file.write(data)
    return data


def show(figure: Figure, alt: str, path: str | os.PathLike[str] | None = None) -> Image:
    """Return ``figure`` as a picture for a notebook, and close it, so that a notebook does not show it twice.

    Args:
        figure: the figure.
        alt: what the picture shows, for readers who cannot see it.
        path: PNG file to write as well.
    """
    data = png(figure) if path is None else save_figure(figure, path)
    # As metadata, since the IPython of Colab has no argument alt.
    return Image(data=data, format="png", width=round(100 * figure.get_figwidth()), metadata={"alt": alt})


def show_gif(data: bytes, alt: str) -> Image:
    """Return an animation for a notebook.

    Args:
        data: the bytes of a GIF file.
        alt: what the animation shows, for readers who cannot see it.
    """
    return Image(data=data, format="gif", metadata={"alt": alt})
