"""Chips as the timing model knows them: those of the table, and chip files of the user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ascend_prefetch import _C, twin

LEVELS = ("low", "nominal", "high")
"""Ends of the published ranges: low makes kernels fastest, high slowest."""


@dataclass(frozen=True)
class TimedChip:
    """A chip and what replaces the model's constants for it.

    Attributes:
        soc: SoC name that the twin plays.
        constants: by level and name, in units of `_C.timing_constants()`.
        source: the chip file, or "" for a chip of the table.
    """

    soc: str
    constants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: str = ""

    @property
    def modelled(self) -> bool:
        """Whether the model knows the rate of its HBM."""
        try:
            self.timeline("nominal")
        except ValueError:
            return False
        return True

    def timeline(self, level: str, **constants: float) -> Any:
        """A sequence of kernels on this chip (`_C.Timeline`); `constants` replace even its own.

        Raises:
            ValueError: an unknown level or constant, or a chip whose HBM rate nobody published.
        """
        return _C.Timeline(self.soc, level, {**self.constants.get(level, {}), **constants})


def find_timed_chip(name: str) -> TimedChip:
    """A chip by SoC name, or by the path of a chip file: a name that ends in .json.

    A chip file is JSON: {"soc": SoC name, "constants": {name: {"low", "nominal", "high"}}}.

    Raises:
        ValueError: an unknown SoC, or a file that is no chip file.
        OSError: a file that cannot be read.
    """
    if not name.endswith(".json"):
        twin.find_chip(name)
        return TimedChip(name)
    try:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
        soc, table = content["soc"], content["constants"]
        constants = {
            level: {key: float(values[level]) for key, values in table.items()} for level in LEVELS
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{name}: expected a chip file with 'soc' and 'constants' of "
            f"{', '.join(LEVELS)}, got {type(error).__name__}: {error}"
        ) from error
    try:
        twin.find_chip(str(soc))
        chip = TimedChip(soc, constants, name)
        for level in LEVELS:
            chip.timeline(level)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return chip
