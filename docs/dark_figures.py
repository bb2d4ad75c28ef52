"""How the site shows figures: small, in dark colours on dark pages, still where a reader asks for reduced motion."""

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
    return dark.convert("RGB")


@cache
def _write_variants(path: Path) -> None:
    """Write a picture without loss as ``NAME-light`` and ``NAME-dark`` in place of its file.

    For an animation, ``NAME-light-still`` and ``NAME-dark-still`` are its last frame.
    """
    with PIL.Image.open(path) as image:
        loop, frames, times = image.info.get("loop"), [], []
        for frame in PIL.ImageSequence.Iterator(image):
            frames.append(frame.convert("RGB"))
            times.append(frame.info.get("duration"))
    path.unlink()
    for variant, shown in (("light", frames), ("dark", [_darkened(frame) for frame in frames])):
        to = path.with_name(f"{path.stem}-{variant}.webp")
        if len(shown) == 1:
            shown[0].save(to, lossless=True, quality=100)
            continue
        shown[0].save(to, lossless=True, save_all=True, append_images=shown[1:], duration=times, loop=loop)
        shown[-1].save(to.with_stem(f"{to.stem}-still"), lossless=True)


def add_variants(page: Path) -> None:
    """Put the variants of its figures into a page of the site, and write them beside the figures."""

    def both(found: re.Match[str]) -> str:
        tag, source = found.groups()
        _write_variants((page.parent / source).resolve())
        stem, _, kind = source.rpartition(".")
        shown = ""
        for variant in ("light", "dark"):
            image = tag.replace(source, f"{stem}-{variant}.webp")
            image = image.replace("<img ", f'<img class="only-{variant}" loading="lazy" ')
            # Nor can the link of the one that is hidden be reached with the tab key.
            image = image.replace('<a class="', f'<a class="only-{variant} ')
            still = f'<source media="(prefers-reduced-motion: reduce)" srcset="{stem}-{variant}-still.webp">'
            shown += f"<picture>{still}{image}</picture>" if kind == "gif" else image
        return shown

    picture = r'((?:<a [^>]*>\s*)?<img [^>]*?src="([^"]*_images/[^"]+\.(?:png|gif))"[^>]*>(?:\s*</a>)?)'
    page.write_text(re.sub(picture, both, page.read_text()))
