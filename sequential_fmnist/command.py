"""What all command lines share: a parser that answers a bad argument with one line, and kinds of arguments.

Of a flag that is given twice the last one counts, as everywhere.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from snn_core.checks import LARGEST

__all__ = ["Parser", "folder", "number", "path", "target", "whole"]


class Parser(argparse.ArgumentParser):
    """Answers bad arguments with status 2 and one line instead of the whole usage; takes no abbreviated flags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        for text in sys.argv[1:] if args is None else args:
            # argparse drops this value and hands on an empty list, which no type has looked at.
            if re.fullmatch(r"--[^=]+=--|-\w=?--", text):
                self.error(f"argument {text[:-2].rstrip('=')}: expected a value, got '--'")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self._leave(2, f"{message} (--help lists all arguments)")

    def fail(self, error: object) -> NoReturn:
        """Leave with status 1: the arguments were right, but what they name cannot be used."""
        self._leave(1, str(error))

    def _leave(self, status: int, message: str) -> NoReturn:
        # Of the processes that torchrun starts on a machine, one speaks for all.
        first = os.environ.get("LOCAL_RANK", "0") == "0"
        self.exit(status, f"{self.prog}: error: {' '.join(message.split())}\n" if first else None)


def whole(lowest: int, highest: int = LARGEST) -> Callable[[str], int]:
    """Return an argparse type for a whole number from ``lowest`` to ``highest``."""

    def parse(text: str) -> int:
        value = int(text)
        if not lowest <= value <= highest:
            bound = f"at least {lowest}" if value < lowest else f"at most {highest}"
            raise argparse.ArgumentTypeError(f"must be a whole number, {bound}, got {text[:80]}")
        return value

    parse.__name__ = "int"  # argparse names the type in "invalid int value"
    return parse


def number(lowest: float, exclusive: bool = False) -> Callable[[str], float]:
    """Return an argparse type for a finite number that is not below ``lowest``, or that is above it."""

    def parse(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or value < lowest or (exclusive and value == lowest):
            bound = "above" if exclusive else "at least"
            raise argparse.ArgumentTypeError(f"must be a finite number {bound} {lowest}, got {text[:80]}")
        return value

    parse.__name__ = "float"
    return parse


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
