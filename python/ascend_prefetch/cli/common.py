"""What the verbs share: how one is described, types of arguments, progress."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple


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
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace], dict[str, Any]]
    show: Callable[[dict[str, Any]], None]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    description: str | None = None
    passed: Callable[[dict[str, Any]], bool] = lambda result: True


def positive(text: str) -> int:
    """A number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {value}")
    return value


def microseconds(text: str) -> float:
    """A time in us, from 0 on."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"expected 0 or more us, got {text}")
    return value


def check_out(out: Path, suffixes: Sequence[str] = ()) -> None:
    """Refuses the name of a result before any work, which can take minutes.

    Args:
        out: the name.
        suffixes: that it may have; any without.

    Raises:
        ValueError: it has another suffix, no directory, or is one.
    """
    if suffixes and out.suffix not in suffixes:
        expected = " or ".join(suffixes)
        raise ValueError(f"out: expected a name that ends in {expected}, got '{out}'")
    if not out.parent.is_dir():
        raise ValueError(f"out: there is no directory '{out.parent}'")
    if out.is_dir():
        raise ValueError(f"out: '{out}' is a directory")


def progress(line: str) -> None:
    """Tells on stderr how far long work is."""
    print(line, file=sys.stderr, flush=True)
