"""Numbers of a layer, by one rule: a number is fixed, several are one for each neuron, an nn.Parameter is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.cells import Number
from snn_core.checks import Like, check_numbers, check_per_neuron
from snn_core.state import CellModule

__all__ = ["Numbers", "NumbersModule"]

#: A number, which is fixed, or a list or tensor, one for each neuron and fixed, or an ``nn.Parameter``, trained.
Numbers = float | Sequence[float] | Tensor


class NumbersModule(CellModule):
    r"""Base of the modules that have numbers, for all neurons or for each, fixed or trained.

    A number is an attribute; a list or tensor becomes a buffer, an ``nn.Parameter`` stays one, under the same name. A
    time constant that is trained is kept as another parameter, ``w`` of :math:`1/\tau = \sigma(w)`, so that it stays
    above 1 whatever the optimizer does; the ``nn.Parameter`` gives its first value, and the attribute what it is now.
    """

    def __init__(self, backend_name: str = "auto") -> None:
        super().__init__(backend_name)
        #: For each trained time constant the name of the parameter that it is kept as.
        self._trained: dict[str, str] = {}

    def keep(self, name: str, value: Any, above: float = -math.inf) -> None:
        """Check a number, or several, and keep it under its name.

        Raises:
            TypeError, ValueError: see :func:`~snn_core.checks.check_numbers`.
        """
        self._set(name, check_numbers(f"{type(self).__name__}: {name}", value, above))

    def keep_tau(self, name: str, value: Any, trained: str = "w") -> None:
        """Check a time constant, or several, and keep it under its name, or as the parameter ``trained``.

        Raises:
            TypeError, ValueError: one is not finite or not above 1 time step, or as :meth:`keep`.
        """
        said = f"{type(self).__name__}: {name}"
        taus = check_numbers(said, value)
        if isinstance(taus, float):
            if taus <= 1:
                raise ValueError(f"{said} must be above 1 time step, got {value}")
        elif not taus.is_meta and not bool((taus > 1).all()):
            raise ValueError(f"{said} must be above 1 time step, got {taus.tolist()}")
        if isinstance(taus, nn.Parameter):
            self._trained[name] = trained
            name, taus = trained, nn.Parameter(-torch.log(taus.detach() - 1))
        self._set(name, taus)

    def _set(self, name: str, value: Number) -> None:
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

    def number(self, name: str, like: Tensor | Like) -> Number:
        """Return what is kept under a name: a float, or a tensor in the dtype of a step, whose shape it fits.

        Raises:
            ValueError: see :func:`~snn_core.checks.check_per_neuron`.
        """
        value = getattr(self, name)
        if not isinstance(value, Tensor):
            return value
        return check_per_neuron(f"{type(self).__name__}: {name}", value, like)

    def inv_tau(self, name: str, like: Tensor | Like, argument: str = "") -> Number:
        """Return 1/tau of the time constant that is kept under a name, as :meth:`number` does."""
        if name in self._trained:
            value: Number = torch.sigmoid(getattr(self, self._trained[name]))
        else:
            value = 1 / getattr(self, name)
        if not isinstance(value, Tensor):
            return value
        return check_per_neuron(f"{type(self).__name__}: {argument or name}", value, like)

    def shown(self, name: str) -> str:
        """Return ``name=value``, for ``extra_repr``."""
        value = getattr(self, name)
        if isinstance(value, Tensor):
            value = f"<{list(value.shape)}>" if value.dim() else value.item()
        return f"{name}={value}{' (trained)' * (name in self._trained or name in self._parameters)}"

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_trained", ()):
            return 1 / torch.sigmoid(getattr(self, self._trained[name]))
        return super().__getattr__(name)
