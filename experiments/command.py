"""What command lines share: a parser that answers a bad argument with one line, and kinds of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from snn_core.checks import LARGEST, check_whole

__all__ = ["Parser", "folder", "path", "target", "whole"]


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


def _checked(convert: Callable[[str], Any], check: Callable[[Any], Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value: Any = text  # if it is no number, the check says what it must be
        with suppress(ValueError):
            value = convert(text)
        try:
            return check(value)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error).strip()) from error

    return parse


def whole(lowest: int, highest: int = LARGEST) -> Callable[[str], int]:
    """Argparse type for whole numbers from ``lowest`` to ``highest``."""
    return _checked(int, lambda value: check_whole("", value, lowest, highest))


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
