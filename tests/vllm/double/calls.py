"""What the ops of the double received, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch


@dataclass
class Calls:
    """The calls between entering and leaving `record`.

    Attributes:
        names: every op of the double that was called, in order.
        inputs: of the ops that consume what a layer computes - attention, the indexer - their name
            and copies of their tensors by argument name.
        prefetched: weight and bytes of every torch_npu.npu_prefetch.
    """

    names: list[str] = field(default_factory=list)
    inputs: list[tuple[str, dict[str, torch.Tensor]]] = field(default_factory=list)
    prefetched: list[tuple[torch.Tensor, int]] = field(default_factory=list)


_current: Calls | None = None


@contextlib.contextmanager
def record() -> Iterator[Calls]:
    global _current
    outer, _current = _current, Calls()
    try:
        yield _current
    finally:
        _current = outer


def note(name: str, **tensors: torch.Tensor) -> None:
    """Called by an op of the double, with the tensors to keep."""
    if _current is None:
        return
    _current.names.append(name)
    if tensors:
        _current.inputs.append((name, {key: value.clone() for key, value in tensors.items()}))


def note_prefetch(weight: torch.Tensor, size: int) -> None:
    if _current is not None:
        _current.names.append("npu_prefetch")
        _current.prefetched.append((weight, size))
