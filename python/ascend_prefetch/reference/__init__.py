"""Float64 reference of every computation the ops do, written apart from any kernel."""

from .mla import (
    MlaPrologOutput,
    attention,
    mla_prolog,
    o_proj,
    relative_error,
    rms_norm,
    rope,
    rope_tables,
    write_paged_cache,
)

__all__ = [
    "MlaPrologOutput",
    "attention",
    "mla_prolog",
    "o_proj",
    "relative_error",
    "rms_norm",
    "rope",
    "rope_tables",
    "write_paged_cache",
]
