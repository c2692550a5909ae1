"""docs/troubleshooting.md quotes messages that the package has, and links that lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
# Fragments between the parts that differ; shorter ones are found anywhere.
SHORTEST = 5


def rows(heading):
    """Cells of the table in a section."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture(scope="module")
def literals():
    """The sources with string literals that go on in the next line or argument made one."""
    files = [*ROOT.glob("python/ascend_prefetch/**/*.py"), *ROOT.glob("csrc/**/*.cpp")]
    files += ROOT.glob("csrc/**/*.h")
    return [re.sub(r"\"\s*\n\s*f?\"", "", path.read_text()) for path in files]


def test_messages(literals):
    messages = [
        re.findall(r"`([^`]+)`", first)[0] for first, *_ in rows("Messages of this package")
    ]
    assert len(messages) > 10
    for message in messages:
        # Names of variables are put in.
        message = re.sub(r"^[A-Z_]+: ", "", message)
        fragments = [part.strip(" ,'") for part in message.split("...")]
        fragments = [part for part in fragments if len(part) >= SHORTEST]
        assert fragments, message
        assert any(all(part in text for part in fragments) for text in literals), message


def test_what_collect_env_says(literals):
    source = (ROOT / "python/ascend_prefetch/lab/environment.py").read_text()
    for first, _ in [*rows("The plugin does nothing"), *rows("NPUs are not found")]:
        for name in re.findall(r"^`?([\w. -]+?): ", first):
            assert f'"{name}"' in source, name


def test_links():
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", PAGE):
        number = re.fullmatch(r"#(\d+)", text)
        if number:
            base = "https://github.com/vllm-project/vllm-ascend/"
            assert re.fullmatch(rf"{base}(issues|pull)/{number[1]}", target), target
            continue
        path, _, anchor = target.partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / path).read_text(), re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]
        assert not anchor or anchor in anchors, target
