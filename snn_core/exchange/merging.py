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


def noted_layers(note: Mapping[str, Any], merged: Layer) -> tuple[Layer, Layer] | None:
    """Return the two layers that :func:`note_of` noted, or None if they are not those that give ``merged``.

    What a graph computes are its weights. A note that says anything else, be it damaged or older than they are, does
    not count.
    """
    first, second = (Layer(_array(note, f"weight_{k}"), _array(note, f"bias_{k}")) for k in (1, 2))
    if not all(map(_fit, (first, second, merged))) or second.weight.shape[1] != first.weight.shape[0]:
        return None
    again = merge(first, second)
    # Not bit for bit: a matrix product is added up in another order on another machine.
    scale = merge(*(Layer(*(None if a is None else np.abs(a) for a in layer)) for layer in (first, second)))
    rounding = np.finfo(merged.weight.dtype).eps * second.weight.shape[1]
    for one, other, size in zip(again, merged, scale, strict=True):
        if one is None and other is None:
            continue
        if one is None or other is None or one.shape != other.shape:
            return None
        if not (np.abs(one - other) <= rounding * size).all():
            return None
    return first, second


def _array(note: Mapping[str, Any], name: str) -> np.ndarray | None:
    return np.asarray(note[name]) if name in note else None


def _fit(layer: Layer) -> bool:
    """Whether arrays, which may come from a file, are a layer."""
    for array, ndim in zip(layer, (2, 1), strict=True):
        if array is not None and (
            array.dtype.kind != "f" or array.ndim != ndim or not np.isfinite(array).all()
        ):
            return False
    if layer.weight is None or not layer.weight.size:
        return False
    return layer.bias is None or layer.bias.shape == layer.weight.shape[:1]
