"""Calls of the ops on a device, of the cases that the tests on the twin use."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch

from ascend_prefetch.lab.bench.measured import placed
from mla_cases import MlaCase, MlaInputs, finite_call_of
from o_proj_cases import OProjCase, OProjInputs
from sfa_cases import SfaCase, SfaInputs

OPS = ("mla_prolog", "sfa_prolog", "o_proj")


class DeviceCall:
    """One call with its tensors on the NPU, where they stay.

    Attributes:
        arguments: by name, caches included.
        x: the argument with the activations.
        caches: what the op writes.
    """

    def __init__(self, op: str, tokens: int, seed: int = 5) -> None:
        self.op = getattr(torch.ops.ascend_prefetch, op)
        if op == "o_proj":
            arguments = OProjInputs(OProjCase(tokens), seed).arguments
        else:
            inputs = {
                "mla_prolog": lambda: MlaInputs(MlaCase(tokens, skip=0.1), seed),
                "sfa_prolog": lambda: SfaInputs(SfaCase(tokens, skip=0.1), seed),
            }[op]()
            positional, options = finite_call_of(inputs)
            names = [argument.name for argument in self.op.default._schema.arguments]
            arguments = dict(zip(names, positional, strict=False)) | options
        self.arguments: dict[str, Any] = placed(arguments, torch.device("npu"))
        self.x = self.arguments["attn_output" if op == "o_proj" else "hidden_states"]
        self.caches = [tensor for name, tensor in self.arguments.items() if name.endswith("_cache")]

    def __call__(self, **options: Any) -> list[torch.Tensor]:
        """The results, without those that such a call leaves empty."""
        results = self.op(**self.arguments, **options)
        results = [results] if isinstance(results, torch.Tensor) else results
        return [result for result in results if result.numel()]

    def clear_caches(self) -> None:
        for cache in self.caches:
            cache.fill_(0.5)

    def new_activations(self, seed: int) -> None:
        """Other activations at the same address."""
        generator = torch.Generator().manual_seed(seed)
        self.x.copy_(torch.randn(self.x.shape, generator=generator).to(self.x.dtype))


def snapshot(call: DeviceCall, results: list[torch.Tensor]) -> list[torch.Tensor]:
    """Results and caches on the host."""
    return [tensor.cpu() for tensor in [*results, *call.caches]]


def captured(npu: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
    """A graph of `work`, and what it returned in the capture. It is called once before."""
    work()
    npu.synchronize()
    graph = npu.NPUGraph()
    with npu.graph(graph):
        results = work()
    return graph, results


def median_us(npu: Any, work: Callable[[], Any], before: Callable[[], Any] | None = None) -> float:
    """Median time of `work` on the device over 30 calls, each after a call of `before`.

    Without `before` the host may be what is waited for.
    """
    work()
    samples = []
    for _ in range(30):
        start, end = (npu.Event(enable_timing=True) for _ in range(2))
        if before is not None:
            before()
        start.record()
        work()
        end.record()
        npu.synchronize()
        samples.append(start.elapsed_time(end) * 1e3)
    return statistics.median(samples)
