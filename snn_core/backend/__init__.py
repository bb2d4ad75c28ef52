"""How T time steps run at once. The dispatcher: a backend's name and a device give the module that does it.

A backend offers one function for each sequence operation:

* ``neuron_sequence(step, x_seq, v, store_v_seq) -> (s_seq, v, v_seq)``
* ``synapse_filter_sequence(s_seq, i, inv_tau) -> i_seq``

``step`` is one of the step functions of :mod:`snn_core.functional` with its constants bound by
``functools.partial``, which is all a backend needs to know about a neuron.
"""

from __future__ import annotations

from types import ModuleType

from snn_core.backend import reference

__all__ = ["BACKENDS", "check_backend", "resolve_backend"]

#: Names that ``backend=`` accepts. ``auto`` is the fastest one that can run here.
BACKENDS: tuple[str, ...] = ("auto", "torch")


def check_backend(backend: str) -> str:
    """Return ``backend`` unchanged if it is known.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if backend not in BACKENDS:
        allowed = ", ".join(repr(name) for name in BACKENDS)
        raise ValueError(f"backend must be one of {allowed}, got {backend!r}")
    return backend


def resolve_backend(backend: str) -> ModuleType:
    """Return the module that runs sequence operations for the backend of this name.

    Raises:
        ValueError: see :func:`check_backend`.
    """
    check_backend(backend)
    return reference
