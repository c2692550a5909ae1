"""Model dimensions and attention weights."""

from .checkpoint import load_mla_weights
from .dimensions import MODELS, IndexerDimensions, ModelDimensions, get_model
from .weights import MlaWeights, mla_weight_shapes, random_mla_weights

__all__ = [
    "MODELS",
    "IndexerDimensions",
    "MlaWeights",
    "ModelDimensions",
    "get_model",
    "load_mla_weights",
    "mla_weight_shapes",
    "random_mla_weights",
]
