"""Whether a tensor has been written to, for those who keep what they made of it."""

from __future__ import annotations

import torch


def version_of(tensor: torch.Tensor) -> int:
    """Counts writes in place; inference tensors do not count theirs."""
    return 0 if tensor.is_inference() else tensor._version
