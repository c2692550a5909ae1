"""Detects that weights were replaced, freed or overwritten, so that values made from them expire.

Sleep mode, reinforcement learning and upstream's own fused paths do all three.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import NamedTuple

import torch

from ascend_prefetch.versions import version_of


def home_of(owner: object, name: str) -> MutableMapping[str, object] | None:
    """The dictionary that holds an attribute; reading it directly skips nn.Module's lookup."""
    for home in (getattr(owner, "_parameters", {}), getattr(owner, "_buffers", {}), vars(owner)):
        if name in home:
            return home
    return None


class Kept(NamedTuple):
    """A tensor of upstream and its place.

    Attributes:
        find: looks a name up in `home`.
        home: the dictionary that holds the tensor.
        name: its key.
        tensor: as it was found.
        address: of its memory.
    """

    find: Callable[[str], object]
    home: MutableMapping[str, object]
    name: str
    tensor: torch.Tensor
    address: int


class Watch:
    """Remembers tensors with the place that holds them and their state when they were added.

    Attributes:
        kept: the tensors.
    """

    def __init__(self, *others: Watch) -> None:
        """A watch of all tensors that `others` watch."""
        self.kept: list[Kept] = []
        self._copied: list[tuple[torch.Tensor, int]] = []
        for other in others:
            self.kept += other.kept
            self._copied += other._copied

    def tensor(self, owner: object, name: str) -> torch.Tensor | None:
        """A tensor attribute that is used directly, so its values may change; None if missing."""
        home = home_of(owner, name)
        kept = home.get(name) if home is not None else None
        if home is None or not isinstance(kept, torch.Tensor):
            return None
        self.kept.append(Kept(home.get, home, name, kept, kept.data_ptr()))
        return kept.data if isinstance(kept, torch.nn.Parameter) else kept

    def copied(self, owner: object, name: str) -> torch.Tensor | None:
        """A tensor attribute that is copied, so a change of its values counts; None if missing."""
        tensor = self.tensor(owner, name)
        if tensor is not None:
            kept = self.kept[-1].tensor
            self._copied.append((kept, version_of(kept)))
        return tensor

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is, or begins, one of those watched, and no copy."""
        return any(kept.address == tensor.data_ptr() for kept in self.kept)

    def unchanged(self) -> bool:
        """Whether every tensor is still in its place, at its address and, if copied, unwritten."""
        for find, _, name, tensor, address in self.kept:
            if find(name) is not tensor or tensor.data_ptr() != address:
                return False
        for tensor, version in self._copied:
            if version_of(tensor) != version:
                return False
        return True
