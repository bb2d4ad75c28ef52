"""Options of a run or a network: fields of a dataclass that are checked, and that a command line takes."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from snn_core.checks import check_choice, check_device, check_flag, check_number, check_whole

__all__ = ["add_options", "check_options", "identifying", "option", "take_options"]


def option(default: Any, help: str = "", allowed: Any = None, flag: str = "", since: int = 1) -> Any:
    """Return a field with its default.

    Args:
        default: None allows None.
        help: what it is.
        allowed: words, None for any; the least whole number; or what another number must exceed, None for 0 or more.
        flag: another name on a command line.
        since: above 1 for an option that is younger than runs that are kept: :func:`identifying` leaves it out at its
            default, so that it changes no key of them.
    """
    metadata = {"help": help, "allowed": allowed, "flag": flag, "since": since}
    return dataclasses.field(default=default, metadata=metadata)


def identifying(options: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that tell it from others, but for those that are new and have their default."""
    values = dataclasses.asdict(options)
    for field in dataclasses.fields(options):
        if field.metadata.get("since", 1) > 1 and values[field.name] == field.default:
            del values[field.name]
    return values


def check_options(options: Any) -> None:
    """Check every field of a dataclass that :func:`option` made.

    Raises:
        TypeError, ValueError: a value of another type or out of its range; the message names the field.
    """
    for field in dataclasses.fields(options):
        name, value, allowed = field.name, getattr(options, field.name), field.metadata["allowed"]
        if value is None and field.default is None:
            continue
        if field.type.startswith("bool"):
            check_flag(name, value)
        elif field.type.startswith("int"):
            check_whole(name, value, allowed, 2**32 - 1)  # of a seed NumPy takes no more
        elif field.type.startswith("float"):
            if check_number(name, value, above=-math.inf if allowed is None else allowed) < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        elif name == "device":
            check_device(name, value)
        elif allowed is not None:
            check_choice(name, value, tuple(allowed))


def take_options(kind: type, given: dict[str, Any], defaults: Mapping[str, Any]) -> Any:
    """Return a dataclass that :func:`option` made with what is ``given``, which is taken from there, or else a default.

    Raises:
        TypeError, ValueError: see :func:`check_options`.
    """
    names = {field.name for field in dataclasses.fields(kind)}
    known = {name: value for name, value in defaults.items() if name in names}
    return kind(**known | {name: given.pop(name) for name in names & given.keys()})


def add_options(parser: argparse.ArgumentParser, kind: type) -> None:
    """Give ``parser`` every field of a dataclass that :func:`option` made."""
    for field in dataclasses.fields(kind):
        flags = [flag for flag in (field.metadata["flag"], f"--{field.name.replace('_', '-')}") if flag]
        read = {"int": int, "flo": float}.get(field.type[:3], str.lower if field.metadata["allowed"] else str)
        how: dict[str, Any] = {"action": "store_true"} if field.type == "bool" else {"type": read}
        allowed = field.metadata["allowed"]
        words = f", one of {', '.join(allowed)}" if isinstance(allowed, Iterable) else ""
        about = f"{field.metadata['help']}{words} (default: {field.default})"
        parser.add_argument(*flags, dest=field.name, help=about, **how)
