"""Folds long tables of a page, and puts a chart in front where there is one for the table."""

import re

import charts

# Rows from which on a table is folded.
LONG = 12
_TABLE = re.compile(r"^\|.+\|\n\|(?: ?-+:? ?\|)+\n(?:\|.+\|(?:\n|\Z))+", re.MULTILINE)


def fold_tables(text):
    """Puts each long table of a page in Markdown into an element that opens and closes."""
    return _TABLE.sub(_fold, text)


def cells(line):
    """The cells of a row of a table in Markdown."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _fold(match):
    header, _, *rows = match[0].strip().split("\n")
    if len(rows) < LONG:
        return match[0]
    columns = cells(header)
    drawn = charts.chart(columns, [cells(row) for row in rows])
    summary = f"{len(rows)} rows: {', '.join(columns)}"
    folded = f'<details class="table">\n<summary>{summary}</summary>\n\n{match[0]}\n</details>\n'
    return f"{drawn}\n\n{folded}" if drawn else folded
