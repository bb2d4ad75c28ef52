"""Checks of arguments: each refuses a bad one with a line that says its name, what was given and what is allowed.

Numbers may be Python's or NumPy's, but not bool, which is a number only by accident, and not tensors, whose gradient
would be lost silently.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

#: Largest size of anything: what a 32-bit integer holds.
LARGEST = 2**31 - 1
#: Dtypes in which neurons compute.
FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class Like(NamedTuple):
    """What a time step is like, whether autocast is on where it is, and how many steps each sample has if not all."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    autocast: bool = False
    lengths: Tensor | None = None


def check_number(name: str, value: Any, above: float = -math.inf) -> float:
    """Return a finite number as a float.

    Raises:
        TypeError: ``value`` is not a real number.
        ValueError: it is not finite, or not above ``above``.
    """
    number = _number(name, value)
    if not (math.isfinite(number) and number > above):
        kind = "a positive, finite number" if above == 0 else "a finite number"
        bound = "" if above in (0, -math.inf) else f" above {above}"
        raise ValueError(f"{name} must be {kind}{bound}, got {_shown(value)}")
    return number


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {_shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_numbers(name: str, value: Any, finite: bool = True) -> float | Tensor:
    """Return a number as a float, several as a tensor, and an ``nn.Parameter`` as it is.

    Several numbers, a list or a tensor, are one for each neuron. They keep the dtype of a floating-point tensor, and
    are otherwise of torch's default dtype.

    Raises:
        TypeError: ``value`` is not made of real numbers, or a tensor with a gradient that is no ``nn.Parameter``.
        ValueError: there is none, or one is not finite, where it must be.
    """
    if not isinstance(value, Tensor | Sequence) or isinstance(value, str):
        return check_number(name, value) if finite else _number(name, value)
    if isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter):
        raise TypeError(
            f"{name} is a tensor with a gradient: write nn.Parameter(...) to train it, or .detach() it"
        )
    try:
        given = value if isinstance(value, Tensor) else torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a number or one number for each neuron, got {value!r}") from error
    if given.dtype is torch.bool or given.is_complex():
        raise TypeError(f"{name} must be a number or one number for each neuron, got dtype {given.dtype}")
    if given.numel() == 0:
        raise ValueError(f"{name} must be a number or one for each neuron, got shape {list(given.shape)}")
    if finite and not given.is_meta and not bool(given.isfinite().all()):
        raise ValueError(f"{name} must be finite, got {given.tolist()}")
    if isinstance(value, nn.Parameter):
        return value
    is_floating = isinstance(value, Tensor) and value.is_floating_point()
    dtype = given.dtype if is_floating else torch.get_default_dtype()
    device = given.device if isinstance(value, Tensor) else torch.get_default_device()
    return given.detach().to(device, dtype, copy=True)


def check_whole(name: str, value: Any, lowest: int, highest: int = LARGEST) -> int:
    """Return a whole number as an int.

    Raises:
        TypeError: ``value`` is not a whole number.
        ValueError: it does not lie between ``lowest`` and ``highest``.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, got {_shown(value)}")
    number = operator.index(value)
    if not lowest <= number <= highest:
        bound = f"at least {lowest}" if number < lowest else f"at most {highest}"
        raise ValueError(f"{name} must be {bound}, got {_shown(value)}")
    return number


def check_flag(name: str, value: Any) -> bool:
    """Return ``value``; raise TypeError if it is not True or False, as a string that says "no" would count as True."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {_shown(value)}")
    return value


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return ``value``; raise ValueError if it is not one of the words ``allowed``."""
    if not (isinstance(value, str) and value in allowed):
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {_shown(value)}")
    return value


def check_module(name: str, value: Any) -> nn.Module:
    """Return ``value``; raise TypeError if it is not a module, but, say, the class of one."""
    if not isinstance(value, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {_shown(value)}")
    return value


def check_tensor(name: str, value: Any) -> Tensor:
    """Return ``value``; raise TypeError if it is not a dense tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.is_nested:
        raise TypeError(
            f"{name} must be a dense tensor, got a nested one: call torch.nested.to_padded_tensor"
        )
    if value.layout is not torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got layout {value.layout}: call x.to_dense()")
    return value


def check_floating(name: str, value: Any) -> Tensor:
    """Return a tensor in which a neuron can compute; raise TypeError if it is not dense, or not :data:`FLOATING`."""
    if check_tensor(name, value).dtype not in FLOATING:
        raise TypeError(f"{name} must have a floating-point dtype, got {value.dtype}: call x.float()")
    return value


def check_sequence(name: str, x_seq: Any) -> Tensor:
    """Return a sequence of shape ``[T, N, *]`` with at least one time step.

    Raises:
        TypeError: see :func:`check_floating`.
        ValueError: ``x_seq`` has fewer than two dimensions, or T is 0.
    """
    if type(x_seq) is Tensor and x_seq.dtype in FLOATING and x_seq.layout is torch.strided:
        shape = x_seq.shape
        if len(shape) > 1 and shape[0]:  # as nearly always, without further calls
            return x_seq
    if check_floating(name, x_seq).dim() < 2:
        raise ValueError(f"{name} must have shape [T, N, *], got {list(x_seq.shape)}")
    if x_seq.shape[0] == 0:
        raise ValueError(f"{name} must have at least one time step, got shape {list(x_seq.shape)}")
    return x_seq


def check_shape(name: str, value: Any, *shape: int | str) -> Tensor:
    """Return a tensor of this shape; words in ``shape`` name dimensions of any size.

    Raises:
        TypeError: ``value`` is not a tensor.
        ValueError: it has another shape.
    """
    have = check_tensor(name, value).shape
    if len(have) == len(shape):
        for size, want in zip(have, shape, strict=True):
            if size != want and not isinstance(want, str):
                break
        else:
            return value
    wanted = ", ".join(map(str, shape))
    raise ValueError(f"{name} must have shape [{wanted}], got {list(have)}")


def check_device(name: str, value: Any) -> torch.device:
    """Return the device that a string names, whether it is here or not.

    Raises:
        TypeError: ``value`` is not a string.
        ValueError: it names neither the CPU nor an NVIDIA GPU.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {_shown(value)}")
    try:
        device = torch.device(value)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} must be cpu, cuda, cuda:1, ..., got {_shown(value)}")
    return device


def check_place(name: str, x: Tensor | Like, weight: Tensor, dtype: bool = True) -> None:
    """Refuse an input that is not where the weights are, which torch answers without a name.

    Raises:
        TypeError: with ``dtype``, input and weights have different dtypes, and autocast is off.
        ValueError: they are on different devices.
    """
    if x.device != weight.device:
        raise ValueError(
            f"{name} is on {x.device}, the weights are on {weight.device}: move the module or the input with .to()"
        )
    if dtype and x.dtype != weight.dtype and not is_autocast(x.device):
        raise TypeError(
            f"{name} must have the dtype of the weights, {weight.dtype}, got {x.dtype}: call .to({weight.dtype})"
        )


def is_autocast(device: torch.device) -> bool:
    """Say whether autocast is on for a device; torch refuses the question for some."""
    return device.type in ("cpu", "cuda") and torch.is_autocast_enabled(device.type)


def takes_sequences(module: nn.Module) -> bool:
    """Say whether a module takes a whole sequence ``[T, N, *]``, and not one time step.

    Its class says so; a module of SpikingJelly by its ``step_mode``.
    """
    return getattr(type(module), "takes_sequences", False) or getattr(module, "step_mode", "s") == "m"


def _shown(value: Any) -> str:
    """Return ``value`` as a line of an error has room for it."""
    if isinstance(value, type):
        return f"the class {value.__name__}: write {value.__name__}(...)"
    if not isinstance(value, bool | int | float | complex | str | None):
        return f"{type(value).__name__}"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of over 40 digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
