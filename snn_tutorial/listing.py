"""What chapters show of source code beside ``IPython.display.Code``: parts of the CUDA source, lines side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence

from IPython.display import Markdown

from snn_core.backend import cuda

__all__ = ["cuda_source", "matched_lines"]


def cuda_source(name: str) -> str:
    """Return a function of ``plan.cu`` or a structure of ``cells.cuh``, whole, with the comment above it.

    Raises:
        ValueError: there is none of this name.
    """
    lines = cuda.source().splitlines()
    # A definition begins at the margin, a call does not.
    head = re.compile(rf"struct {re.escape(name)}\b.*{{$|[a-z_].*\b{re.escape(name)}\(")
    first = next((at for at, line in enumerate(lines) if head.match(line)), None)
    if first is None or not name:
        raise ValueError(f"the source for CUDA has no {name}")
    ends = (at for at in range(first, len(lines)) if lines[at] in ("}", "};"))
    last = first if lines[first].endswith("}") else next(ends)
    while lines[first - 1].startswith(("// ", "template ")):
        first -= 1
    return "\n".join(lines[first : last + 1])


def matched_lines(headings: Sequence[str], rows: Sequence[Sequence[str]], sources: Sequence[str]) -> Markdown:
    """Return a table that sets lines of several sources side by side.

    Args:
        headings: title of each column, the first one for what the lines do.
        rows: what the lines do, and a piece of code from each source.
        sources: where the pieces come from.

    Raises:
        ValueError: a piece is not in its source, so that a table cannot outlive the code that it explains.
    """
    text = [" | ".join(("", *headings, "")), "|---" * len(headings) + "|"]
    for meaning, *pieces in rows:
        for piece, source in zip(pieces, sources, strict=True):
            if piece not in source:
                raise ValueError(f"not in the source: {piece}")
        code = [f"`{piece}`".replace("|", r"\|") for piece in pieces]
        text.append(" | ".join(("", meaning, *code, "")))
    return Markdown("\n".join(line.strip() for line in text))
