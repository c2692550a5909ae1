"""Checked reading of files, and writing that leaves a whole file or none."""

from __future__ import annotations

import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple

from ascend_prefetch.shown import plain, shown

MAX_JSON_BYTES = 1 << 28
"""Maximum size of a JSON file. The largest, indices of checkpoints, have some 10 MB."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading; a FIFO or a device might never end.

    Raises:
        ValueError: the path is not a regular file, or is a name that no file can have.
        FileNotFoundError: there is nothing of this name.
        OSError: the file cannot be read.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO waits until another process opens it for writing.
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
    """The content of a JSON file.

    Raises:
        ValueError: the path is not a regular file, or the file is larger than MAX_JSON_BYTES, is
            not JSON in UTF-8, has an object with a duplicate name, or is nested deeper than Python
            reads.
        FileNotFoundError: there is nothing of this name.
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_JSON_BYTES} bytes of JSON, got more")
    return parse_json(content, path)


def parse_json(content: bytes, name: object) -> Any:
    """Parses JSON.

    Args:
        content: the text in UTF-8.
        name: name of the file or variable it comes from, for errors.

    Raises:
        ValueError: the content is not JSON in UTF-8, has an object with a duplicate name, or is
            nested deeper than Python reads.
    """
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError(f"{name}: expected JSON, got too many levels") from None
    except ValueError as error:
        raise ValueError(f"{name}: expected JSON, got: {error}") from None


class OutputFile(NamedTuple):
    """A file that is to be written.

    Attributes:
        name: the option or argument that gives the path.
        path: where it is to be written.
        suffixes: the suffixes that its name may have; empty where any is allowed.
    """

    name: str
    path: Path
    suffixes: tuple[str, ...] = ()


def check_outputs(outputs: Sequence[OutputFile], inputs: Sequence[Path] = ()) -> None:
    """Checks before any work that all outputs can be written, each to a file of its own.

    Args:
        outputs: the files that will be written.
        inputs: files that are read, which no output may replace.

    Raises:
        ValueError: an output has a suffix that is not allowed, lies in a directory that does not
            exist, is itself a directory, cannot be written, or is the same file as another output
            or an input, directly or through a link.
    """
    for output in outputs:
        _check_output(output)
    named = [(output.name, output.path) for output in outputs]
    for number, (name, path) in enumerate(named):
        for other, other_path in [*named[:number], *(("an input", path) for path in inputs)]:
            if not _is_special(_target(path)) and _same_file(path, other_path):
                raise ValueError(
                    f"{name}: expected another file than that of {other}, got '{plain(path)}'"
                )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which replaces `path` once the block has succeeded.

    A symbolic link stays a link: its target is replaced, and keeps its permissions. A path that is
    not a regular file, such as /dev/null, is not replaced but written to, in one go at the end.
    """
    target = _target(path)
    if _is_special(target):
        with TemporaryDirectory() as directory:
            part = Path(directory) / "part"
            yield part
            # Without O_NONBLOCK, opening a FIFO that no process reads would wait.
            handle = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
            os.set_blocking(handle, True)
            with part.open("rb") as source, os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(source, file)
        return
    part = _part(target)
    try:
        yield part
        with suppress(FileNotFoundError):
            shutil.copymode(target, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _check_output(output: OutputFile) -> None:
    name, path, suffixes = output
    if suffixes and not any(
        path.name.endswith(suffix) and path.name != suffix for suffix in suffixes
    ):
        raise ValueError(
            f"{name}: expected a name that ends in {' or '.join(suffixes)}, got '{plain(path)}'"
        )
    try:
        target = _target(path)
        if target.is_dir():
            raise ValueError(f"{name}: '{plain(path)}' is a directory")
        if _is_special(target):
            writable = os.access(target, os.W_OK)
        else:
            if not target.parent.is_dir():
                raise ValueError(f"{name}: there is no directory '{plain(path.parent)}'")
            writable = os.access(target, os.W_OK) or not target.exists()
            part = _part(target)
            part.touch(exist_ok=False)
            part.unlink()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        reason = error.strerror if isinstance(error, OSError) else "a link that leads to itself"
        raise ValueError(f"{name}: '{plain(path)}' cannot be written: {reason}") from None
    if not writable:
        raise ValueError(f"{name}: '{plain(path)}' cannot be written: it is read-only")


def _target(path: Path) -> Path:
    """The file that is written: the target of a link, but the path itself for a stream."""
    return path if _is_stream(path) else path.resolve()


def _is_stream(path: Path) -> bool:
    """Whether the path is a system link to an open file, such as /dev/stdout."""
    return path.parent == Path("/dev/fd") or path in _STREAMS or path.parts[1:2] == ("proc",)


_STREAMS = (Path("/dev/stdout"), Path("/dev/stderr"))


def _is_special(target: Path) -> bool:
    """Whether a path must be written to in place, as another file cannot replace it."""
    return _is_stream(target) or (target.exists() and not target.is_file())


def _part(target: Path) -> Path:
    """A temporary path beside a file; the name is short even where the file's is not."""
    return target.with_name(f".{uuid.uuid4().hex}.part")


def _same_file(path: Path, other: Path) -> bool:
    if _target(path) == _target(other):
        return True
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


def _kind(mode: int) -> str:
    """The kind of a file that is not regular, such as "a FIFO"; "" for a regular file."""
    return next((name for matches, name in _KINDS if matches(mode)), "")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a duplicate name, whose last value would silently win, is refused."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} is there twice")
        found[name] = value
    return found
