"""Whether upstream's names are those that a hook was written for, looked up without raising."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

MARK = "_ascend_prefetch_wrapped"
"""An attribute of what stands in for a function of upstream's, which is wrapped once."""


class Expected(NamedTuple):
    """A name of upstream, as it was in the releases that a hook was written for.

    Attributes:
        module: where it is.
        name: dotted, below the module.
        signature: of a function, without annotations, as signature_of() gives it; None for what is
            only looked up.
        fields: that a class of data has to declare; others may be there as well.
        absent: whether it must not be there: it tells a release from those that came later.
    """

    module: str
    name: str
    signature: str | None = None
    fields: tuple[str, ...] = ()
    absent: bool = False


def signature_of(function: Callable[..., Any]) -> str:
    """Names, kinds and defaults of parameters, such as "(self, x, scale=None)".

    Raises:
        TypeError, ValueError: it has no signature that can be read.
    """
    empty = inspect.Parameter.empty
    parameters = inspect.signature(function).parameters.values()
    bare = [parameter.replace(annotation=empty) for parameter in parameters]
    return str(inspect.Signature(bare))


def difference(expected: Expected) -> str | None:
    """What was looked for and what was found, in one line; None where they agree.

    Imports the module.
    """
    where = f"{expected.module}.{expected.name}"
    looked_for = where + (expected.signature or "")
    try:
        found: Any = importlib.import_module(expected.module)
        for name in expected.name.split("."):
            found = getattr(found, name)
    except Exception as error:  # whatever a module of another release does when it is imported
        if expected.absent:
            return None
        return f"looked for {looked_for}, found {type(error).__name__}: {_first_line(error)}"
    if expected.absent:
        return f"looked for a release without {where}, found it"
    if expected.signature is not None:
        try:
            signature = signature_of(found)
        except (TypeError, ValueError) as error:
            signature = f" without a signature ({_first_line(error)})"
        if signature != expected.signature:
            return f"looked for {looked_for}, found {expected.name}{signature}"
    missing = [name for name in expected.fields if name not in _fields(found)]
    if missing:
        return f"looked for {where} with {', '.join(missing)}, found it without"
    return None


def first_difference(expected: Iterable[Expected]) -> str | None:
    """The first difference, or None."""
    return next((line for one in expected if (line := difference(one)) is not None), None)


def _fields(found: Any) -> set[str]:
    """Declared names of a data class, or those that a class lists in `extra_attrs`."""
    declared = set(getattr(found, "extra_attrs", ()))
    for base in getattr(found, "__mro__", ()):
        declared |= set(vars(base).get("__annotations__", ()))
    return declared


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
