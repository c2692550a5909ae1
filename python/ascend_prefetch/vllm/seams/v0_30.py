"""vLLM Ascend 0.30: sparse layers leave padding behind a step alone; more packed caches."""

from __future__ import annotations

import functools

from . import indexer_module
from .v0_29 import *  # noqa: F403

trims_rows = True
select = functools.partial(indexer_module.select, others=(False,))
sfa_refusal = functools.partial(
    indexer_module.sfa_refusal,
    reasons=indexer_module.SFA_REASONS
    | {"enable_sparse_sfa_turboquant": "packed int4 caches of sparse attention"},
    indexer_reasons={"enable_sparse_li_c4": "fp4 caches of the indexer"},
    cache_dtype="c8_cache_dtype",
)
