"""Sphinx: `make docs`. Needs the built package, neither a device nor a network."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import code_blocks
import folding
import generated
import op_reference

import ascend_prefetch

project = "ascend_prefetch"
author = "ascend_prefetch contributors"
version = release = ascend_prefetch.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"ascend_prefetch {version}"
html_static_path = ["_static"]
html_css_files = ["layout.css"]
html_copy_source = False
html_show_copyright = html_show_sphinx = False
myst_heading_anchors = 3
# Blocks without a language are diagrams and messages.
highlight_language = "none"
# Names of an example's tensors stand for values: they say more than their types.
autodoc_typehints = "none"
# Longer ones have a line for each argument.
python_maximum_signature_line_length = 60
napoleon_use_ivar = True

ROOT = Path(__file__).resolve().parents[1]
FOLDED = {"results"}
"""Pages whose long tables are folded."""
FILES = {
    "csrc/twin/README.md": "twin.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def _read_source(app, name, source):
    """Fills in what pages take from commands and from files outside of docs/."""
    path = Path(app.srcdir) / f"{name}.md"
    text = source[0]
    whole = re.fullmatch(r"# .*\n\n<!-- file: (.+) -->\n", text)
    if whole:
        path = ROOT / whole[1]
        text = path.read_text(encoding="utf-8")
    text = re.sub(r"<!-- generated: (\w+) -->", lambda match: generated.SECTIONS[match[1]](), text)
    text = re.sub(
        r"<!-- constants: ([\w ]+) -->",
        lambda match: generated.some_constants(match[1].split()),
        text,
    )
    if name in FOLDED:
        text = folding.fold_tables(text)
    source[0] = re.sub(
        r"\[([^\]]+)\]\(([^):#\s]+)(#[^)\s]*)?\)", lambda match: _link(match, path), text
    )


def _link(match, path):
    """A link as the page needs it: to a page, or the name of a file that is none."""
    text, target, anchor = match[1], match[2], match[3] or ""
    file = (path.parent / target).resolve()
    inside = file.relative_to(ROOT).as_posix()
    if inside in FILES:
        return f"[{text}]({FILES[inside]}{anchor})"
    if inside.startswith("docs/"):
        return f"[{text}]({inside.removeprefix('docs/')}{anchor})"
    if not file.exists():
        raise ValueError(f"{path}: link to {target}, which is not there")
    return f"{text} (`{inside}`)" if text.strip("`") != inside else f"`{inside}`"


def _list_results(app, what, name, obj, options, lines):
    """Turns the names under Returns into a list; napoleon would take the first for a type."""
    if "Returns:" not in lines:
        return
    first = lines.index("Returns:") + 1
    rest = range(first, len(lines))
    last = next((i for i in rest if re.match(r"\S", lines[i])), len(lines))
    entry = re.compile(r"    (\w[\w, ]*): ")
    if entry.match(lines[first]):
        items = [
            entry.sub(r"    - **\1**: ", line) if entry.match(line) else f"      {line.strip()}"
            for line in lines[first:last]
        ]
        lines[first:last] = ["    In this order", "", *items]


def _run_code(app):
    """Runs what the pages show: no page says what does not work."""
    for page in code_blocks.pages():
        code_blocks.run_page(page)


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", _run_code)
    # Before napoleon, whose handler has the default priority, 500.
    app.connect("autodoc-process-docstring", op_reference.lay_out, priority=300)
    app.connect("autodoc-process-docstring", _list_results, priority=400)
    app.connect("source-read", _read_source)
