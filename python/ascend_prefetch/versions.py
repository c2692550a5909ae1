"""Tells whether a tensor was written to, for code that caches values computed from it."""

from __future__ import annotations

import torch


def version_of(tensor: torch.Tensor) -> int:
    """The number of in-place writes so far; always 0 for inference tensors, which do not count."""
    return 0 if tensor.is_inference() else tensor._version
