"""The windows of a decode step: when other projects' kernels leave HBM idle, and how long."""

from .file import WindowFile, read_window_file
from .idle import idle_lengths, planner_window
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
    "idle_lengths",
    "indexer",
    "norm",
    "planner_window",
    "read_window_file",
    "sparse_attention",
    "top_k",
]
