"""The windows of a decode step: when other projects' kernels leave HBM idle, and how long."""

from .file import WindowFile, read_window_file
from .lengths import (
    CASES,
    KnownWindow,
    all_gather,
    all_reduce,
    combine,
    dense_attention,
    dispatch,
    indexer,
    norm,
    sparse_attention,
    top_k,
)
from .published import PROFILED, Lengths

__all__ = [
    "CASES",
    "PROFILED",
    "Lengths",
    "KnownWindow",
    "WindowFile",
    "all_gather",
    "all_reduce",
    "combine",
    "dense_attention",
    "dispatch",
    "indexer",
    "norm",
    "read_window_file",
    "sparse_attention",
    "top_k",
]
