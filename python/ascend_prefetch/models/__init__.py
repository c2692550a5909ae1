"""Dimensions and attention weights of models."""

from .checkpoint import load_indexer_weights, load_mla_weights
from .dimensions import IndexerDimensions, ModelDimensions
from .feed_forward import FEED_FORWARDS, ExpertDimensions, FeedForwardDimensions
from .find import get_experts, get_feed_forward, get_model, model_name
from .model_types import MODEL_TYPES, ModelType, QueryScaling
from .presets import ALIASES, MODELS
from .quantise import (
    QUANTS,
    quantise_indexer_weights,
    quantise_linear,
    quantise_mla_weights,
    rounding_error,
)
from .weights import (
    IndexerWeights,
    MlaWeights,
    indexer_weight_shapes,
    mla_weight_shapes,
    random_indexer_weights,
    random_mla_weights,
)

__all__ = [
    "ALIASES",
    "FEED_FORWARDS",
    "MODELS",
    "MODEL_TYPES",
    "QUANTS",
    "ExpertDimensions",
    "FeedForwardDimensions",
    "IndexerDimensions",
    "IndexerWeights",
    "MlaWeights",
    "ModelDimensions",
    "ModelType",
    "QueryScaling",
    "get_experts",
    "get_feed_forward",
    "get_model",
    "indexer_weight_shapes",
    "load_indexer_weights",
    "load_mla_weights",
    "mla_weight_shapes",
    "model_name",
    "quantise_indexer_weights",
    "quantise_linear",
    "quantise_mla_weights",
    "random_indexer_weights",
    "random_mla_weights",
    "rounding_error",
]
