"""Which weights are prefetched outside the fused ops, how much of them, and by whom."""

from ascend_prefetch.policy.config import DEFAULT_RATIOS, KEY, OLD_KEY, PrefetchConfig
from ascend_prefetch.policy.ledger import ByteRange, Claim, PrefetchLedger, Totals

__all__ = [
    "DEFAULT_RATIOS",
    "KEY",
    "OLD_KEY",
    "ByteRange",
    "Claim",
    "PrefetchConfig",
    "PrefetchLedger",
    "Totals",
]
