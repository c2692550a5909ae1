"""Flash communication of vLLM Ascend 0.18 to 0.26: each rank has a share of the rows.

A layer gathers the rows of all tensor-parallel ranks, and o_proj's sums are scattered over them:
upstream's SequenceRowParallelOp. Steps decide it by the forward context, layers by the custom_op of
their o_proj.
"""

from __future__ import annotations

import torch
from vllm.distributed import tensor_model_parallel_reduce_scatter
from vllm_ascend.ascend_forward_context import _EXTRA_CTX


def gather(hidden_states: torch.Tensor) -> torch.Tensor:
    """The rows of all ranks, [T, hidden], without the rows that make the shares equal."""
    whole: torch.Tensor = torch.ops.vllm.maybe_all_gather_and_maybe_unpad(
        hidden_states.contiguous(), True
    )
    return whole


def scattered_rows() -> int:
    """The number of rows over which this step scatters o_proj's sums; 0 if it does not."""
    return _EXTRA_CTX.num_tokens + _EXTRA_CTX.pad_size if _EXTRA_CTX.flash_comm_v1_enabled else 0


def scatters_in_product() -> bool:
    """Whether upstream multiplies and scatters in one op (npu_mm_reduce_scatter_base)."""
    return bool(_EXTRA_CTX.flash_comm_v1_enabled and _EXTRA_CTX.mmrs_fusion)


def reduce_scatter(partial: torch.Tensor) -> torch.Tensor:
    """Sums [rows, hidden] over the ranks; every rank gets its share of the rows."""
    summed: torch.Tensor = tensor_model_parallel_reduce_scatter(partial, 0)
    return summed
