"""What captured graphs read of a layer: it stays at its addresses when weights are reloaded.

A replay runs no Python, so that nothing could notice that a weight is somewhere else. Upstream's
reload makes some tensors anew (the transposed weights of W8A8 layers, their scales), as memory of
its own. The contents are copied to where the graph reads them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

import torch

from .watch import Watch


class _Place(NamedTuple):
    """Where a weight is that a graph reads; `tensor` is None while it is let go."""

    home: MutableMapping[str, Any]
    name: str
    tensor: torch.Tensor | None
    address: int


class Captured:
    """The weights of a layer that graphs have captured, and the tensors made from weights."""

    def __init__(self) -> None:
        self._places: list[_Place] = []
        self._made: dict[tuple[str, str], torch.Tensor] = {}

    def hold(self, watch: Watch) -> None:
        """Called while a graph captures ops with the tensors that `watch` watches."""
        self._places = [
            _Place(kept.home, kept.name, kept.tensor.data, kept.address) for kept in watch.kept
        ]

    def let_go(self) -> None:
        """Keeps no weight alive any longer; one that is then replaced cannot be restored."""
        self._places = [place._replace(tensor=None) for place in self._places]

    def restore(self) -> str | None:
        """Moves weights that were replaced back to where graphs read them, with the new contents.

        Returns:
            What graphs would read that is gone, or None.
        """
        places, self._places = self._places, []
        for home, name, old, address in places:
            new = home.get(name)
            if not isinstance(new, torch.Tensor) or (old is not None and not _alike(new, old)):
                return f"{name} was freed, or replaced by a tensor of another shape or type"
            if old is None and new.data_ptr() != address:
                return f"{name} was replaced while its memory was let go"
        for home, name, old, address in places:
            new = home[name]
            if old is not None and new.data_ptr() != address:
                with torch.inference_mode():  # tensors may have been made in it
                    old.copy_(new)
                if isinstance(new, torch.nn.Parameter):
                    new.data = old
                else:
                    home[name] = old
            self._places.append(_Place(home, name, home[name].data, address))
        return None

    def keep_place(self, op: str, options: dict[str, Any], watch: Watch) -> None:
        """Puts tensors that were made from weights to where those before were.

        Args:
            op: whose options they are.
            options: its arguments by name; tensors in it are replaced.
            watch: watches upstream's tensors, which are not made here.
        """
        for name, new in options.items():
            if not isinstance(new, torch.Tensor) or watch.holds(new):
                continue
            old = self._made.setdefault((op, name), new)
            if old is new:
                continue
            if _alike(new, old):
                with torch.inference_mode():
                    old.copy_(new)
                options[name] = old
            else:
                self._made[op, name] = new


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
