"""Which weights are prefetched outside the fused ops, how much of each, and by which engine.

This package depends on no serving framework: the framework's plugin supplies a StepContext.
"""

from ascend_prefetch.policy.config import DEFAULT_RATIOS, KEY, OLD_KEY, PrefetchConfig
from ascend_prefetch.policy.context import StepContext, layer_of
from ascend_prefetch.policy.engines import Engine, Sdma
from ascend_prefetch.policy.ledger import ByteRange, Claim, PrefetchLedger, Request, Totals
from ascend_prefetch.policy.method import WeightPrefetchMethod
from ascend_prefetch.policy.sites import WindowPlanner

__all__ = [
    "DEFAULT_RATIOS",
    "KEY",
    "OLD_KEY",
    "ByteRange",
    "Claim",
    "Engine",
    "PrefetchConfig",
    "PrefetchLedger",
    "Request",
    "Sdma",
    "StepContext",
    "Totals",
    "WeightPrefetchMethod",
    "WindowPlanner",
    "layer_of",
]
