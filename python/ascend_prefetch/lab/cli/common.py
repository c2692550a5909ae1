"""What the verbs share: how one is described, types of arguments, progress."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ascend_prefetch.shown import shown

MOST = 2**31 - 1
"""Of a number that nothing else bounds: it fits into what takes it."""

MOST_PROCESSES = 1024

_MOST_US = 1e6


class OutputOption(NamedTuple):
    """An option that names a file to be written.

    Attributes:
        name: of the option, as in the namespace.
        suffixes: what the file's name may end in; anything where there are none.
        beside: what the names of other files end in that are written beside it.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


class Verb(NamedTuple):
    """A verb of the command line; `--json` comes by itself.

    Attributes:
        name: what is typed.
        help: a line for the list of verbs.
        run: makes the result, which is what `--json` writes. Bad input is a ValueError,
            RuntimeError or OSError, whose text is printed in one line; the exit status is 2.
        show: prints the result for people.
        add_arguments: to the verb's own parser.
        description: for `VERB --help`.
        passed: whether the exit status is 0, or 1.
        outputs: options that name files to be written, which are checked before `run`.
        inputs: options that name files to be read, which nothing may replace.
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


def whole(least: int, most: int = MOST) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `least` to `most`."""

    def number(text: str) -> int:
        digits = re.fullmatch(r"[+-]?[0-9]{1,19}", text)
        if digits is None or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}, got {shown(text)}"
            )
        return int(text)

    return number


positive = whole(1)
"""A number from 1 on."""

byte_count = whole(0, 1 << 40)
"""Of anything in the memory of a device, which has less."""


def microseconds(text: str) -> float:
    """A time in us, from 0 to a second."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MOST_US:
        raise argparse.ArgumentTypeError(f"expected 0 to {_MOST_US:g} us, got {shown(text)}")
    return value


def times_text(times: Mapping[str, float], width: int = 0) -> str:
    """Modelled times, us, at nominal (low to high) constants; the first of them `width` wide."""
    return f"{times['nominal']:{width}.1f} ({times['low']:.1f} to {times['high']:.1f})"


def progress(line: str) -> None:
    """Tells on stderr how far long work is."""
    print(line, file=sys.stderr, flush=True)
