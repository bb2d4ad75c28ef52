"""What all exchange formats share: errors, named differences and optional packages."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

__all__ = ["DIFFERENCES", "DT", "ExchangeError", "ExchangeWarning", "first_line", "need"]

#: Length of a time step in NIR's seconds, where nobody says another: that of snnTorch, SpikingJelly and others.
DT = 1e-4

#: What NIR cannot express exactly, by the name that ``allow=`` takes, and what other libraries will compute instead.
DIFFERENCES: dict[str, str] = {
    "synapse-filter": (
        "a SynapseFilter does not decay in a step that brings a spike; NIR's leaky integrator, which takes its place, "
        "decays in every step"
    ),
    "soft-reset": (
        "v_reset=None subtracts the threshold after a spike; NIR's neurons know only the reset to a value, here 0, and "
        "lose what was above the threshold"
    ),
}


class ExchangeError(ValueError):
    """A network or a file cannot be exchanged; the message names the part and says why."""


class ExchangeWarning(UserWarning):
    """Something was converted with a difference that its user allowed."""


def need(package: str) -> ModuleType:
    """Import an optional package.

    Raises:
        ExchangeError: it is not installed, or too old.
    """
    try:
        found = importlib.import_module(package)
        if package == "nir" and "type_check" not in inspect.signature(found.read).parameters:
            raise ImportError(name=f"nir from 1.0.8 on, and has {found.version}")
    except ImportError as error:
        raise ExchangeError(
            f"this format needs the package {error.name or package}: pip install 'snn-core[exchange]'"
        ) from error
    return found


def first_line(error: BaseException) -> str:
    """Return the first line of an error, or its kind if it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
