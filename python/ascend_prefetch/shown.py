"""Values as an error shows them: what came may be of any size, and hold anything."""

from __future__ import annotations


def shown(value: object, most: int = 80) -> str:
    """`repr` on one line, and not much longer than `most` characters."""
    try:
        text = repr(value)
    except ValueError:
        # Python writes out no int of more than 4,300 digits, unless told to.
        return "a number of thousands of digits"
    return text if len(text) <= most + 5 else f"{text[:most]}...{text[-1]}"


def count_of(count: int, what: str) -> str:
    """A number of things, whose plural has an s."""
    return f"{count} {what}" + "s" * (count != 1)


def plain(text: object, most: int = 300) -> str:
    """A name as it is, without quotes, where it can be printed and is no longer than `most`."""
    return shown(str(text), most)[1:-1]
