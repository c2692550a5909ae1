"""Shape checks and float64 products that the references share."""

from __future__ import annotations

import torch

# Weights are converted to float64 in chunks of this many elements (128 MiB).
CHUNK = 1 << 24


def linear64(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x [T, in] times weight [out, in] transposed, a chunk of rows at a time: float64 [T, out]."""
    rows = max(1, CHUNK // max(1, weight.shape[1]))
    return torch.cat([x.double() @ chunk.double().T for chunk in weight.split(rows)], dim=1)


def per_head64(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x [T, N, in] times weight [N, in, out], a chunk of heads at a time: float64 [T, N, out]."""
    x = x.double()
    heads = max(1, CHUNK // max(1, weight[0].numel()))
    chunks = zip(x.split(heads, dim=1), weight.split(heads), strict=True)
    return torch.cat([torch.einsum("tni,nio->tno", a, w.double()) for a, w in chunks], dim=1)


def check_rank(name: str, tensor: torch.Tensor, rank: int) -> None:
    """Raises ValueError unless the tensor has `rank` dimensions."""
    if tensor.dim() != rank:
        raise ValueError(f"{name}: expected {rank} dimensions, got shape {list(tensor.shape)}")


def check_shape(name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless the tensor has exactly `shape`."""
    check_same(name, tuple(tensor.shape), shape)


def check_same(name: str, actual: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises ValueError unless the shape of what `name` stands for is the expected one."""
    if tuple(actual) != tuple(expected):
        raise ValueError(f"{name}: expected shape {list(expected)}, got {list(actual)}")
