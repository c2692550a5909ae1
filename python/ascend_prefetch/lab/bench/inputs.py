"""Weights, activations and caches of a benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ascend_prefetch.lab.bench.common import DTYPES, BenchConfig
from ascend_prefetch.linear import Linear, W8A8Linear, linear_to_nz
from ascend_prefetch.models import (
    IndexerWeights,
    MlaWeights,
    ModelDimensions,
    load_indexer_weights,
    load_mla_weights,
    quantise_linear,
    random_indexer_weights,
    random_mla_weights,
    rounding_error,
)
from ascend_prefetch.packing import nd_to_nz, pack_dequant_scale

BLOCK_SIZE = 128


@dataclass(frozen=True)
class PagedCache:
    """A cache and the slots of this batch, whose rows are NaN before the batch writes them.

    Attributes:
        tensor: [blocks, BLOCK_SIZE, 1, width].
        slots: [T] int64, all distinct.
        before: a copy of all rows before the batch; None if all were NaN.
    """

    tensor: torch.Tensor
    slots: torch.Tensor
    before: torch.Tensor | None = None

    def written(self) -> torch.Tensor:
        """The rows that the batch wrote, [T, width]."""
        return self.tensor.flatten(0, 2)[self.slots]

    def others_untouched(self) -> bool:
        """Whether every other row is unchanged."""
        rows = self.tensor.flatten(0, 2)
        others = torch.ones(rows.shape[0], dtype=torch.bool)
        others[self.slots] = False
        if self.before is None:
            return bool(rows[others].isnan().all())
        return torch.equal(rows[others], self.before.flatten(0, 2)[others])


class BenchWeights(NamedTuple):
    """Rank 0's weights of a layer.

    Attributes:
        plain: the weights in row-major layout, for the reference.
        stored: the same weights in the layout that the ops get.
        rounding: rounding_error of the layers of a checkpoint that were quantised here, by name.
    """

    plain: MlaWeights
    stored: MlaWeights
    rounding: dict[str, float]


def layer_weights(config: BenchConfig, dims: ModelDimensions) -> BenchWeights:
    """Rank 0's weights of a layer, from the checkpoint or random.

    Raises:
        ValueError: the checkpoint does not fit, or is quantised in another way.
    """
    found = _mla_weights(config, dims)
    plain = _quantised_mla(found, config)
    rounding = _rounding(
        config, {name: (getattr(plain, name), getattr(found, name)) for name in _LINEARS}
    )
    stored = pack_mla_weights(plain) if config.weights == "nz" else plain
    return BenchWeights(plain, stored, rounding)


def mla_weights(config: BenchConfig, dims: ModelDimensions) -> MlaWeights:
    """Rank 0's weights, row-major, in the requested quantisation.

    Raises:
        ValueError: the checkpoint does not fit, or is quantised in another way.
    """
    return _quantised_mla(_mla_weights(config, dims), config)


def _mla_weights(config: BenchConfig, dims: ModelDimensions) -> MlaWeights:
    """Rank 0's weights, row-major, as they were found."""
    dtype = DTYPES[config.dtype]
    if config.checkpoint is None:
        return random_mla_weights(dims, config.tp, dtype, config.seed)
    return load_mla_weights(config.checkpoint, dims, config.layer, 0, config.tp, dtype)


def _quantised_mla(weights: MlaWeights, config: BenchConfig) -> MlaWeights:
    layers: dict[str, Any] = {name: _quantised(getattr(weights, name), config) for name in _LINEARS}
    return dataclasses.replace(weights, **layers)


_LINEARS = ("qkv_a", "q_b", "o_proj")


def _rounding(config: BenchConfig, made_of: dict[str, tuple[Linear, Linear]]) -> dict[str, float]:
    """rounding_error of each layer and what it was made of, where a checkpoint was quantised."""
    if config.checkpoint is None or config.quant == "none":
        return {}
    return {
        name: rounding_error(layer, found)
        for name, (layer, found) in made_of.items()
        if isinstance(found, torch.Tensor)
    }


def indexer_weights(
    config: BenchConfig, dims: ModelDimensions
) -> tuple[IndexerWeights, dict[str, float]]:
    """The indexer's weights, row-major, in the requested quantisation, and their `rounding`.

    Raises:
        ValueError: the model or the layer has no indexer, or the checkpoint does not fit.
    """
    dtype = DTYPES[config.dtype]
    if config.checkpoint is None:
        weights = random_indexer_weights(dims, dtype, config.seed + 2)
    else:
        loaded = load_indexer_weights(config.checkpoint, dims, config.layer, dtype)
        if loaded is None:
            raise ValueError(f"layer: expected one with an indexer, got {config.layer}")
        weights = loaded
    wq_b = _quantised(weights.wq_b, config)
    rounding = _rounding(config, {"indexer_wq_b": (wq_b, weights.wq_b)})
    return dataclasses.replace(weights, wq_b=wq_b), rounding


def _quantised(layer: Linear, config: BenchConfig) -> Linear:
    if isinstance(layer, W8A8Linear):
        found = "w8a8" if layer.input_scale is not None else "w8a8_dynamic"
        if found != config.quant:
            raise ValueError(
                f"quant: expected {found!r} as in the checkpoint, got {config.quant!r}"
            )
        return layer
    quantised = quantise_linear(layer, config.quant)
    # float16 models store the scales of static layers packed.
    packed = config.quant == "w8a8" and config.dtype == "fp16"
    if packed and isinstance(quantised, W8A8Linear):
        scale = pack_dequant_scale(quantised.dequant_scale)
        return dataclasses.replace(quantised, dequant_scale=scale)
    return quantised


def pack_mla_weights(weights: MlaWeights) -> MlaWeights:
    """The same weights in FRACTAL_NZ."""
    return dataclasses.replace(
        weights,
        qkv_a=linear_to_nz(weights.qkv_a),
        q_b=linear_to_nz(weights.q_b),
        w_uk=nd_to_nz(weights.w_uk),
        w_uv=nd_to_nz(weights.w_uv),
        o_proj=linear_to_nz(weights.o_proj),
    )


def pack_indexer_weights(weights: IndexerWeights) -> IndexerWeights:
    """The same weights in FRACTAL_NZ."""
    packed = None if weights.weights_proj is None else nd_to_nz(weights.weights_proj)
    return dataclasses.replace(
        weights,
        wq_b=linear_to_nz(weights.wq_b),
        wk=nd_to_nz(weights.wk),
        weights_proj=packed,
    )


def float_layer(layer: Linear) -> torch.Tensor:
    """The layer's weight [out, in] in float32, for torch."""
    return layer.float_weight() if isinstance(layer, W8A8Linear) else layer.float()


def total_bytes(tensors: Iterable[Linear | None]) -> int:
    """Bytes of the tensors that are not None, including the scales of W8A8 layers."""
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
