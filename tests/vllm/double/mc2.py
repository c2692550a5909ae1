"""Dispatch and combine of tokens over the ranks of the experts (MC2), over gloo.

Arguments: the documentation of torch_npu in Ascend/op-plugin (npu_moe_distribute_dispatch_v2,
npu_moe_distribute_combine_v2) and their calls in vllm-ascend. The group is the whole world, which
is what its name stands for here.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from double import calls
from double.linear import npu_dynamic_quant


def _exchange(item) -> list:
    """Every rank's item."""
    items = [None] * dist.get_world_size()
    dist.all_gather_object(items, item)
    return items


def npu_moe_distribute_dispatch_v2(
    x,
    expert_ids,
    group_ep,
    ep_world_size,
    ep_rank_id,
    moe_expert_num,
    *,
    scales=None,
    x_active_mask=None,
    expert_shard_type=0,
    shared_expert_rank_num=0,
    quant_mode=0,
    global_bs=0,
    expert_token_nums_type=1,
    expert_scales=None,
    group_tp="",
    tp_world_size=0,
    tp_rank_id=0,
    comm_alg="",  # how the real op sends
):
    """x: [T, H]; expert_ids: [T, k] -> the rows of all ranks for the experts of this one.

    Rows are ordered by expert, then by rank and token; those behind them are unknown. quant_mode 2
    sends them as int8 with a scale each. Returns rows, scales, where each row came from, rows of
    each expert, rows received from each rank, and two results of other modes.
    """
    calls.note("npu_moe_distribute_dispatch")
    if scales is not None or quant_mode not in (0, 2) or expert_shard_type:
        raise NotImplementedError(f"npu_moe_distribute_dispatch_v2: quant_mode {quant_mode}")
    assert ep_world_size == dist.get_world_size() and shared_expert_rank_num == 0
    active = torch.ones(len(x), dtype=torch.bool) if x_active_mask is None else x_active_mask
    sent = (x, None) if quant_mode == 0 else npu_dynamic_quant(x)
    found, received = [], [0] * ep_world_size
    everyone = _exchange((*sent, expert_ids, active))
    local = moe_expert_num // ep_world_size
    counts = torch.zeros(local, dtype=torch.int64)
    for expert in range(local):
        for rank, (rows, row_scales, ids, mask) in enumerate(everyone):
            chosen = (ids == ep_rank_id * local + expert) & mask[:, None]
            for token, slot in chosen.nonzero().tolist():
                scale = None if row_scales is None else row_scales[token]
                found.append((rows[token], scale, (rank, token, slot)))
                counts[expert] += 1
                received[rank] += 1
    capacity = sum(ids.numel() for _, _, ids, _ in everyone)
    unknown = float("nan") if quant_mode == 0 else -77
    expanded = sent[0].new_full((capacity, x.shape[1]), unknown)
    dynamic = torch.full((capacity,), float("nan"))
    origin = torch.full((capacity, 3), -1, dtype=torch.int32)
    for row, (values, scale, place) in enumerate(found):
        expanded[row] = values
        origin[row] = torch.tensor(place, dtype=torch.int32)
        if scale is not None:
            dynamic[row] = scale
    numbers = counts if expert_token_nums_type == 1 else counts.cumsum(0)
    ends = torch.tensor(received, dtype=torch.int32)
    scale = dynamic if quant_mode else torch.empty(0)
    return expanded, scale, origin, numbers, ends, torch.empty(0), torch.empty(0)


def npu_moe_distribute_combine_v2(
    expand_x,
    expert_ids,
    assist_info_for_combine,
    ep_send_counts,
    expert_scales,
    group_ep,
    ep_world_size,
    ep_rank_id,
    moe_expert_num,
    *,
    x_active_mask=None,
    expert_shard_type=0,
    shared_expert_rank_num=0,
    global_bs=0,
    expand_scales=None,
    comm_quant_mode=0,
    tp_send_counts=None,
    group_tp="",
    tp_world_size=0,
    tp_rank_id=0,
    comm_alg="",  # how the real op sends
):
    """expand_x: rows as dispatched -> [T, H], the weighted sums of this rank's tokens."""
    calls.note("npu_moe_distribute_combine")
    if comm_quant_mode:
        raise NotImplementedError(f"npu_moe_distribute_combine_v2: {comm_quant_mode}")
    sent = int(ep_send_counts.sum())
    total = torch.zeros(len(expert_ids), expand_x.shape[1])
    for rows, origin in _exchange((expand_x[:sent], assist_info_for_combine[:sent])):
        for row, (rank, token, slot) in zip(rows, origin.tolist(), strict=True):
            if rank == ep_rank_id:
                total[token] += row.float() * expert_scales[token, slot].float()
    return total.to(expand_x.dtype)


OPS = {f.__name__: f for f in (npu_moe_distribute_dispatch_v2, npu_moe_distribute_combine_v2)}
