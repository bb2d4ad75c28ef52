"""Colours, line styles and settings that all figures share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import (
    Colormap,
    LinearSegmentedColormap,
    ListedColormap,
    to_hex,
    to_rgba,
    to_rgba_array,
)
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

#: Eight colours that stay apart in every form of colour blindness: M. Okabe, K. Ito, "Color universal design", 2008.
OKABE_ITO: dict[str, str] = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
}

#: One colour for one thing, in every chapter, figure and view. A network has the colour of what its memory is in.
QUANTITY: dict[str, str] = {
    "input": OKABE_ITO["green"],
    "membrane": OKABE_ITO["black"],
    "spike": OKABE_ITO["vermilion"],
    "current": OKABE_ITO["purple"],
    "loop": OKABE_ITO["blue"],
    "threshold": "#666666",
}

#: Of lines and words that are no quantity's.
GREY = "#555555"
BROWN, NAVY, PLUM = "#8C564B", "#17365D", "#5B1F4A"

#: The networks; the line style tells them apart in black and white.
STYLE: dict[str, dict[str, Any]] = {
    "plain": {"color": QUANTITY["membrane"], "linestyle": ":"},
    "stateful-synapse": {"color": QUANTITY["current"], "linestyle": "--"},
    "feedback": {"color": QUANTITY["loop"], "linestyle": "-"},
    "gru": {"color": OKABE_ITO["orange"], "linestyle": "-."},
    "lstm": {"color": OKABE_ITO["sky blue"], "linestyle": (0, (5, 1, 1, 1, 1, 1))},
}

#: Each ink on a dark page, and that page's ground; greys follow black. The views have the same.
DARK: dict[str, str] = {
    "#000000": "#DDDDDD",
    QUANTITY["input"]: "#2CC79A",
    QUANTITY["spike"]: "#FF8A3D",
    QUANTITY["current"]: "#E39CC4",
    QUANTITY["loop"]: "#56B4E9",
    OKABE_ITO["orange"]: "#F5B841",
    OKABE_ITO["sky blue"]: "#8FD0F5",
    BROWN: "#D09A8C",
    NAVY: "#8FA9D6",
    PLUM: "#FFE6F5",
}
GROUND = "#121212"

RC: dict[str, Any] = dict(
    matplotlib.rc_params_from_file(Path(__file__).with_name("tutorial.mplstyle"), use_default_template=False)
)
#: Of every figure, in inches.
WIDTH: float = RC["figure.figsize"][0]
#: Of pictures and drawings.
NO_GRID: dict[str, Any] = RC | {"axes.grid": False}


def stacked(panels: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure, ``height`` inches high, and its panels, one below the other on the same x axis."""
    figure, axes = plt.subplots(panels, figsize=(WIDTH, height), sharex=True, squeeze=False, **options)
    return figure, list(axes[:, 0])


def legend_above(figure: Figure, columns: int) -> None:
    """Put one legend for all panels above them, where it hides no curve; what panels share is in it once."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=columns)


RGBA = tuple[float, float, float, float]
_DARK_MAPS: dict[str, Colormap] = {}


def dark(color: Any) -> RGBA:
    """Return for a colour of a light page that of a dark one.

    An ink becomes its counterpart in :data:`DARK`; greys lie between the ground and the ink of words; others stay.
    """
    red, green, blue, alpha = to_rgba(color)
    if (ink := to_hex(color).upper()) in DARK:
        return to_rgba(DARK[ink], alpha)
    if red == green == blue:
        first, last = np.array(to_rgba(DARK["#000000"])), np.array(to_rgba(GROUND))
        return (*((1 - red) * first + red * last)[:3], alpha)
    return red, green, blue, alpha


def ramp(name: str, *colors: tuple[float, str]) -> Colormap:
    """Return a colour map between colours at places from 0 to 1; a dark page gets one between their counterparts."""
    _DARK_MAPS[name] = LinearSegmentedColormap.from_list(name, [(at, dark(color)) for at, color in colors])
    return LinearSegmentedColormap.from_list(name, colors)


def darken(figure: Figure) -> None:
    """Give everything in a figure the colours of a dark page."""
    changes = []
    parts = figure.findobj(lambda artist: isinstance(artist, Line2D | Text | Patch | Collection))
    arrows = [artist.arrow_patch for artist in parts if getattr(artist, "arrow_patch", None)]
    for artist in parts + arrows:
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            if hasattr(artist, f"get_{part}"):
                colors = to_rgba_array(getattr(artist, f"get_{part}")())
                changes.append((getattr(artist, f"set_{part}"), [dark(color) for color in colors]))
    for change, colors in changes:  # only now, since one part may follow another
        if colors:
            change(colors[0] if len(colors) == 1 else colors)
    for picture in figure.findobj(lambda artist: isinstance(artist, AxesImage | Collection)):
        shades = picture.get_cmap()
        same = ListedColormap([dark(color) for color in shades(range(shades.N))])
        picture.set_cmap(_DARK_MAPS.get(shades.name, same))


def pixels(figure: Figure, dpi: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``figure`` for a light page and for a dark one, and close it.

    Returns:
        both as pixels, ``[height, width, 3]`` from 0 to 255, with everything in the same place.
    """
    figure.set_dpi(dpi)
    canvas, drawn = FigureCanvasAgg(figure), []
    for paint in (lambda _figure: None, darken):
        paint(figure)
        canvas.draw()
        figure.set_layout_engine("none")
        drawn.append(np.array(canvas.buffer_rgba())[..., :3])
    plt.close(figure)
    return drawn[0], drawn[1]


def dark_palette(light: np.ndarray, dark: np.ndarray) -> str:
    """Return for each colour of a picture of few colours the one that it has on a dark page.

    Args:
        light: pixels ``[*, 3]`` on a light page, from 0 to 255.
        dark: the same pixels on a dark page.

    Returns:
        six numbers for a colour, red, green and blue on both, in hexadecimal digits.
    """
    # One whole number for a colour: numbers are sorted many times as fast as rows of three.
    keys = light.reshape(-1, 3) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    colors, place, count = np.unique(keys, return_inverse=True, return_counts=True)
    sums = [np.bincount(place, part) for part in dark.reshape(-1, 3).T]
    both = [colors >> 16, colors >> 8 & 255, colors & 255, *np.rint(sums / count)]
    return np.stack(both, axis=1).astype(np.uint8).tobytes().hex()
