"""Weights that a checkpoint stores in 8 bits with scales, as the floating-point weights they mean.

Formats, all with a weight [out, in] of E4M3 or int8 that is multiplied by its scales:

- a scale for each block of rows and columns, `weight_scale_inv` [ceil(out / rows), ceil(in /
  columns)], as DeepSeek-V3, R1 and V3.2 and GLM-5-FP8 are published (128 x 128; github.com/
  deepseek-ai/DeepSeek-V3, inference/fp8_cast_bf16.py);
- a scale for each output, `weight_scale` [out, 1] or [out], or one for all, [1] or no dimension
  (github.com/vllm-project/compressed-tensors, the strategies channel and tensor).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ascend_prefetch.shown import shown

PUBLISHED_BLOCK = (128, 128)
"""Rows and columns of a block where a checkpoint does not state them."""

# Weights are converted to float32 in pieces of this many elements (64 MiB).
_CHUNK = 1 << 24


def stated_block(config: Mapping[str, Any], source: str) -> tuple[int, int]:
    """Rows and columns of a block of weights that share a scale, from a configuration.

    Args:
        config: a Hugging Face configuration.
        source: its name in errors.

    Raises:
        ValueError: quantization_config.weight_block_size is not a pair of positive integers.
    """
    quantisation = config.get("quantization_config")
    found = quantisation.get("weight_block_size") if isinstance(quantisation, Mapping) else None
    if found is None:
        return PUBLISHED_BLOCK
    sizes = found if isinstance(found, list) else []
    if len(sizes) != 2 or not all(type(size) is int and 0 < size < 2**31 for size in sizes):
        raise ValueError(
            f"{source}: key 'quantization_config.weight_block_size': expected two positive "
            f"integers, got {shown(found)}"
        )
    return sizes[0], sizes[1]


def scaled_block(
    name: str, scale: tuple[int, ...], weight: tuple[int, int], block: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns of a weight that share one of its scales.

    Args:
        name: name of the scale in errors.
        scale: its shape.
        weight: (out, in).
        block: the checkpoint's block size.

    Raises:
        ValueError: no known format has scales of this shape.
    """
    rows, columns = weight
    grid = (-(-rows // block[0]), -(-columns // block[1]))
    if scale == grid:
        return block
    if scale in ((rows,), (rows, 1)):
        return 1, columns
    if scale in ((), (1,)):
        return rows, columns
    raise ValueError(
        f"{name}: expected a scale for each block of {block[0]} x {block[1]}, {list(grid)}, for "
        f"each output, {[rows, 1]}, or for the whole weight, [1], got shape {list(scale)}"
    )


def dequantise(
    values: torch.Tensor,
    scale: torch.Tensor,
    block: tuple[int, int],
    start: tuple[int, int],
    dtype: torch.dtype,
) -> torch.Tensor:
    """[rows, columns] of `dtype`: values times the scales of their blocks in float32, rounded once.

    Args:
        values: [rows, columns] E4M3 or int8, a part of a weight.
        scale: [blocks down, blocks across] of the whole weight, float32.
        block: rows and columns of a block.
        start: the part's first row and column in the weight, which need not begin a block.
        dtype: floating-point.
    """
    rows, columns = values.shape
    result = torch.empty((rows, columns), dtype=dtype)
    across = torch.arange(start[1], start[1] + columns) // block[1]
    step = max(1, _CHUNK // max(1, columns))
    for first in range(0, rows, step):
        part = values[first : first + step].float()
        down = torch.arange(start[0] + first, start[0] + first + part.shape[0]) // block[0]
        # Rows of a block share their row of scales: it is widened once, not for every row.
        blocks, of_row = down.unique(return_inverse=True)
        widened = scale[blocks][:, across]
        result[first : first + step] = part.mul_(widened[of_row])
    return result
