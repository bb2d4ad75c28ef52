"""What all command lines share: a parser that answers a bad argument with one line, kinds of arguments, and options.

An option is a field of a dataclass that knows its flags, its help and what it may be: the parser is made from the
fields, and the dataclass checks itself with them. Of a flag that is given twice the last one counts, as everywhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from snn_core.checks import LARGEST, check_choice, check_flag, check_number, check_whole

__all__ = ["Kind", "Parser", "add_option", "check_options", "choice", "flag", "folder", "from_args", "number", "option",
           "path", "target", "whole"]  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Answers bad arguments with status 2 and one line instead of the whole usage.

    Abbreviated flags are refused, or with ``allow_abbrev`` those in :attr:`exact`, which then make no other ambiguous.
    """

    def __init__(self, allow_abbrev: bool = False, **options: Any) -> None:
        super().__init__(allow_abbrev=allow_abbrev, **options)
        self.exact: list[argparse.Action] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        for text in sys.argv[1:] if args is None else args:
            # argparse drops this value and hands on an empty list, which no type has looked at.
            if re.fullmatch(r"--[^=]+=--|-\w=?--", text):
                self.error(f"argument {text[:-2].rstrip('=')}: expected a value, got '--'")
        return super().parse_known_args(args, namespace)

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        return [found for found in super()._get_option_tuples(option_string) if found[0] not in self.exact]

    def error(self, message: str) -> NoReturn:
        self._leave(2, f"{message} (--help lists all arguments)")

    def fail(self, error: object) -> NoReturn:
        """Leave with status 1: the arguments were right, but what they name cannot be used."""
        self._leave(1, str(error))

    def _leave(self, status: int, message: str) -> NoReturn:
        # Of the processes that torchrun starts on a machine, one speaks for all.
        first = os.environ.get("LOCAL_RANK", "0") == "0"
        self.exit(status, f"{self.prog}: error: {' '.join(message.split())}\n" if first else None)


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


def number(lowest: float = -math.inf, exclusive: bool = False, below: float = math.inf) -> Kind:
    """Return the kind of finite numbers that are at least, or with ``exclusive`` above, ``lowest``, and ``below``."""

    def check(name: str, value: Any) -> float:
        checked = check_number(name, value, above=lowest if exclusive else -math.inf)
        if not lowest <= checked < below:
            bound = f"at least {lowest}" if checked < lowest else f"below {below}"
            raise ValueError(f"{name} must be {bound}, got {checked}")
        return checked

    return Kind(float, check)


def choice(*words: str) -> Kind:
    """Return the kind of these words."""
    return Kind(str, lambda name, value: check_choice(name, value, words))


#: What is off unless its flag is given.
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


def option(default: Any, kind: Callable[[str], Any], help: str = "", *flags: str, **more: Any) -> Any:
    """Return a field of a dataclass that knows what it may be, and can be an option of a command line as well.

    Args:
        default: its value where the flag is not given; None means that it may be left open.
        kind: what it may be.
        help: a line for ``--help``.
        flags: its flags; by default the field's name.
        more: further arguments of ``ArgumentParser.add_argument``.
    """
    return dataclasses.field(default=default, metadata={"flags": flags, "type": kind, "help": help} | more)


def add_option(parser: Any, field: dataclasses.Field[Any]) -> argparse.Action:
    """Add the flag of a field that :func:`option` made to a parser, or to a group of one."""
    more = dict(field.metadata)
    flags = more.pop("flags") or (f"--{field.name.replace('_', '-')}",)
    if more["type"] is flag:
        return parser.add_argument(*flags, dest=field.name, action="store_true", help=more["help"])
    return parser.add_argument(*flags, dest=field.name, default=field.default, **more)


def from_args(cls: type[Any], args: argparse.Namespace) -> Any:
    """Return the dataclass ``cls`` with what a command line gave for its fields."""
    return cls(**{field.name: getattr(args, field.name) for field in dataclasses.fields(cls)})


def check_options(options: Any) -> None:
    """Check every field of a dataclass by its kind; what is None by default may be None.

    Raises:
        TypeError, ValueError: a field is not of its kind; the message names it.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if "type" in field.metadata and (value is not None or field.default is not None):
            field.metadata["type"].check(field.name, value)
