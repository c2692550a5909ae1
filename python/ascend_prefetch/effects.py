"""Tells torch that prefetch and prefetch_join have effects although they return and change nothing.

Every pass of a compiler may drop a call whose results nobody uses, merge two calls with the same
arguments, or move them. Marked as an ordered effect, a call is tied to the next one and to the end
of the graph by tokens, so that all of them are carried out, once each and in their order.

The mark has to be there before anything is traced: importing ascend_prefetch sets it.
"""

import torch


def register() -> None:
    """Marks both ops; torch.ops.ascend_prefetch has to be loaded."""
    ops = [
        torch.ops.ascend_prefetch.prefetch.default,
        torch.ops.ascend_prefetch.prefetch_join.default,
    ]
    # For graphs without tokens: those of Dynamo, torch.export and make_fx.
    for op in ops:
        torch.fx.node.has_side_effect(op)
    try:
        # Private, but the same from torch 2.9 to 2.13.
        from torch._higher_order_ops.effects import _EffectType, _register_effectful_op

        sink_tokens = torch.ops.prims._sink_tokens.default
    except (ImportError, AttributeError):
        return
    for op in ops:
        _register_effectful_op(op, _EffectType.ORDERED)
    # The end of the tokens. Newer releases mark it themselves; inductor of torch 2.9 drops it, and
    # every effect with it, from graphs for inference.
    torch.fx.node.has_side_effect(sink_tokens)
