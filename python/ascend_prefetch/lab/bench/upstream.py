"""Where vLLM Ascend placed its CMO prefetches, between the kernels that it launched one by one.

Source: vllm-project/vllm-ascend pull request 6629 (commit 66b60c9440), attention/mla_v1.py,
attention/sfa_v1.py, quantization/methods/w8a8_static.py. The host took 10 to 14 us for each call
(hw-native-sys/pypto-lib, docs/debug-and-tune/l2-prefetch.md). Graph capture hides this time, and
the models here do not include it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ascend_prefetch.lab.timing.sequence import CmoPrefetch, SequenceStep, TracedKernel, find_tensor

MAX_O_PROJ_BYTES = 16 << 20
"""Maximum bytes of the o_proj weight that are prefetched."""


def upstream_cmo(kernels: Sequence[TracedKernel], duplicate: bool = False) -> list[SequenceStep]:
    """The separate kernels of an op, with the prefetches beside them.

    The whole qkv_a was prefetched before the prolog's first kernel, and o_proj after the value
    up-projection, right before its own product.

    Args:
        kernels: the kernels of one call of mla_prolog, sfa_prolog or o_proj.
        duplicate: whether o_proj is prefetched twice: W8A8 layers with static scales additionally
            prefetched the whole weight themselves, on a stream of their own.
    """
    steps: list[SequenceStep] = []
    for index, kernel in enumerate(kernels):
        if index == 0 and kernel.name in ("qkv_a", "quantise_hidden"):
            steps.append(CmoPrefetch(*find_tensor(kernels, "qkv_a_weight")))
        if kernel.name == "o_proj":
            address, nbytes = find_tensor([kernel], "o_proj_weight")
            steps.append(CmoPrefetch(address, nbytes, length=min(nbytes, MAX_O_PROJ_BYTES)))
            if duplicate:
                steps.append(CmoPrefetch(address, nbytes, stream=1))
        steps.append(kernel)
    return steps
