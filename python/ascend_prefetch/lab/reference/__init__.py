"""Float64 reference of every computation of the ops, written independently of the kernels."""

from .accuracy import relative_error, ulp_distance
from .cache import read_paged_cache, write_paged_cache
from .mla import (
    MlaPrologOutput,
    attention,
    mla_prolog,
    o_proj,
    rms_norm,
    rope,
    rope_tables,
    value_up_projection,
)
from .quant import (
    dequantise,
    int8_matmul,
    quantise_dynamic,
    quantise_latent,
    quantise_static,
    w8a8_linear,
)
from .sfa import (
    IndexerOutput,
    SfaPrologOutput,
    indexer,
    layer_norm,
    select_top_k,
    sfa_prolog,
)

__all__ = [
    "IndexerOutput",
    "MlaPrologOutput",
    "SfaPrologOutput",
    "attention",
    "dequantise",
    "indexer",
    "int8_matmul",
    "layer_norm",
    "mla_prolog",
    "o_proj",
    "quantise_dynamic",
    "quantise_latent",
    "quantise_static",
    "read_paged_cache",
    "relative_error",
    "rms_norm",
    "rope",
    "rope_tables",
    "select_top_k",
    "sfa_prolog",
    "ulp_distance",
    "value_up_projection",
    "w8a8_linear",
    "write_paged_cache",
]
