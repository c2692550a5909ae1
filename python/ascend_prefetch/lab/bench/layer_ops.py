"""The ops of a layer on tensors without data, and the kernels that they launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ascend_prefetch import ops, planning
from ascend_prefetch.lab.bench import prolog
from ascend_prefetch.lab.bench.common import DTYPES, BenchConfig, checked_dimensions, floor_us
from ascend_prefetch.lab.bench.inputs import total_bytes
from ascend_prefetch.lab.bench.modelled import Times, model_op, op_forms
from ascend_prefetch.lab.bench.o_proj import o_proj_arguments
from ascend_prefetch.lab.bench.placeholders import (
    placeholder_indexer_weights,
    placeholder_mla_weights,
)
from ascend_prefetch.lab.bench.sfa_prolog import indexer_bytes, indexer_products, sfa_arguments
from ascend_prefetch.lab.timing import TimedChip
from ascend_prefetch.lab.timing.sequence import TracedKernel, dry_kernels
from ascend_prefetch.linear import Linear, stored_weight
from ascend_prefetch.models import IndexerWeights


class DryOp:
    """A call of an op on tensors without data. Each of its forms is run dry once, then kept.

    Attributes:
        name: name of the op.
        floor_bytes: bytes that HBM has to deliver, each weight and input once.
        products: the weights of the matrix products.
    """

    def __init__(
        self,
        name: str,
        run: Callable[..., object],
        floor_bytes: int,
        products: Sequence[Linear],
    ) -> None:
        self.name = name
        self.floor_bytes = floor_bytes
        self.products = tuple(products)
        self._run = run
        self._runs: dict[tuple[bool, str], tuple[list[TracedKernel], planning.Plan]] = {}

    def kernels(self, separate: bool = False, **options: Any) -> list[TracedKernel]:
        """The kernels that a call launches; the twin must play the chip.

        Args:
            separate: whether the op runs as separate kernels.
            options: prefetch options that replace those of the call: numbers, or lists of them.
        """
        return self._dry_run(separate, options)[0]

    def plan(self, **options: Any) -> planning.Plan:
        """The planner's decisions for a call; the twin must play the chip."""
        return self._dry_run(False, options)[1]

    def _dry_run(
        self, separate: bool, options: dict[str, Any]
    ) -> tuple[list[TracedKernel], planning.Plan]:
        key = (separate, repr(sorted(options.items())))
        if key not in self._runs:
            with planning.logging_plans() as plans:
                kernels = dry_kernels(self._run, separate, **options)
            (plan,) = plans
            self._runs[key] = kernels, plan
        return self._runs[key]


class LayerOps:
    """The prolog and o_proj of one layer.

    Attributes:
        config: the configuration that they were made for.
        dims: dimensions of the model.
        weights: rank 0's weights, without data.
        indexer: the indexer's weights, without data; None without an indexer.
        next_qkv_a: the next layer's qkv_a weight, as it is stored.
        prolog: mla_prolog or sfa_prolog, which may prefetch the layer's o_proj weight.
        o_proj: o_proj, which may prefetch the next layer's qkv_a.
    """

    def __init__(self, config: BenchConfig, next_qkv_a: torch.Tensor | None = None) -> None:
        """
        Args:
            config: configuration of the ops.
            next_qkv_a: the next layer's qkv_a weight, as stored; by default a new one.

        Raises:
            ValueError: the configuration is invalid.
        """
        self.config = config
        self.dims = checked_dimensions(config)
        self.weights = placeholder_mla_weights(config, self.dims)
        if next_qkv_a is None:
            qkv_a = stored_weight(self.weights.qkv_a)
            next_qkv_a = torch.empty_like(qkv_a)
        self.next_qkv_a = next_qkv_a
        self.indexer: IndexerWeights | None = None
        self.prolog = self._make_prolog()
        self.o_proj = self._make_o_proj()

    def prolog_weights(self) -> list[tuple[str, torch.Tensor]]:
        """The prolog's weights as they are stored, by name, in the order in which it reads them."""
        layers: list[tuple[str, Linear | None]] = [("fused_qkv_a", self.weights.qkv_a)]
        if self.indexer is not None:
            layers += [
                ("indexer_wk", self.indexer.wk),
                ("indexer_weights_proj", self.indexer.weights_proj),
            ]
        layers.append(("q_b", self.weights.q_b))
        if self.indexer is not None:
            layers.append(("indexer_wq_b", self.indexer.wq_b))
        layers.append(("w_uk", self.weights.w_uk))
        return [(name, stored_weight(layer)) for name, layer in layers if layer is not None]

    def _make_prolog(self) -> DryOp:
        inputs = prolog.prolog_inputs(self.config, self.dims)
        floor_bytes = prolog.floor_bytes(self.weights, inputs)
        products = prolog.products(self.weights)
        if self.dims.indexer is None:
            arguments = prolog.op_arguments(self.weights, inputs, self.dims)
            return DryOp(
                "mla_prolog",
                lambda **options: ops.mla_prolog(**{**arguments, **options}),
                floor_bytes,
                products,
            )
        indexer = self.indexer = placeholder_indexer_weights(self.config, self.dims)
        cache = prolog.paged_cache(self.config, inputs.slot_mapping, self.dims.indexer.head_dim)
        arguments = sfa_arguments(self.weights, indexer, inputs, cache, self.dims)
        return DryOp(
            "sfa_prolog",
            lambda **options: ops.sfa_prolog(**{**arguments, **options}),
            floor_bytes + indexer_bytes(indexer),
            (*products, *indexer_products(indexer)),
        )

    def _make_o_proj(self) -> DryOp:
        heads = self.dims.heads_per_rank(self.config.tp)
        shape = (self.config.tokens, heads, self.dims.kv_lora_rank)
        attn_output = torch.empty(shape, dtype=DTYPES[self.config.dtype])
        arguments = {**o_proj_arguments(self.weights), "prefetch": [self.next_qkv_a]}
        products = (self.weights.w_uv, self.weights.o_proj)
        return DryOp(
            "o_proj",
            lambda **options: ops.o_proj(attn_output, **{**arguments, **options}),
            total_bytes([attn_output, *products]),
            products,
        )


def model_dry_op(
    op: DryOp, tokens: int, chip: TimedChip, launch_us: float | None = None
) -> dict[str, Times | None]:
    """The key `modelled_us` of the command-line contract; the twin must play the chip."""
    floor = floor_us(op.floor_bytes, op.products, tokens, chip)
    return {"floor": floor, **model_op(op_forms(op.kernels), chip, launch_us).us}
