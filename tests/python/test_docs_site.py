"""The documentation's site beside its text: layout, reference tables, folds, a byte's way."""

import html.parser
import inspect
import re
import sys
from pathlib import Path

import pytest

from ascend_prefetch import _C, ops

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

import byte_walk
import charts
import folding
import op_reference

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OPS = ("mla_prolog", "sfa_prolog", "o_proj", "prefetch", "prefetch_join")


def configuration():
    return (DOCS / "conf.py").read_text()


def test_the_theme_is_pinned_to_a_range_and_to_a_version_seen_to_work():
    theme = re.search(r'^html_theme = "(\w+)"', configuration(), re.MULTILINE)[1]
    assert re.search(
        rf'^docs = \[.*"{theme}>=[\d.]+,<\d+"', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert re.search(
        rf"^{theme}==[\d.]+$", (ROOT / "third_party/constraints.txt").read_text(), re.M
    )


def test_what_is_wider_than_its_column_scrolls():
    """What can be said without a browser: the rules are there, and the site has them."""
    sheets = re.search(r"html_css_files = \[(.+)\]", configuration())[1]
    folder = re.search(r'html_static_path = \["(\w+)"\]', configuration())[1]
    assert sheets == '"layout.css"'
    text = (DOCS / folder / "layout.css").read_text()
    scrolling = re.search(r"([^{}]+)\{\s*overflow-x: auto;\s*\}", text)[1]
    assert "pre" in scrolling and ".table-wrapper" in scrolling
    assert text.count("{") == text.count("}")
    assert "@media (max-width: 46em)" in text


def test_every_page_is_in_one_group_of_the_first_page():
    text = (DOCS / "index.md").read_text()
    groups = re.findall(r":caption: (\w+)\n(?::.*\n)*\n([\w\n-]+?)\n```", text)
    assert [name for name, _ in groups] == ["Use", "Understand", "Develop"]
    listed = [page for _, pages in groups for page in pages.split()]
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert sorted(listed) == sorted(pages)
    for name, entries in groups:
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0].partition("\n```")[0]
        assert set(re.findall(r"\]\(([\w-]+)\.md\)", section)) == set(entries.split())


# --- the reference of the ops ---


def laid_out(name):
    lines = inspect.getdoc(getattr(ops, name)).splitlines()
    op_reference.lay_out(None, "function", f"ascend_prefetch.ops.{name}", None, None, lines)
    return lines


def column(lines, start):
    return [line.removeprefix(start) for line in lines if line.startswith(start)]


@pytest.mark.parametrize("name", OPS)
def test_every_argument_is_in_the_table(name):
    rows = column(laid_out(name), "   * - ")
    named = {part for row in rows for part in re.findall(r"``(\w+)``", row)}
    documented = re.findall(
        r"^    (\w[\w, ]*): ", inspect.getdoc(getattr(ops, name)).partition("Args:")[2], re.M
    )
    expected = {part for names in documented for part in names.split(", ")}
    assert named == expected - {"RuntimeError", "ValueError"}
    assert set(inspect.signature(getattr(ops, name)).parameters) <= named


def test_shapes_stand_in_a_column_of_their_own():
    lines = laid_out("mla_prolog")
    at = lines.index("   * - ``hidden_states``")
    assert lines[at + 1 : at + 3] == [
        "     - ``[T, hidden]``",
        "     - hidden is a multiple of 16.",
    ]
    at = lines.index("   * - ``qkv_a_weight``")
    assert lines[at + 1].endswith(":ref:`linear weight <rules-linear-weights>`")
    assert lines[at + 2] == "     - out = q_lora + kv_lora + 64, in = hidden."
    at = lines.index("   * - ``w_uk``")
    assert lines[at + 1 : at + 3] == ["     - ``[N, nope, kv_lora]``", "     -"]


def test_results_without_a_name_stay_text():
    assert "[T, hidden]." in "\n".join(laid_out("o_proj")).partition("Returns:")[2]


def test_other_modules_are_left_alone():
    lines = ["Args:", "    a: b"]
    op_reference.lay_out(None, "function", "ascend_prefetch.planning.f", None, None, lines)
    assert lines == ["Args:", "    a: b"]


def test_every_rule_of_the_ops_is_a_section():
    text = op_reference.rules()
    for title in ("Linear weights", "Caches", "Prefetch", "Memory", "Autograd", "Errors"):
        assert f"### {title}\n" in text
    shown = re.sub(
        r"```(\{eval-rst\})?|\(rules-[\w-]+\)=|###", "", op_reference.conventions() + text
    )
    assert shown.split() == inspect.getdoc(ops).partition("\n\n")[2].split()


@pytest.mark.parametrize("name", OPS)
def test_every_op_has_its_purpose_and_an_example(name):
    text = (DOCS / "ops.md").read_text()
    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    example = section.index("```python")
    assert example < section.index(f".. autofunction:: ascend_prefetch.ops.{name}\n")
    assert f"torch.ops.ascend_prefetch.{name}(" in section[example:]


# --- folded tables ---

HEADER = ["TP", "Weights", "T", "Floor us", "Fused", "Separate kernels"]


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def test_long_tables_are_folded_with_every_row():
    rows = [[str(i), str(i * i)] for i in range(folding.LONG)]
    table = markdown(["A", "B"], rows)
    folded = folding.fold_tables(f"before\n\n{table}\nbehind\n")
    assert table in folded
    assert folded.startswith(
        'before\n\n<details class="table">\n<summary>12 rows: A, B</summary>\n\n'
    )
    assert folded.endswith("\n</details>\n\nbehind\n")
    short = f"before\n\n{markdown(['A', 'B'], rows[1:])}\nbehind\n"
    assert folding.fold_tables(short) == short


def test_the_last_table_of_a_page_without_a_newline():
    table = markdown(["A"], [["1"]] * folding.LONG)[:-1]
    assert folding.fold_tables(table).count("| 1 |") == folding.LONG


def test_results_are_folded_behind_charts():
    page = (DOCS / "results.md").read_text()
    folded = folding.fold_tables(page)
    assert folded.count("<details") == folded.count("</details>") > 4
    assert folded.count('<figure class="chart">') == page.count("\n### ") > 0
    assert [line for line in folded.splitlines() if line.startswith("|")] == [
        line for line in page.splitlines() if line.startswith("|")
    ]


class Points(html.parser.HTMLParser):
    """Points of the lines of a chart."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def handle_starttag(self, tag, attrs):
        if tag == "polyline":
            points = dict(attrs)["points"].split()
            self.lines.append([tuple(map(float, point.split(","))) for point in points])


def test_a_chart_shows_the_numbers_of_its_table():
    floor, fused, separate = [10.0, 20.0], [12.0, 30.0], [25.0, 50.0]
    rows = [
        ["16", "nd", str(t), f"{f}", f"{g - 1} / {g} / {g + 1}", f"{s} / {s} / {s}"]
        for t, f, g, s in zip((1, 2), floor, fused, separate, strict=True)
    ]
    drawn = charts.chart(HEADER, rows)
    assert "\n\n" not in drawn
    reader = Points()
    reader.feed(drawn)
    assert len(reader.lines) == 3
    # Heights of points are the numbers but for scale and origin.
    (_, y0), (_, y1) = reader.lines[0]
    scale = (y1 - y0) / (floor[1] - floor[0])
    for line, values in zip(reader.lines, (floor, fused, separate), strict=True):
        for (_, y), value in zip(line, values, strict=True):
            assert y == pytest.approx(y0 + scale * (value - floor[0]), abs=0.2)
    assert charts.chart(["A", "B"], [["1", "2"]]) == ""


# --- a byte's way ---


PAGE = (DOCS / "byte.md").read_text()


def test_blocks_are_in_the_files_that_are_named_beside_them():
    table = PAGE.partition("## Where each step is in the source\n")[2]
    rows = re.findall(r"^\| [^|`]+ \| (.+) \| \[`(.+)`\]\(\.\./(.+)\) \|$", table, re.MULTILINE)
    assert len(rows) == table.count("](../")
    for blocks, shown, file in rows:
        assert shown == file
        text = (ROOT / file).read_text()
        for block in re.findall(r"`(\w+)`", blocks):
            assert re.search(rf"\b{block}\b", text), f"{block} in {file}"


def test_every_block_that_the_page_names_is_in_the_table():
    text, _, table = PAGE.partition("## Where each step is in the source\n")
    named = set(re.findall(r"`([A-Z]\w+|k[A-Z]\w+)`", text))
    sources = "".join(path.read_text() for path in (ROOT / "csrc").glob("*/*.h"))
    assert named
    for block in named:
        assert re.search(rf"\b{block}\b", sources), block
    assert {"WeightStream", "WeightWarmer", "PlanWarm"} <= named & set(
        re.findall(r"`(\w+)`", table)
    )


def test_constants_of_the_page_are_those_of_the_model():
    named = [
        name for names in re.findall(r"<!-- constants: (.+) -->", PAGE) for name in names.split()
    ]
    assert len(named) == len(set(named)) > 20
    assert set(named) <= set(_C.timing_constants())


def test_the_byte_passes_its_stages_in_order():
    without, with_it = (byte_walk.walk("nominal", prefetched) for prefetched in (False, True))
    assert without.prefetch is None
    assert with_it.prefetch.end < with_it.prolog_us
    assert with_it.prolog_us == pytest.approx(without.prolog_us, rel=0.01)
    for way in (without, with_it):
        stages = (way.to_l1, way.to_l0b, way.product, way.result)
        for earlier, later in zip(stages, stages[1:], strict=False):
            assert earlier.end <= later.start
        assert way.result.end <= way.o_proj_us
    assert (without.hbm_bytes, with_it.hbm_bytes) == (without.to_l1.bytes, 0)
    assert with_it.to_l1.start == without.to_l1.start
    # What the page says in words.
    saved = float(re.search(r"only ([\d.]+) us earlier", PAGE)[1])
    assert round(without.o_proj_us - with_it.o_proj_us, 1) == saved
    assert round(with_it.attention_us) == int(re.search(r"about (\d+) us\.", PAGE)[1])


def test_stages_by_hand_are_those_of_the_replay():
    stages = list(byte_walk.by_hand())
    assert len(stages) == 5
    for stage in stages:
        assert stage.us == pytest.approx(stage.replayed, rel=0.05), stage.stage
