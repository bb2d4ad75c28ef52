"""Source code on a page: the real text of a function, taken from its file when the page is made."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from IPython.display import Markdown
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from snn_core.backend.cuda import SOURCE

__all__ = ["Listing", "cuda_source", "listing", "matched_lines", "python_source"]

_REMARK = re.compile(r"\s*# (noqa|fmt)\b.*")


def python_source(function: Callable[..., Any] | type, start: str = "") -> str:
    """Return the source of a function or class, also of one that numba compiled, without remarks for linters.

    Args:
        function: what to show.
        start: text of the first line to show; empty for all.

    Raises:
        ValueError: no line contains ``start``.
    """
    text = inspect.getsource(getattr(function, "py_func", function))
    if start not in text:
        raise ValueError(f"not in the source: {start}")
    text = text[text.rindex("\n", 0, text.index(start)) + 1 :] if start else text
    return "\n".join(_REMARK.sub("", line) for line in text.rstrip().splitlines())


def cuda_source(name: str) -> str:
    """Return a function of ``kernels.cu`` from its head to its closing brace, with the comment above it.

    Raises:
        ValueError: there is no such function.
    """
    lines = SOURCE.read_text().splitlines()
    head = re.compile(rf"[a-z_].*\b{re.escape(name)}\(")  # a definition begins at the margin, a call does not
    first = next((at for at, line in enumerate(lines) if head.match(line)), None)
    if first is None or not name:
        raise ValueError(f"{SOURCE.name} has no function {name}")
    last = first if lines[first].endswith("}") else lines.index("}", first)
    while lines[first - 1].startswith(("// ", "template ")):
        first -= 1
    return "\n".join(lines[first : last + 1])


class Listing:
    """Source code that a notebook shows in colour and with letters of one width, and a terminal as it is.

    The style travels with each letter, since pages made from a notebook bring styles of their own.

    Args:
        source: the code.
        language: name that pygments knows, as in "python" or "cpp".
    """

    def __init__(self, source: str, language: str) -> None:
        self.source = source
        self.language = language

    def __repr__(self) -> str:
        return self.source

    def _repr_html_(self) -> str:
        return highlight(self.source, get_lexer_by_name(self.language), _FORMAT)


_FORMAT = HtmlFormatter(
    noclasses=True,
    nobackground=True,
    prestyles="font-family: monospace; font-size: 13px; line-height: 1.35; padding: 8px; white-space: pre; "
    "overflow-x: auto; color: #222; background: #f7f7f7",
)


def listing(language: str, *sources: str) -> Listing:
    """Return sources, one after the other, as a page shows them; ``language`` as in "python" or "cpp"."""
    gap = "\n\n\n" if language == "python" else "\n\n"
    return Listing(gap.join(sources), language)


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
