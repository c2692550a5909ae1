"""Benchmark of prefetch, on the weights that a layer loads in windows outside the fused ops."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from ascend_prefetch import _C, ops
from ascend_prefetch.lab.bench import torch_npu_ops
from ascend_prefetch.lab.bench.common import BenchCase, BenchConfig, Check, checked_dimensions
from ascend_prefetch.lab.bench.inputs import mla_weights, pack_mla_weights
from ascend_prefetch.lab.timing import find_timed_chip
from ascend_prefetch.lab.twin import PrefetchBytes
from ascend_prefetch.linear import stored_weight

ENGINES = ("vector", "cube", "sdma")


def check_prefetch(config: BenchConfig) -> None:
    """Raises ValueError unless the configuration is valid for prefetch."""
    checked_dimensions(config)
    if config.engine not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {config.engine!r}")


def prefetch_case(config: BenchConfig) -> BenchCase:
    """One call that prefetches the stored o_proj and qkv_a weights, as much as L2 can hold.

    Nothing is computed; for comparison torch reads the same bytes once, summing them as float32.
    `tokens` has no effect.

    Raises:
        ValueError: the configuration is invalid, or the checkpoint does not fit.
    """
    dims = checked_dimensions(config)
    weights = mla_weights(config, dims)
    packed = pack_mla_weights(weights) if config.weights == "nz" else weights
    regions = [stored_weight(packed.o_proj), stored_weight(packed.qkv_a)]
    before = [region.clone() for region in regions]
    sizes = _sizes_in_l2(regions, find_timed_chip(config.soc).soc)
    regions = regions[: len(sizes)]

    def check(_: object, account: PrefetchBytes, *__: object) -> Check:
        """Checks that no bit has changed and that every byte was loaded once."""
        same = all(
            torch.equal(region.view(torch.uint8), copy.view(torch.uint8))
            for region, copy in zip(regions, before, strict=False)
        )
        loaded_once = account["planned"] == sum(sizes) and not account["duplicated"]
        return {
            "max_rel_err": 0.0 if same else float("inf"),
            "tolerance": 0.0,
            "ok": same and loaded_once,
        }

    def torch_eager() -> Callable[[], object]:
        words = [
            region.flatten().view(torch.uint8)[:size].view(torch.float32)
            for region, size in zip(regions, sizes, strict=True)
        ]
        return lambda: [word.sum() for word in words]

    return BenchCase(
        op=_prefetch_and_join,
        arguments={"weights": regions, "max_bytes": sizes, "engine": config.engine},
        check=check,
        separate=lambda _, place: torch_npu_ops.Prefetch(place(regions), sizes),
        torch=torch_eager,
        prefetched=tuple(f"weights[{index}]" for index in range(len(regions))),
        floor_bytes=sum(sizes),
        products=(),
    )


@functools.wraps(ops.prefetch)
def _prefetch_and_join(**arguments: Any) -> None:
    """The bytes are in L2 when what follows begins, whatever loads them."""
    ops.prefetch(**arguments)
    ops.prefetch_join()


def _sizes_in_l2(regions: list[torch.Tensor], soc: str) -> list[int]:
    """Bytes to load of each region, in order and in whole blocks, up to the usable share of L2."""
    sizes: list[int] = []
    for region in regions:
        room = _C.l2_room(soc, 0, in_flight_bytes=sum(sizes))
        size = min(region.nbytes, room) // 32 * 32
        if size == 0:
            break
        sizes.append(size)
    return sizes
