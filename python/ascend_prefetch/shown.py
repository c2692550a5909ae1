"""Values as an error text shows them: a bad argument may have any size and content."""

from __future__ import annotations


def shown(value: object, most: int = 80) -> str:
    """`repr` on one line, and not much longer than `most` characters."""
    try:
        text = repr(value)
    except ValueError:
        # By default Python converts no int of more than 4,300 digits to text.
        return "a number of thousands of digits"
    return text if len(text) <= most + 5 else f"{text[:most]}...{text[-1]}"


def count_of(count: int, what: str) -> str:
    """The count and the noun, "1 row" or "2 rows"; the noun's plural must end in s."""
    return f"{count} {what}" + "s" * (count != 1)


def plain(text: object, most: int = 300) -> str:
    """A name without quotes, escaped where it cannot be printed and cut after `most` characters."""
    return shown(str(text), most)[1:-1]
