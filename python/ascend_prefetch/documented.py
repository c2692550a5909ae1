"""Docstrings and signatures for registered ops: from their schemas, and a text for each argument.

torch gives a registered op neither, and a Python function around it would repeat all its arguments.
"""

from __future__ import annotations

import collections.abc
import inspect
import re
import textwrap
from typing import Any

import torch

WIDTH = 96
"""Columns of a docstring's lines."""

_TYPES = {
    "TensorType": torch.Tensor,
    "IntType": int,
    "FloatType": float,
    "BoolType": bool,
    "StringType": str,
}


def document(name: str, text: str, arguments: str) -> Any:
    """Gives the op torch.ops.ascend_prefetch.<name> a docstring and a signature, and returns it.

    Args:
        name: the op's name.
        text: the docstring; in place of "{arguments}" it gets the entries of the op's arguments, in
            the order of the schema, with their defaults.
        arguments: entries "name: text" or "name, name: text", whose further lines are indented;
            names on one line. Those that the op does not have are left out.

    Raises:
        RuntimeError: an argument of the op has no entry.
    """
    op: Any = getattr(torch.ops.ascend_prefetch, name)
    schema = op.default._schema
    op.__doc__ = inspect.cleandoc(text).replace("{arguments}", _entries(schema, _texts(arguments)))
    op.__signature__ = signature(schema)
    return op


def signature(schema: torch.FunctionSchema) -> inspect.Signature:
    """The signature of the Python call of an op with this schema."""
    parameters = [
        inspect.Parameter(
            argument.name,
            inspect.Parameter.KEYWORD_ONLY
            if argument.kwarg_only
            else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=argument.default_value if argument.has_default_value() else _EMPTY,
            annotation=_annotation(argument.type),
        )
        for argument in schema.arguments
    ]
    results = tuple(_annotation(result.type) for result in schema.returns)
    annotation: Any = None
    if results:
        annotation = results[0] if len(results) == 1 else tuple[results]  # type: ignore[valid-type]
    return inspect.Signature(parameters, return_annotation=annotation)


_EMPTY = inspect.Parameter.empty


def _annotation(type_: Any) -> Any:
    kind = type_.kind()
    if kind == "OptionalType":
        return _annotation(type_.getElementType()) | None
    if kind == "ListType":
        element = _annotation(type_.getElementType())
        return collections.abc.Sequence[element]  # type: ignore[valid-type]
    return _TYPES[kind]


def _texts(arguments: str) -> dict[str, tuple[tuple[str, ...], str]]:
    """The names that share an entry, and its text on one line, by name."""
    texts = {}
    for entry in re.split(r"\n(?=\S)", inspect.cleandoc(arguments)):
        names, _, text = entry.partition(": ")
        group = tuple(names.split(", "))
        texts.update(dict.fromkeys(group, (group, " ".join(text.split()))))
    return texts


def _entries(schema: torch.FunctionSchema, texts: dict[str, tuple[tuple[str, ...], str]]) -> str:
    entries: list[str] = []
    done: set[str] = set()
    names = [argument.name for argument in schema.arguments]
    for argument in schema.arguments:
        if argument.name in done:
            continue
        if argument.name not in texts:
            raise RuntimeError(
                f"{schema.name}: argument '{argument.name}': expected a text in "
                "ascend_prefetch.ops, got none"
            )
        group, text = texts[argument.name]
        group = tuple(name for name in group if name in names)
        done.update(group)
        if argument.default_value is not None:
            text += f" Default: {argument.default_value!r}."
        entries += textwrap.wrap(
            f"{', '.join(group)}: {text}",
            WIDTH - 4,
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n    ".join(entries)
