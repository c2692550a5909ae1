"""vLLM Ascend 0.28: the indexer is a module of its own; layers wait for caches sent by layer."""

from __future__ import annotations

from . import common, v0_27
from .indexer_module import *  # noqa: F403

sparse_attention = common.sparse_attention
sfa_cache_written = v0_27.sfa_cache_written
