"""Which parts of a network run fused, and why the others do not, for :func:`snn_core.functional.explain`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.module import _has_any_global_hook


class Decision(NamedTuple):
    """How one part of a network ran.

    ``name`` is that of ``named_modules``, ``kind`` its class, ``fused`` whether a kernel took all time steps at once;
    where it did not, ``reason`` says why. Parts with one number ``scan`` share a kernel; it is 0 where none ran.
    """

    name: str
    kind: str
    fused: bool
    reason: str
    scan: int = 0

    def __str__(self) -> str:
        how = f"fused, in scan {self.scan}" if self.fused else f"not fused: {self.reason}"
        return f"{self.name:16} {self.kind:28} {how}"


def does_only_forward(module: nn.Module) -> bool:
    """Say whether calling ``module`` does nothing but what its class says: no hooks, no ``forward`` of its own."""
    hooks = (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _has_any_global_hook()
    )
    return not (hooks or "forward" in module.__dict__)


_noted: list[tuple[nn.Module, bool, str, int]] | None = None
_reason = ""


def loop(reason: str) -> Any:
    """Return None, which means the loop to whoever asked for a kernel, and keep the reason for :func:`note`."""
    global _reason
    _reason = reason


def loop_within(part: str) -> Any:
    """Return None for the reason that a part of the module has."""
    return loop(f"{part}: {_reason}")


def note(module: nn.Module, fused: bool, joined: bool = False) -> None:
    """Keep how ``module`` runs, if somebody wants to know; ``joined`` to the scan of the part before."""
    if _noted is not None:
        scan = max((scan for *_, scan in _noted), default=0) + (not joined) if fused else 0
        _noted.append((module, fused, "" if fused else _reason, scan))


@contextmanager
def noting(net: nn.Module) -> Iterator[list[Decision]]:
    """Yield a list that holds, at the end, a decision for each part of ``net`` that was asked to run a sequence."""
    global _noted
    decisions: list[Decision] = []
    _noted = []
    try:
        yield decisions
        names = {module: name for name, module in net.named_modules()}
        for module, fused, reason, scan in dict.fromkeys(_noted):
            decisions.append(Decision(names.get(module, ""), type(module).__name__, fused, reason, scan))
    finally:
        _noted = None
