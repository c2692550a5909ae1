"""The Python and the commands that the pages show, run as they stand.

The blocks of a page run one after the other in one process, as a reader would type them. A block of
text right behind one is what it prints. A comment in the line above a block says what it needs:

    <!-- needs: MODULE -->     run where the module is installed
    <!-- not run: REASON -->   it cannot be run here

Of commands the arguments are parsed; those of the other verbs would take minutes.
"""

import contextlib
import importlib.util
import io
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from ascend_prefetch.lab import cli

ROOT = Path(__file__).resolve().parents[1]

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>needs|not run): (?P<value>[^\n]+) -->\n)?"
    r"```(?P<language>\w*|\{[\w-]+\})\n(?P<text>.*?)^```$(?:\n\n```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^(?:\s*)(?:\.venv/bin/)?python -m ascend_prefetch (?P<arguments>[^#\n]+)")


class Block(NamedTuple):
    """A block of code of a page.

    Attributes:
        page: path from the root of the tree.
        line: of the page, where its text begins.
        language: as it is named, or "".
        text: the code.
        printed: the text behind it; None where there is none.
        needs: the module that it needs, or None.
        not_run: why it cannot be run, or None.
    """

    page: str
    line: int
    language: str
    text: str
    printed: str | None
    needs: str | None
    not_run: str | None

    def can_run(self) -> bool:
        """Whether it can be run here."""
        missing = self.needs is not None and importlib.util.find_spec(self.needs) is None
        return self.not_run is None and not missing


def pages() -> list[str]:
    """The pages of the documentation, as paths from the root of the tree."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "csrc/twin/README.md"]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def blocks(page: str, text: str | None = None) -> list[Block]:
    """The blocks of a page, in order; `text` replaces what the file holds."""
    if text is None:
        text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        value = match["value"]
        found.append(
            Block(
                page,
                text.count("\n", 0, match.start("text")) + 1,
                match["language"],
                match["text"],
                match["printed"],
                value if match["mark"] == "needs" else None,
                value if match["mark"] == "not run" else None,
            )
        )
    return found


def run_page(page: str, text: str | None = None) -> int:
    """Runs what a page shows; returns how many blocks of Python were run.

    Raises:
        ValueError: a block prints something else than the page says, or a command that the command
            line does not take.
        Exception: what a block raises.
    """
    names = {"__name__": "__main__"}
    count = 0
    for block in blocks(page, text):
        if block.language == "sh":
            _check_commands(block)
        if block.language == "python" and block.can_run():
            _run(block, names)
            count += 1
    return count


def _run(block: Block, names: dict[str, object]) -> None:
    printed = io.StringIO()
    # Lines of tracebacks are then those of the page.
    code = compile("\n" * (block.line - 1) + block.text, block.page, "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    if block.printed is not None and printed.getvalue() != block.printed:
        raise ValueError(
            f"{block.page}:{block.line}: expected the block to print\n{block.printed}\n"
            f"got\n{printed.getvalue()}"
        )


def _check_commands(block: Block) -> None:
    for line in block.text.splitlines():
        command = _COMMAND.match(line)
        if command is None:
            continue
        # Loops of the shell put numbers in.
        arguments = shlex.split(re.sub(r"\$\w+", "1", command["arguments"]))
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                cli.parser().parse_args(arguments)
        except SystemExit as error:
            raise ValueError(
                f"{block.page}:{block.line}: {line.strip()}: {said.getvalue().strip()}"
            ) from error
