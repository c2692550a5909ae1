"""Chips of the timing model: those of its table, and those of the user's chip files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ascend_prefetch import _lab
from ascend_prefetch.files import read_json
from ascend_prefetch.lab import twin
from ascend_prefetch.shown import shown

LEVELS = ("low", "nominal", "high")
"""Levels of the constants within their ranges, published or fitted: kernels are fastest at low,
slowest at high."""


@dataclass(frozen=True)
class TimedChip:
    """A chip, with constants that replace the model's.

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
        """Whether the model knows the chip's HBM rate."""
        try:
            self.timeline("nominal")
        except ValueError:
            return False
        return True

    def timeline(self, level: str, **constants: float) -> Any:
        """An empty sequence of kernels on this chip (`_lab.Timeline`).

        `constants` replace the chip's own ones and the table's.

        Raises:
            ValueError: the level or a constant is unknown, or the chip has no published HBM rate.
        """
        return _lab.Timeline(self.soc, level, {**self.constants.get(level, {}), **constants})


def find_timed_chip(name: str) -> TimedChip:
    """A chip by SoC name, or by the path of a chip file, which ends in .json.

    A chip file is JSON: {"soc": SoC name, "constants": {name: {"low", "nominal", "high"}}}.

    Raises:
        ValueError: the SoC is unknown, or the file is not a chip file.
        OSError: the file cannot be read.
    """
    if not name.endswith(".json"):
        twin.find_chip(name)
        return TimedChip(name)
    content = read_json(Path(name))
    try:
        soc, table = content["soc"], content["constants"]
        constants = {
            level: {key: _constant(key, values[level]) for key, values in table.items()}
            for level in LEVELS
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{name}: expected a chip file with 'soc' and 'constants' of "
            f"{', '.join(LEVELS)}, got {type(error).__name__}: {error}"
        ) from error
    try:
        twin.find_chip(soc if isinstance(soc, str) else shown(soc))
        chip = TimedChip(soc, constants, name)
        for level in LEVELS:
            chip.timeline(level)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return chip


# Limits of any constant that is not 0, in its own unit; beyond them times overflow or vanish.
_MIN, _MAX = 1e-9, 1e9


def _constant(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (value != 0 and not _MIN <= abs(value) <= _MAX):
        raise ValueError(
            f"{shown(name)}: expected a number, 0 or from {_MIN:g} to {_MAX:g}, got {shown(value)}"
        )
    return float(value)
