"""Charts of modelled times, drawn from the tables of the page of results, as SVG in the page."""

import html
import math

# Columns of a table of an op, with the colours of their lines, which can be seen on light pages and
# on dark ones.
_SERIES = {
    "Floor us": "#888888",
    "Fused": "#2a7de1",
    "Separate kernels": "#d9542b",
}
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 14, 24, 30


def chart(columns, rows):
    """A figure of a table of an op: times over tokens, one panel for each rank and layout.

    Args:
        columns: of the table.
        rows: their cells; times are "low / nominal / high" or one number.

    Returns:
        HTML without an empty line; "" for a table of another kind.
    """
    if not {"TP", "Weights", "T", *_SERIES} <= set(columns):
        return ""
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    panels = dict.fromkeys((row["TP"], row["Weights"]) for row in found)
    drawn = []
    for tp, weights in panels:
        own = [row for row in found if (row["TP"], row["Weights"]) == (tp, weights)]
        title = f"TP{tp}, {weights.upper()} weights"
        drawn.append(
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-size="12" '
            f'fill="currentColor" aria-label="{html.escape(title)}: modelled us over tokens">'
            f"{_panel(title, own)}</svg>"
        )
    legend = ", ".join(
        f'<span style="color:{colour}">\N{BLACK SQUARE}</span> {html.escape(name)}'
        for name, colour in _SERIES.items()
    )
    return (
        f'<figure class="chart">{"".join(drawn)}<figcaption>Modelled us over tokens (T): {legend}; '
        "lines at nominal constants, bands from low to high.</figcaption></figure>"
    )


def _panel(title, rows):
    levels = {name: [_levels(row[name]) for row in rows] for name in _SERIES}
    top = max(high for values in levels.values() for *_, high in values)
    step = 10 ** math.floor(math.log10(top))
    step = next(unit for unit in (step / 5, step / 2, step, 2 * step) if top / unit <= 5)
    top = math.ceil(top / step) * step

    def across(index):
        width = _WIDTH - _LEFT - _RIGHT
        return _LEFT + width * index / max(1, len(rows) - 1)

    def up(us):
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * us / top

    parts = [f'<text x="{_LEFT}" y="14" font-weight="bold">{html.escape(title)}</text>']
    for tick in range(round(top / step) + 1):
        y = up(tick * step)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            'stroke="currentColor" stroke-opacity="0.15"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick * step:g}</text>'
        )
    for index, row in enumerate(rows):
        parts.append(
            f'<text x="{across(index):.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
            f'text-anchor="middle">{row["T"]}</text>'
        )
    for name, colour in _SERIES.items():
        low, nominal, high = (
            [(across(i), up(values[level])) for i, values in enumerate(levels[name])]
            for level in range(3)
        )
        parts.append(
            f'<polygon points="{_points([*low, *reversed(high)])}" fill="{colour}" '
            'fill-opacity="0.18"/>'
            f'<polyline points="{_points(nominal)}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>'
        )
    return "".join(parts)


def _levels(cell):
    """Low, nominal and high."""
    values = [float(part) for part in cell.split("/")]
    return values if len(values) == 3 else values * 3


def _points(points):
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
