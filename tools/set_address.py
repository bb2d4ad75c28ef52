"""Change the repository's address, in pyproject.toml and in all that follows it: notebooks, CITATION.cff, README."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import frame_notebooks

ROOT = Path(__file__).resolve().parent.parent


def main(argv: list[str]) -> None:
    """Rewrite the address in every file that holds it."""
    if len(argv) != 1 or not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", argv[0]):
        sys.exit("name the address: make address URL=https://github.com/OWNER/NAME")
    old, new = (url.removeprefix("https://github.com/") for url in (frame_notebooks.repository(), argv[0]))
    names = ("pyproject.toml", "README.md", "CITATION.cff", "notebooks/*.ipynb", "docs/**/*")
    for path in (path for name in names for path in ROOT.glob(name) if path.is_file()):
        text = path.read_text()
        if old in text:
            path.write_text(text.replace(old, new))
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
