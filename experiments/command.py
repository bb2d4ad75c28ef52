"""What command lines share: a parser that answers a bad argument with one line, and kinds of arguments.

An option is a field of a dataclass that knows what it may be: the dataclass checks itself with it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from snn_core.checks import LARGEST, check_choice, check_flag, check_number, check_whole

__all__ = [
    "Kind", "Parser", "check_options", "choice", "flag", "folder", "number", "option", "path", "target", "whole"
]  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Answers bad arguments with status 2 and one line instead of the whole usage; abbreviated flags are refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self._leave(2, f"{message} (--help lists all arguments)")

    def fail(self, error: object) -> NoReturn:
        """Leave with status 1: the arguments were right, but what they name cannot be used."""
        self._leave(1, str(error))

    def _leave(self, status: int, message: str) -> NoReturn:
        self.exit(status, f"{self.prog}: error: {' '.join(message.split())}\n")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of argument, usable as an argparse type.

    Args:
        convert: makes a value of the text of a command line.
        check: ``check(name, value)`` raises TypeError or ValueError, with a line that begins with the name.
    """

    convert: Callable[[str], Any]
    check: Callable[[str, Any], Any]

    def __call__(self, text: str) -> Any:
        """Return the value of ``text``.

        Raises:
            argparse.ArgumentTypeError: it is not of this kind.
        """
        value: Any = text
        with suppress(ValueError):
            value = self.convert(text)
        try:
            self.check("", value)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error).strip()) from error
        return value


def whole(lowest: int, highest: int = LARGEST) -> Kind:
    """Return the kind of whole numbers from ``lowest`` to ``highest``."""
    return Kind(int, lambda name, value: check_whole(name, value, lowest, highest))


def number(lowest: float = -math.inf, exclusive: bool = False) -> Kind:
    """Return the kind of finite numbers that are at least, or with ``exclusive`` above, ``lowest``."""

    def check(name: str, value: Any) -> float:
        checked = check_number(name, value, above=lowest if exclusive else -math.inf)
        if checked < lowest:
            raise ValueError(f"{name} must be at least {lowest}, got {checked}")
        return checked

    return Kind(float, check)


def choice(*words: str) -> Kind:
    """Return the kind of these words."""
    return Kind(str, lambda name, value: check_choice(name, value, words))


#: True or False.
flag = Kind(bool, check_flag)


def path(text: str) -> str:
    """Argparse type for the name of a file or folder; an empty one would stand for the working folder."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be the name of a file or folder, got {text!r}")
    return text


def target(text: str) -> Path:
    """Argparse type for a file to write, so that what takes hours does not end on a name that cannot be written."""
    if Path(path(text)).is_dir():
        raise argparse.ArgumentTypeError(f"must be a file to write, got the folder {text}")
    return Path(text)


def folder(text: str) -> Path:
    """Argparse type for a folder, which need not exist yet."""
    if Path(path(text)).exists() and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder, got the file {text}")
    return Path(text)


def option(default: Any, kind: Kind) -> Any:
    """Return a field of a dataclass that knows what it may be; ``default`` None means that it may be left open."""
    return dataclasses.field(default=default, metadata={"kind": kind})


def check_options(options: Any) -> None:
    """Check every field of a dataclass by its kind; what is None by default may be None.

    Raises:
        TypeError, ValueError: a field is not of its kind; the message names it.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if "kind" in field.metadata and (value is not None or field.default is not None):
            field.metadata["kind"].check(field.name, value)
