"""Two layers in a row as one, and from a note beside it the two again, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Layer", "merge", "note_of", "noted_layers"]


class Layer(NamedTuple):
    """x W^T + b: ``weight`` of shape [out, in], ``bias`` of shape [out] or None."""

    weight: np.ndarray
    bias: np.ndarray | None


def merge(first: Layer, second: Layer) -> Layer:
    """Return the layer that does what ``second`` does after ``first``, computed in float64."""
    weight = second.weight.astype(float)
    bias = None if first.bias is None else weight @ first.bias
    if second.bias is not None:
        bias = second.bias.astype(float) + (0 if bias is None else bias)
    return Layer(weight @ first.weight, bias)


def note_of(first: Layer, second: Layer) -> dict[str, np.ndarray]:
    """Return both layers as a dict of arrays, which a NIR file can hold."""
    named = {"weight_1": first.weight, "bias_1": first.bias, "weight_2": second.weight, "bias_2": second.bias}
    return {name: array for name, array in named.items() if array is not None}


def noted_layers(note: Mapping[str, Any], merged: Layer) -> tuple[Layer, ...]:
    """Return the two layers that :func:`note_of` noted, or ``merged`` alone if they are not those that give it.

    What a graph computes are its weights. A note that says anything else, be it damaged or older than they are, does
    not count.
    """
    try:
        first, second = (Layer(note[f"weight_{k}"], note.get(f"bias_{k}")) for k in (1, 2))
        for one, other in zip(merge(first, second), merged, strict=True):
            if one is other:
                continue  # both have no bias
            # Not bit for bit: a matrix product is added up in another order on another machine.
            rounding = second.weight.shape[1] * np.finfo(other.dtype).eps * np.abs(other).max()
            if one.shape != other.shape or not (np.abs(one - other) <= rounding).all():
                return (merged,)
    except (AttributeError, LookupError, TypeError, ValueError):
        return (merged,)  # no note, or one that is not made of layers
    return first, second
