"""Shared by the verbs: the description of a verb, types of arguments, progress."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ascend_prefetch.shown import shown

MAX = 2**31 - 1
"""Maximum of a number that has no other limit; it fits the C++ type that receives it."""

MAX_PROCESSES = 1024

_MAX_US = 1e6


class OutputOption(NamedTuple):
    """An option that names a file to be written.

    Attributes:
        name: name of the option in the namespace.
        suffixes: the suffixes that the file may have; empty where any is allowed.
        beside: suffixes of further files that are written beside it.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


class Verb(NamedTuple):
    """A verb of the command line; every verb automatically has the option `--json`.

    Attributes:
        name: the word on the command line.
        help: a line for the list of verbs.
        run: makes the result, which `--json` writes to a file. For bad input it raises a
            ValueError, RuntimeError or OSError, whose text is printed in one line; the exit status
            is then 2.
        show: prints the result for people.
        add_arguments: adds the verb's arguments to its parser.
        description: the text of `VERB --help`.
        passed: whether a result gives the exit status 0 rather than 1.
        outputs: options that name files to be written, which are checked before `run`.
        inputs: options that name files to be read, which no output may replace.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace], dict[str, Any]]
    show: Callable[[dict[str, Any]], None]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    description: str | None = None
    passed: Callable[[dict[str, Any]], bool] = lambda result: True
    outputs: tuple[OutputOption, ...] = ()
    inputs: tuple[str, ...] = ()


def list_of(element: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """The type of an argument that is a list of elements with commas between them."""

    def values(text: str) -> tuple[Any, ...]:
        return tuple(element(part.strip()) for part in text.split(","))

    values.__name__ = f"comma-separated {getattr(element, '__name__', 'value')}"
    return values


def whole(least: int, most: int = MAX) -> Callable[[str], int]:
    """The type of an argument that is an integer from `least` to `most`."""

    def number(text: str) -> int:
        digits = re.fullmatch(r"[+-]?[0-9]{1,19}", text)
        if digits is None or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}, got {shown(text)}"
            )
        return int(text)

    return number


positive = whole(1)
"""The type of an argument that is a positive integer."""

byte_count = whole(0, 1 << 40)
"""The type of an argument that counts bytes; the maximum exceeds the memory of any device."""


def microseconds(text: str) -> float:
    """The type of an argument that is a time in us, from 0 to a second."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MAX_US:
        raise argparse.ArgumentTypeError(f"expected 0 to {_MAX_US:g} us, got {shown(text)}")
    return value


def times_text(times: Mapping[str, float], width: int = 0) -> str:
    """Modelled us as "nominal (low to high)", with the nominal time padded to `width`."""
    return f"{times['nominal']:{width}.1f} ({times['low']:.1f} to {times['high']:.1f})"


def progress(line: str) -> None:
    """Prints a line about the progress of long work on stderr."""
    print(line, file=sys.stderr, flush=True)
