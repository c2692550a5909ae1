"""Calls that are needed although the twin sees nothing change without them."""

# The flag tells vector cores when the weight stream has ended. It orders no data: without it the
# same bytes are prefetched while HBM still has the kernel's own weights to bring.
_BEGIN_OF_PREFETCH = (
    "rule 5 of csrc/plan/plan_warm.h, held by "
    "tests/python/test_mla_prolog_prefetch.py::test_regions_wait_for_the_weight_stream"
)

DOCUMENTED: dict[str, str] = {
    "CrossCoreSetFlag<2, MTE2>(3) of another pipe": _BEGIN_OF_PREFETCH,
    "CrossCoreSetFlag<2, MTE2>(3) + CrossCoreWaitFlag(3)": _BEGIN_OF_PREFETCH,
}
"""Kind of a mutant (Mutant.kind) -> page of the Ascend C documentation that asks for the call, or
where this repository says what it is for and which test holds that."""
