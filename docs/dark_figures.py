"""How the site shows figures: small, in dark colours on dark pages, still where a reader asks for reduced motion."""

from __future__ import annotations

import base64
import os
import re
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageSequence


def on_dark(light: np.ndarray, palette: str) -> np.ndarray:
    """Return pixels ``[height, width, 3]`` in the dark colours of a palette from ``snn_tutorial.plot.style``."""
    colors = np.frombuffer(bytes.fromhex(palette), np.uint8).reshape(-1, 6)
    keys, pixels = (rgb.astype(int) @ [1 << 16, 1 << 8, 1] for rgb in (colors[:, :3], light))
    return colors[np.searchsorted(keys, pixels).clip(max=len(keys) - 1), 3:]


@cache
def _write_variants(path: Path) -> str:
    """Write a picture without loss as ``NAME-light`` and ``NAME-dark`` in place of its file, and return NAME.

    For an animation, ``NAME-light-still`` and ``NAME-dark-still`` are its last frame. NAME is a digest, as for MyST-NB:
    a picture that is on two pages is one file.
    """
    name = sha256(path.read_bytes()).hexdigest()
    with PIL.Image.open(path) as image:
        loop, palette, frames, times = image.info.get("loop"), image.info.get("dark"), [], []
        palette = palette or image.info.get("comment", b"").decode()
        for frame in PIL.ImageSequence.Iterator(image):
            frames.append(np.asarray(frame.convert("RGB")))
            times.append(frame.info.get("duration"))
    path.unlink()
    # A picture from elsewhere has no palette, and stays as it is.
    dark = [on_dark(frame, palette) for frame in frames] if palette else frames
    for variant, shown in (("light", frames), ("dark", dark)):
        first, *others = map(PIL.Image.fromarray, shown)
        to = path.with_name(f"{name}-{variant}.webp")
        if not others:
            first.save(to, lossless=True, quality=100)
            continue
        first.save(to, lossless=True, save_all=True, append_images=others, duration=times, loop=loop)
        others[-1].save(to.with_stem(f"{to.stem}-still"), lossless=True)
    return name


def add_variants(page: Path) -> None:
    """Put the variants of its figures into a page of the site, and write them beside the figures.

    Slides come after chapters, which write the figures of answers to files. Their pictures load at once, since slides
    are laid out by their sizes.
    """
    loading = "" if "slides" in page.parts else 'loading="lazy" '

    def both(found: re.Match[str]) -> str:
        tag, source = found.groups()
        folder, _, file = source.rpartition("/")
        stem = f"{folder}/{_write_variants((page.parent / source).resolve())}"
        shown = ""
        for variant in ("light", "dark"):
            image = tag.replace(source, f"{stem}-{variant}.webp")
            image = image.replace("<img ", f'<img class="only-{variant}" {loading}')
            # Nor can the link of the one that is hidden be reached with the tab key.
            image = image.replace('<a class="', f'<a class="only-{variant} ')
            still = f'<source media="(prefers-reduced-motion: reduce)" srcset="{stem}-{variant}-still.webp">'
            shown += f"<picture>{still}{image}</picture>" if file.endswith(".gif") else image
        return shown

    def unpacked(answer: re.Match[str]) -> str:
        return re.sub(r'src="data:image/png;base64,([^"]+)"', as_file, answer[0])

    def as_file(found: re.Match[str]) -> str:
        """Write a picture of an answer to a file, since only files get variants."""
        content = base64.b64decode(found[1])
        images = next(folder for folder in page.parents if (folder / "_images").is_dir()) / "_images"
        file = images / f"{sha256(content).hexdigest()}.png"
        file.write_bytes(content)
        return f'src="{os.path.relpath(file, page.parent)}"'

    text = re.sub(
        r"<details[^>]*><summary>Answer</summary>.*?</details>", unpacked, page.read_text(), flags=re.DOTALL
    )
    picture = r'((?:<a [^>]*>\s*)?<img [^>]*?src="([^"]*_images/[^"]+\.(?:png|gif))"[^>]*>(?:\s*</a>)?)'
    page.write_text(re.sub(picture, both, text))
