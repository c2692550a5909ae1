"""Whether the weights of a whole model fit a die, so that a layer's configuration can exist."""

from __future__ import annotations

import math
from typing import Any

from ascend_prefetch.lab.bench.layer_config import LayerConfig
from ascend_prefetch.models import (
    ModelDimensions,
    get_experts,
    get_feed_forward,
    indexer_weight_shapes,
    mla_weight_shapes,
)

DIE_BYTES = 64_000_000_000
"""Memory of a die: Atlas 800 A3, 64G x 16 (upstream's tutorials; published)."""


def layer_memory(config: LayerConfig, dims: ModelDimensions) -> dict[str, Any] | None:
    """Bytes of a MoE model's weights on a rank, and whether a die of 64 GB holds them.

    Embeddings, caches and workspaces come on top, so that a configuration that fits may still be
    too large. None where the model's configuration does not say how many layers it has, or how
    wide its dense ones are.
    """
    feed_forward = get_feed_forward(config.model)
    if feed_forward.layers is None or feed_forward.intermediate_size is None:
        return None
    size = config.weight_bytes
    shapes = mla_weight_shapes(dims, config.tp)
    attention = _elements(shapes)
    if dims.indexer is not None:
        attention += _elements(indexer_weight_shapes(dims))
    attention *= dims.attentions_per_layer
    # W_UK and W_UV have 16 bits beside int8 weights too.
    kept = sum(math.prod(shapes[name]) for name in ("w_uk", "w_uv")) * dims.attentions_per_layer
    dense = 3 * dims.hidden_size * -(-feed_forward.intermediate_size // config.tp)
    whole = feed_forward.layers * attention + feed_forward.dense_layers * dense
    experts = get_experts(config.model)
    width = -(-experts.count // config.ranks) * experts.intermediate_size
    width += -(-experts.shared * experts.intermediate_size // config.tp)
    whole += (feed_forward.layers - feed_forward.dense_layers) * 3 * dims.hidden_size * width
    nbytes = whole * size + feed_forward.layers * kept * (2 - size)
    return {"weights_bytes": nbytes, "die_bytes": DIE_BYTES, "fits": nbytes <= DIE_BYTES}


def _elements(shapes: Any) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
