"""The JSON files of the measurements, written as a whole again with every number that is new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ascend_prefetch.files import whole_file


def keep(path: Path, content: Any) -> None:
    """Writes a JSON file; a measurement that stops later has what it measured until then."""
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def one_line(error: BaseException) -> str:
    """An error of the device, which may have many lines."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
