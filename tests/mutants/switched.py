"""A copy of the source in which the environment chooses one of many mutants, and its build."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from sites import Site

VARIABLE = "ASCEND_PREFETCH_MUTANT"
_HEADER = "mutant.h"
_SWITCH = f"""#pragma once
#include <cstdlib>
namespace mutant {{
inline int Chosen() {{
    static const int chosen = std::getenv("{VARIABLE}") ? std::atoi(std::getenv("{VARIABLE}")) : 0;
    return chosen;
}}
inline bool On(int number) {{ return Chosen() == number; }}
}}  // namespace mutant
"""


def write(root: Path, copy: Path, mutants: dict[int, Site]) -> bool:
    """Copies what a build and the tests need, every mutant behind its number, which is not 0.

    Returns:
        Whether anything is not as it was there already.
    """
    by_file: dict[str, list[tuple[int, Site]]] = defaultdict(list)
    for number, site in mutants.items():
        by_file[site.path].append((number, site))
    texts = {f"csrc/{_HEADER}": _SWITCH.encode()}
    for file in [root / "CMakeLists.txt", root / "pyproject.toml", *_files(root)]:
        path = str(file.relative_to(root))
        texts[path] = file.read_bytes()
        if path in by_file:
            texts[path] = _with_switches(texts[path], by_file[path])
    changed = False
    for old in {str(file.relative_to(copy)) for file in _files(copy)} - set(texts):
        (copy / old).unlink()
        changed = True
    for path, text in texts.items():
        file = copy / path
        # What is as it was is not compiled again.
        if not file.exists() or file.read_bytes() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text)
            changed = True
    return changed


def _files(root: Path) -> list[Path]:
    folders = [root / name for name in ("csrc", "cmake", "tests/cpp", "tests/python", "tests/vllm")]
    found = [file for folder in folders for file in folder.rglob("*")]
    return [file for file in found if file.is_file() and "__pycache__" not in file.parts]


def _with_switches(source: bytes, placed: Sequence[tuple[int, Site]]) -> bytes:
    text = _rewritten(source, 0, len(source), placed).decode()
    # After the comment that a file begins with, before the first line that needs it.
    first = re.search(r"^#(?:include|pragma once)", text, re.M)
    at = 0 if first is None else first.start()
    if text.startswith("#pragma once", at):
        at += len("#pragma once\n")
    return f'{text[:at]}#include "{_HEADER}"\n{text[at:]}'.encode()


def _rewritten(source: bytes, begin: int, end: int, placed: Sequence[tuple[int, Site]]) -> bytes:
    """source[begin:end] with mutants switched; an inner one lives in the original of the outer."""
    out, at = b"", begin
    rest = sorted(placed, key=lambda entry: (entry[1].begin, -entry[1].end))
    while rest:
        outer = rest[0][1]
        here = [e for e in rest if (e[1].begin, e[1].end) == (outer.begin, outer.end)]
        inner = [e for e in rest if e not in here and e[1].begin < outer.end]
        rest = [e for e in rest if e not in here and e not in inner]
        text = _rewritten(source, outer.begin, outer.end, inner)
        for number, site in here:
            if site.statement:
                text = b"if (!::mutant::On(%d)) " % number + text
            else:
                # A condition brings its parentheses along.
                text = b"(::mutant::On(%d) ? (%s) : (%s))" % (number, site.becomes.encode(), text)
        out += source[at : outer.begin] + text
        at = outer.end
    return out + source[at:end]


def build(copy: Path, targets: Sequence[str], tools: Path) -> set[int]:
    """Configures and builds into `build` in the copy.

    Args:
        copy: what `write` made.
        targets: of CMake.
        tools: the folder that has python, cmake and ninja.

    Returns:
        The numbers of mutants that do not compile.

    Raises:
        RuntimeError: what fails has no mutant in its line.
    """
    configure = [
        tools / "cmake", "-S", copy, "-B", copy / "build", "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}", f"-DPython_EXECUTABLE={tools / 'python'}",
        "-DASCEND_PREFETCH_WERROR=OFF",
    ]  # fmt: skip
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    command = [tools / "cmake", "--build", copy / "build", "--target", *targets, "--", "-k", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return set()
    bad = set()
    for place in re.findall(r"^(/[^:\n]+):(\d+):\d+: +(?:error|required|note)", done.stdout, re.M):
        file, line = Path(place[0]).resolve(), int(place[1])
        if copy.resolve() in file.parents:
            text = file.read_text().splitlines()[line - 1]
            bad |= {int(number) for number in re.findall(r"mutant::On\((\d+)\)", text)}
    if not bad:
        raise RuntimeError(done.stdout[-4000:] + done.stderr[-2000:])
    return bad
