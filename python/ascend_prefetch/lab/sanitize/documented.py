"""Calls that are required although nothing changes on the twin without them."""

# The flag tells vector cores when the weight stream has ended. It orders no data: without it the
# same bytes are prefetched, but while HBM still delivers the kernel's own weights.
_BEGIN_OF_PREFETCH = (
    "rule 5 of csrc/plan/plan_warm.h, held by "
    "tests/python/test_mla_prolog_prefetch.py::test_regions_wait_for_the_weight_stream"
)

DOCUMENTED: dict[str, str] = {
    "CrossCoreSetFlag<2, MTE2>(3) of another pipe": _BEGIN_OF_PREFETCH,
    "CrossCoreSetFlag<2, MTE2>(3) + CrossCoreWaitFlag(3)": _BEGIN_OF_PREFETCH,
}
"""By kind of a mutant (Mutant.kind): the page of the Ascend C documentation that requires the call,
or the place in this repository that explains it and the test that covers it."""
