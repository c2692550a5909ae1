"""The serve commands of upstream's tutorials, launches.tsv."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("launches.tsv")

# What a page serves where a command names a placeholder.
_OF_PAGE = {
    "GLM5.2.md": "GLM-5.2-w4a8c8",
    "GLM5.3.md": "GLM-5.3-w8a8c8",
    "GLM5.3-Flash.md": "GLM-5.3-Flash-w8a8",
    "Kimi-K3.md": "Kimi-K3",
}
# Formats that the fused ops do not read, and a model whose attention is another one.
_OTHERS = re.compile("w4a4|mxfp8|kimi-k3", re.IGNORECASE)
# The tutorials of the main branch are run on the release that followed.
_RUN_ON = {"main": "0.30.0rc2"}


@dataclass(frozen=True)
class Row:
    """A serve command.

    Attributes:
        release: of the tutorials.
        page: file and line of the command.
        model: last part of the path or name of what is served.
        settings: value of each setting, by upstream's names.
    """

    release: str
    page: str
    model: str
    settings: dict[str, str]

    @property
    def run_on(self) -> str:
        """The version of vllm-ascend whose layers run it."""
        return _RUN_ON.get(self.release, self.release)

    @property
    def decodes(self) -> bool:
        """Whether its workers decode."""
        return self.settings.get("kv_role") != "kv_producer"

    @property
    def counted(self) -> bool:
        """Whether it is one of those of which the fused share is counted."""
        other = _OTHERS.search(self.model) or self.settings.get("kv_cache_dtype") == "fp8"
        return self.decodes and not other


def read() -> list[Row]:
    """All rows, in the order of the file."""
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    rows = []
    for line in lines[1:]:
        release, page, model, settings = line.split("\t")
        if "PATH" in model:
            model = _OF_PAGE[page.partition(":")[0]]
        pairs = (setting.split("=", 1) for setting in settings.split())
        rows.append(Row(release, page, model, dict(pairs)))
    return rows
