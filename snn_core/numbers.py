"""Numbers of a layer, by one rule: a number is fixed, several are one for each neuron, an nn.Parameter is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.cells import Number
from snn_core.checks import Like, check_numbers, check_per_neuron, check_taus
from snn_core.state import CellModule

__all__ = ["Numbers", "NumbersModule"]

#: A number, which is fixed, or a list or tensor, one for each neuron and fixed, or an ``nn.Parameter``, trained.
Numbers = float | Sequence[float] | Tensor


def weight_of(taus: Tensor) -> nn.Parameter:
    r"""Return the parameter w as which time constants are trained, :math:`1/\tau = \sigma(w)`: they stay above 1."""
    return nn.Parameter(-torch.log(taus.detach() - 1))


def inverse_of(w: Tensor) -> Tensor:
    """Return 1/tau of :func:`weight_of`."""
    return torch.sigmoid(w)


def text_of(value: Number) -> str:
    """Return a number as text, and of several the shape."""
    if not isinstance(value, Tensor):
        return str(value)
    return f"<{list(value.shape)}>" if value.dim() else str(value.item())


class NumbersModule(CellModule):
    r"""Base of the modules that have numbers, for all neurons or for each, fixed or trained.

    A number is an attribute; a list or tensor becomes a buffer, an ``nn.Parameter`` stays one, under the same name. A
    time constant that is trained is kept as another parameter, ``w`` of :math:`1/\tau = \sigma(w)`, so that it stays
    above 1 whatever the optimizer does; the ``nn.Parameter`` gives its first value, and the attribute what it is now.
    A fixed one may be 1, no memory, or ``math.inf``, no leak.
    """

    def __init__(self, backend_name: str = "auto") -> None:
        super().__init__(backend_name)
        #: For each trained time constant the name of the parameter that it is kept as.
        self._trained: dict[str, str] = {}
        #: What checks a number when it is set.
        self._checks: dict[str, Callable[[Any], float | Tensor]] = {}

    def keep(self, name: str, value: Any, above: float = -math.inf, said: str = "") -> None:
        """Check a number, or several, and keep it under its name; errors call it ``said``.

        Raises:
            TypeError, ValueError: see :func:`~snn_core.checks.check_numbers`.
        """
        check = partial(check_numbers, f"{type(self).__name__}: {said or name}", above=above)
        self.set_numbers(name, check(value))
        self._checks[name] = check

    def keep_tau(
        self, name: str, value: Any, trained: str = "w", is_trained: bool = False, argument: str = ""
    ) -> None:
        """Check a time constant, or several, and keep it under its name, or as the parameter ``trained``.

        ``argument`` is what the constructor calls it, if that is not ``name``. An ``nn.Parameter`` is trained.

        Raises:
            TypeError, ValueError: see :func:`~snn_core.checks.check_taus`.
        """
        said = f"{type(self).__name__}: {argument or name}"
        is_trained = is_trained or isinstance(value, nn.Parameter)
        taus = check_taus(said, value, is_trained)
        if is_trained:
            self._trained[name] = trained
            setattr(self, trained, weight_of(torch.as_tensor(taus)))
        else:
            self.set_numbers(name, taus)
            self._checks[name] = partial(check_taus, said, is_trained=False)

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if name in own.get("_trained", ()):
            kept = own["_trained"][name]
            raise AttributeError(
                f"{type(self).__name__}: {name} is trained and follows from {kept}: set {kept}"
            )
        check = own.get("_checks", {}).get(name)
        super().__setattr__(name, value if check is None else check(value))

    def number(self, name: str, like: Tensor | Like) -> Number:
        """Return what is kept under a name: a float, or a tensor in the dtype of a step, whose shape it fits.

        Raises:
            ValueError: see :func:`~snn_core.checks.check_per_neuron`.
        """
        return check_per_neuron(f"{type(self).__name__}: {name}", getattr(self, name), like)

    def inv_tau(self, name: str, like: Tensor | Like, argument: str = "") -> Number:
        """Return 1/tau of the time constant that is kept under a name, as :meth:`number` does."""
        if name in self._trained:
            value: Number = inverse_of(getattr(self, self._trained[name]))
        else:
            value = 1 / getattr(self, name)
        return check_per_neuron(f"{type(self).__name__}: {argument or name}", value, like)

    def shown(self, name: str) -> str:
        """Return ``name=value``, for ``extra_repr``."""
        is_trained = name in self._trained or name in self._parameters
        return f"{name}={text_of(getattr(self, name))}{' (trained)' * is_trained}"

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_trained", ()):
            return 1 / inverse_of(getattr(self, self._trained[name]))
        return super().__getattr__(name)
