"""Weights without data, for dry launches, which execute only their control flow.

The memory of the weights is never touched, so that layers of any size take none.
"""

from __future__ import annotations

from typing import Any

import torch

from ascend_prefetch.lab.bench.common import DTYPES, BenchConfig
from ascend_prefetch.linear import Linear, W8A8Linear
from ascend_prefetch.models import IndexerWeights, MlaWeights, ModelDimensions
from ascend_prefetch.models.weights import indexer_weight_shapes, mla_weight_shapes


def placeholder_mla_weights(config: BenchConfig, dims: ModelDimensions) -> MlaWeights:
    """Rank 0's weights in the layout and quantisation that the configuration names."""
    shapes = mla_weight_shapes(dims, config.tp)
    tensors: dict[str, Any] = {name: _tensor(shape, config) for name, shape in shapes.items()}
    layers = {name: _layer(shapes[name], config) for name in ("qkv_a", "q_b", "o_proj")}
    return MlaWeights(**{"q_a_norm": None, **tensors, **layers})


def placeholder_indexer_weights(config: BenchConfig, dims: ModelDimensions) -> IndexerWeights:
    """The indexer's weights in the layout and quantisation that the configuration names."""
    shapes = indexer_weight_shapes(dims)
    tensors: dict[str, Any] = {name: _tensor(shape, config) for name, shape in shapes.items()}
    norms = {name: torch.empty(shapes[name]) for name in ("k_norm", "k_norm_bias")}
    return IndexerWeights(**{**tensors, **norms, "wq_b": _layer(shapes["wq_b"], config)})


def _tensor(shape: tuple[int, ...], config: BenchConfig) -> torch.Tensor:
    return _matrix(shape, DTYPES[config.dtype], config)


def _layer(shape: tuple[int, ...], config: BenchConfig) -> Linear:
    if config.quant == "none":
        return _tensor(shape, config)
    out, size = shape
    packed = config.quant == "w8a8" and config.dtype == "fp16"
    scale = torch.empty(out, dtype=torch.int64 if packed else torch.float32)
    weight = _matrix((size, out), torch.int8, config)
    if config.quant == "w8a8_dynamic":
        return W8A8Linear(weight, scale)
    return W8A8Linear(
        weight,
        scale,
        input_scale=torch.ones(1),
        input_offset=torch.zeros(1),
        quant_bias=torch.empty(out, dtype=torch.int32),
    )


def _matrix(shape: tuple[int, ...], dtype: torch.dtype, config: BenchConfig) -> torch.Tensor:
    """A matrix as stored: [.., cols / C0, rows, C0] in FRACTAL_NZ (ascend_prefetch.packing)."""
    if len(shape) > 1 and config.weights == "nz":
        *batches, rows, columns = shape
        width = 32 // dtype.itemsize
        shape = (*batches, columns // width, rows, width)
    return torch.empty(shape, dtype=dtype)
