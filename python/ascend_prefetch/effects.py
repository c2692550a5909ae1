"""Tells torch that prefetch and prefetch_join have effects although they return and change nothing.

A compiler pass may drop a call whose results nobody uses, merge two calls with the same arguments,
or reorder calls. Calls that are marked as ordered effects are chained to each other and to the end
of the graph by tokens, so that each of them runs exactly once and in program order.

The mark must be set before anything is traced; importing ascend_prefetch sets it.
"""

import torch


def register() -> None:
    """Marks both ops; torch.ops.ascend_prefetch has to be loaded."""
    ops = [
        torch.ops.ascend_prefetch.prefetch.default,
        torch.ops.ascend_prefetch.prefetch_join.default,
    ]
    # For the graphs of Dynamo, torch.export and make_fx, which have no tokens.
    for op in ops:
        torch.fx.node.has_side_effect(op)
    try:
        # A private interface, unchanged from torch 2.9 to 2.13.
        from torch._higher_order_ops.effects import _EffectType, _register_effectful_op

        sink_tokens = torch.ops.prims._sink_tokens.default
    except (ImportError, AttributeError):
        return
    for op in ops:
        _register_effectful_op(op, _EffectType.ORDERED)
    # _sink_tokens ends the chain of tokens. Newer releases mark it themselves; inductor of torch
    # 2.9 drops it from inference graphs, and every effect with it.
    torch.fx.node.has_side_effect(sink_tokens)
