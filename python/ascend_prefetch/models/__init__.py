"""Dimensions and attention weights of models."""

from .checkpoint import load_indexer_weights, load_mla_weights
from .dimensions import MODELS, IndexerDimensions, ModelDimensions, get_model
from .model_types import MODEL_TYPES, ModelType
from .quantise import QUANTS, quantise_indexer_weights, quantise_linear, quantise_mla_weights
from .weights import (
    IndexerWeights,
    MlaWeights,
    indexer_weight_shapes,
    mla_weight_shapes,
    random_indexer_weights,
    random_mla_weights,
)

__all__ = [
    "MODELS",
    "MODEL_TYPES",
    "QUANTS",
    "IndexerDimensions",
    "IndexerWeights",
    "MlaWeights",
    "ModelDimensions",
    "ModelType",
    "get_model",
    "indexer_weight_shapes",
    "load_indexer_weights",
    "load_mla_weights",
    "mla_weight_shapes",
    "quantise_indexer_weights",
    "quantise_linear",
    "quantise_mla_weights",
    "random_indexer_weights",
    "random_mla_weights",
]
