"""Which parts of a network run fused, and why the others do not, for :func:`snn_core.functional.explain`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn


class Decision(NamedTuple):
    """How one part of a network ran.

    ``name`` is that of ``named_modules``, ``kind`` its class, ``fused`` whether a kernel took all time steps at once;
    where it did not, ``reason`` says why.
    """

    name: str
    kind: str
    fused: bool
    reason: str

    def __str__(self) -> str:
        how = "fused" if self.fused else f"not fused: {self.reason}"
        return f"{self.name:16} {self.kind:28} {how}"


_noted: list[tuple[nn.Module, bool, str]] | None = None
_reason = ""


def loop(reason: str) -> Any:
    """Return None, which means the loop to whoever asked for a kernel, and keep the reason for :func:`note`."""
    global _reason
    _reason = reason


def note(module: nn.Module, fused: bool) -> None:
    """Keep how ``module`` runs, if somebody wants to know."""
    if _noted is not None:
        _noted.append((module, fused, "" if fused else _reason))


@contextmanager
def noting(net: nn.Module) -> Iterator[list[Decision]]:
    """Yield a list that holds, at the end, a decision for each part of ``net`` that was asked to run a sequence."""
    global _noted
    decisions: list[Decision] = []
    _noted = []
    try:
        yield decisions
        names = {module: name for name, module in net.named_modules()}
        for module, fused, reason in dict.fromkeys(_noted):
            decisions.append(Decision(names.get(module, ""), type(module).__name__, fused, reason))
    finally:
        _noted = None
