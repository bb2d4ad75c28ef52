"""How the site shows figures: in dark colours on dark pages, and still where a reader asks for reduced motion."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageSequence
from matplotlib.colors import to_rgb

from snn_tutorial.plot.style import DARK, GROUND

_GROUND = np.array(to_rgb(GROUND))
_INKS = 1 - np.array([to_rgb(light) for light in DARK])
_DARK = np.array([to_rgb(dark) for dark in DARK.values()]) - _GROUND


def darken(colours: np.ndarray) -> np.ndarray:
    """Return for colours of a light page those of a dark one, both ``[n, 3]`` from 0 to 255.

    A colour is read as ink on white paper: its direction from white says which ink of :data:`DARK` it is, its
    distance how much. As much of the dark page's ink is put on the dark page's ground, so a colour map that begins
    at white begins at the ground.
    """
    ink = 1 - colours / 255
    amount = np.linalg.norm(ink, axis=1, keepdims=True) / np.linalg.norm(_INKS, axis=1)
    cosine = ink @ (_INKS / np.linalg.norm(_INKS, axis=1, keepdims=True)).T
    cosine /= np.linalg.norm(ink, axis=1, keepdims=True).clip(1e-9)
    weights = cosine.clip(0.1) ** 300
    mixed = _GROUND + (amount * weights / weights.sum(1, keepdims=True)) @ _DARK
    return np.rint(255 * mixed.clip(0, 1)).astype(np.uint8)


def _darkened(image: PIL.Image.Image) -> PIL.Image.Image:
    dark = image.quantize(256, dither=PIL.Image.Dither.NONE)
    dark.putpalette(darken(np.reshape(dark.getpalette(), (-1, 3))).tobytes())
    return dark


@cache
def _write_variants(path: Path) -> None:
    """Write ``NAME-dark`` beside a picture and, for an animation, the last frame of both as a picture."""
    with PIL.Image.open(path) as image:
        loop, frames, times = image.info.get("loop"), [], []
        for frame in PIL.ImageSequence.Iterator(image):
            frames.append(frame.convert("RGB"))
            times.append(frame.info.get("duration"))
    first, *others = dark = [_darkened(frame) for frame in frames]
    to = path.with_stem(f"{path.stem}-dark")
    if not others:
        first.save(to, optimize=True)
        return
    first.save(to, save_all=True, append_images=others, duration=times, loop=loop)
    frames[-1].save(path.with_suffix(".png"), optimize=True)
    dark[-1].save(to.with_suffix(".png"), optimize=True)


def add_variants(page: Path) -> None:
    """Put the variants of its figures into a page of the site, and write them beside the figures."""

    def both(found: re.Match[str]) -> str:
        tag, source = found.groups()
        _write_variants((page.parent / source).resolve())
        stem, _, kind = source.rpartition(".")
        shown = ""
        for only, name in (("light", stem), ("dark", f"{stem}-dark")):
            image = tag.replace(source, f"{name}.{kind}").replace(
                "<img ", f'<img class="only-{only}" loading="lazy" '
            )
            still = f'<source media="(prefers-reduced-motion: reduce)" srcset="{name}.png">'
            shown += f"<picture>{still}{image}</picture>" if kind == "gif" else image
        return shown

    picture = r'(<img (?!class="only)[^>]*?src="([^"]*_images/[^"]+\.(?:png|gif))"[^>]*>)'
    page.write_text(re.sub(picture, both, page.read_text()))
