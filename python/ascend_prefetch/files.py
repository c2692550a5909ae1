"""Files: those that are read, and those that are there as a whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ascend_prefetch.shown import plain, shown

MOST_JSON_BYTES = 1 << 28
"""Of a JSON file. The largest that are read, indices of checkpoints, have some 10 MB."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading: of a FIFO or a device nobody knows when it ends.

    Raises:
        ValueError: something else than a file, or a name that no file can have.
        FileNotFoundError: there is nothing of this name.
        OSError: it cannot be read.
    """
    try:
        # Opening a FIFO would otherwise wait for somebody who writes.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{plain(path)}: expected a file: {reason}") from None
    kind = _kind(os.fstat(handle).st_mode)
    if kind:
        os.close(handle)
        raise ValueError(f"{path}: expected a file, got {kind}")
    return os.fdopen(handle, "rb")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: no file, more than MOST_JSON_BYTES, no JSON in UTF-8, a name that an object has
            twice, or more levels than Python reads.
        FileNotFoundError: there is nothing of this name.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        content = file.read(MOST_JSON_BYTES + 1)
    if len(content) > MOST_JSON_BYTES:
        raise ValueError(f"{path}: expected at most {MOST_JSON_BYTES} bytes of JSON, got more")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError(f"{path}: expected JSON, got too many levels") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got: {error}") from None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, beside `path`, that takes its place when the block has succeeded."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _kind(mode: int) -> str:
    """What a file is if it is no regular one, else ""."""
    return next((name for matches, name in _KINDS if matches(mode)), "")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose names are there once: the later one would replace the earlier."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} is there twice")
        found[name] = value
    return found
