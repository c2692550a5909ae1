"""Checks, without raising, that upstream's names are those that a hook was written for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

MARK = "_ascend_prefetch_wrapped"
"""Attribute of a wrapper around upstream's function; it prevents wrapping the function twice."""


class Expected(NamedTuple):
    """A name of upstream, as it was in the releases that a hook was written for.

    Attributes:
        module: module that has the name.
        name: dotted name within the module.
        signature: signature of a function, without annotations, as signature_of() returns it; None
            if only the name is checked.
        fields: fields that a data class must declare, among others.
        absent: whether the name must be missing, which tells a release from later ones.
    """

    module: str
    name: str
    signature: str | None = None
    fields: tuple[str, ...] = ()
    absent: bool = False


def signature_of(function: Callable[..., Any]) -> str:
    """Names, kinds and defaults of parameters, such as "(self, x, scale=None)".

    Raises:
        TypeError, ValueError: Python cannot tell its signature.
    """
    empty = inspect.Parameter.empty
    parameters = inspect.signature(function).parameters.values()
    bare = [parameter.replace(annotation=empty) for parameter in parameters]
    return str(inspect.Signature(bare))


def difference(expected: Expected) -> str | None:
    """One line with what was looked for and what was found; None where they agree.

    The module is imported.
    """
    where = f"{expected.module}.{expected.name}"
    looked_for = where + (expected.signature or "")
    try:
        found: Any = importlib.import_module(expected.module)
        for name in expected.name.split("."):
            found = getattr(found, name)
    except Exception as error:  # importing a module of another release may raise anything
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
    """The first difference that is found, or None."""
    return next((line for one in expected if (line := difference(one)) is not None), None)


def _fields(found: Any) -> set[str]:
    """The declared fields of a data class, and the names that a class lists in `extra_attrs`."""
    declared = set(getattr(found, "extra_attrs", ()))
    for base in getattr(found, "__mro__", ()):
        declared |= set(vars(base).get("__annotations__", ()))
    return declared


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
