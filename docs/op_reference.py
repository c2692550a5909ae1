"""The reference of the ops, from their docstrings: tables of arguments, rules of all ops."""

import inspect
import re

from ascend_prefetch import ops

# What stands for a shape, and the section of the page that says what shapes those are.
_NAMED_SHAPES = (
    (re.compile(r"linear weight, "), "Linear weights", "linear weight"),
    (re.compile(r"(?=rows of )"), "Caches", "paged cache"),
)
_ENTRY = re.compile(r"    (\w[\w, ]*): (.*)")
_HEADING = re.compile(r"^(\w[\w ]*)\n(?=    )", re.MULTILINE)


def conventions():
    """What the documentation of ascend_prefetch.ops says first, as Markdown."""
    # The first paragraph says what the module is.
    return _restructured(_HEADING.split(inspect.cleandoc(ops.__doc__))[0].partition("\n\n")[2])


def rules():
    """What it says of all ops, a section for each of its headings, as Markdown."""
    _, *parts = _HEADING.split(inspect.cleandoc(ops.__doc__))
    sections = []
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        text = inspect.cleandoc("    " + body.strip())
        sections.append(f"({_label(title)})=\n### {title}\n\n{_restructured(text)}")
    return "\n\n".join(sections)


def lay_out(app, what, name, obj, options, lines):
    """Turns the arguments and results of an op into tables; called by autodoc."""
    if not name.startswith(f"{ops.__name__}."):
        return
    for heading, column in (("Args:", "Argument"), ("Returns:", "Result")):
        if heading not in lines:
            continue
        first = lines.index(heading)
        last = next(
            (i for i in range(first + 1, len(lines)) if re.match(r"\S", lines[i])), len(lines)
        )
        entries = _entries(lines[first + 1 : last])
        if entries:
            lines[first:last] = _table(column, entries)
    # On the site that text is a section of the same page.
    lines[:] = [line.replace("see the module", ":ref:`see below <rules>`") for line in lines]


def _label(title):
    return "rules-" + title.lower().replace(" ", "-")


def _restructured(text):
    return f"```{{eval-rst}}\n{text.strip()}\n```"


def _entries(lines):
    """Names and texts of a section of a docstring; none where its text names nothing."""
    entries = []
    for line in filter(str.strip, lines):
        found = _ENTRY.fullmatch(line)
        if found:
            entries.append([found[1], found[2]])
        elif not entries:
            return []
        else:
            entries[-1][1] += " " + line.strip()
    return entries


def _table(column, entries):
    lines = [
        ".. list-table::",
        "   :class: arguments",
        "   :header-rows: 1",
        "   :widths: 30 22 48",
        "",
        f"   * - {column}",
        "     - Shape",
        "     - Meaning",
    ]
    for names, text in entries:
        shape, meaning = _split(text)
        marked = ", ".join(f"``{name}``" for name in names.split(", "))
        lines += [f"   * - {marked}", f"     - {shape}".rstrip(), f"     - {meaning}".rstrip()]
    return [*lines, ""]


def _split(text):
    """The shape that a text begins with, or a link to where it is said, and the rest."""
    for pattern, title, name in _NAMED_SHAPES:
        begins = pattern.match(text)
        if begins:
            return f":ref:`{name} <{_label(title)}>`", text[begins.end() :]
    shape = re.match(r"(\[[^\]]*\])[.,;]? ?", text)
    if shape:
        return f"``{shape[1]}``", text[shape.end() :]
    return "", text
