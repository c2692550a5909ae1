"""One layer's attention part: run on the twin, checked, and replayed as one sequence of kernels.

The prolog runs, then attention in torch, then o_proj, each on the results of the one before. The
traces of these runs tell what became of the prefetched bytes. In the replay attention is modelled
as a read of its bytes, as in ascend_prefetch.lab.bench.layer; the forms `in_kernel` and
`fused_no_prefetch` of that module are compared here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ascend_prefetch import planning
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.cached_requests import CachedRequests, cached_requests
from ascend_prefetch.lab.bench.common import BenchCase, Check, checked_dimensions, poisoned_empty
from ascend_prefetch.lab.bench.inputs import layer_weights
from ascend_prefetch.lab.bench.layer import (
    LayerConfig,
    attention_readers,
    check_layer,
    expert_readers,
)
from ascend_prefetch.lab.bench.layer_ops import LayerOps
from ascend_prefetch.lab.bench.mla_prolog import mla_prolog_case
from ascend_prefetch.lab.bench.modelled import Times, replays_of, timeline
from ascend_prefetch.lab.bench.o_proj import o_proj_case
from ascend_prefetch.lab.bench.sfa_prolog import sfa_prolog_case
from ascend_prefetch.lab.timing import LEVELS, TimedChip, find_timed_chip
from ascend_prefetch.lab.timing.sequence import (
    Reader,
    ReplayTimes,
    SequenceStep,
    TracedKernel,
    account_prefetch,
    dry_kernels,
)
from ascend_prefetch.lab.timing.timeline import RecordedTimeline, model_timeline
from ascend_prefetch.linear import stored_weight

PREFETCHED = ("prefetch[0]",)
"""The tensors that each op may prefetch for a later one, by their names in its trace."""


class LayerRun(NamedTuple):
    """The result of running a layer.

    Attributes:
        config: the layer.
        chip: the chip that the twin played.
        checks: the checks of the outputs of the prolog and of o_proj, by name.
        plans: the plans of both ops, as they ran.
        steps: the sequence of kernels, as it ran.
        without: the same sequence without prefetches.
    """

    config: LayerConfig
    chip: TimedChip
    checks: dict[str, Check]
    plans: list[planning.Plan]
    steps: list[SequenceStep]
    without: list[SequenceStep]

    def account(self) -> twin.PrefetchBytes:
        """What became of the bytes that an op of the sequence prefetched for a later one."""
        return account_prefetch(self.steps, PREFETCHED)

    def timeline(self, level: str) -> RecordedTimeline:
        """The modelled timeline of every core in the sequence; L2 is empty at first."""
        model = timeline(self.chip, level, self.config.launch_us)
        return model_timeline(model, self.steps, PREFETCHED)

    def result(self) -> dict[str, Any]:
        """The report of the verb `demo`; times are in us, sizes in bytes."""
        config = self.config
        replays = {
            name: replays_of(steps, self.chip, config.launch_us)
            for name, steps in (("in_kernel", self.steps), ("fused_no_prefetch", self.without))
        }
        modelled = {
            name: {level: kernels[-1]["end"] for level, kernels in levels.items()}
            for name, levels in replays.items()
        }
        before, after = modelled["fused_no_prefetch"], modelled["in_kernel"]
        saved: Times = {level: before[level] - after[level] for level in LEVELS}
        return {
            **config.reported(),
            "check": self.checks,
            "prefetch": dict(self.account()),
            "modelled_us": modelled,
            "saved_us": saved,
            "kernels": _kernel_rows(replays["in_kernel"], replays["fused_no_prefetch"]),
            "plan": [
                decision._replace(window=f"{plan.op}, {decision.window}")._asdict()
                for plan in self.plans
                for decision in plan.decisions
            ],
        }


def run_layer(config: LayerConfig, prefetch: bool = True) -> LayerRun:
    """Runs a layer's attention part with random weights and caches on the twin.

    Args:
        config: the layer.
        prefetch: whether the ops prefetch.

    Raises:
        ValueError: the configuration is invalid, or the chip is not modelled.
    """
    check_layer(config)
    chip = find_timed_chip(config.soc)
    chip.timeline("nominal")  # refuses chips without a published HBM rate
    bench = config.bench()
    dims = checked_dimensions(bench)
    weights = layer_weights(bench, dims)
    requests = cached_requests(bench, dims, config.kv_len)
    readers = attention_readers(config, dims, 0)
    experts = expert_readers(config, 0)
    next_layer = LayerOps(bench)
    next_qkv_a = stored_weight(next_layer.weights.qkv_a)
    off = {} if prefetch else {"prefetch_bytes": 0}

    if dims.indexer is None:
        prolog = mla_prolog_case(bench, weights, requests.inputs)
    else:
        prolog = sfa_prolog_case(bench, weights, requests.inputs, requests.indexer_cache)
    run_prolog = functools.partial(prolog.run, prefetch_passing_bytes=[_total(readers)], **off)
    with twin.chip(chip.soc):
        first = _Launch.of(prolog, run_prolog)
        o_proj = o_proj_case(bench, weights, _attention(requests, first.outputs))
        run_o_proj = functools.partial(
            o_proj.run,
            prefetch=[next_qkv_a],
            prefetch_passing_bytes=[_total(experts)],
            **off,
        )
        second = _Launch.of(o_proj, run_o_proj)
        # The weight that o_proj prefetched is read by the next prolog.
        plans = [first.plan, second.plan]
        behind: list[SequenceStep] = []
        if any(decision.bytes for decision in second.plan.decisions):
            behind = [*experts, *next_layer.prolog.kernels(prefetch_bytes=0)]
        plain_first, plain_second = (
            dry_kernels(run, prefetch_bytes=0) for run in (run_prolog, run_o_proj)
        )
    return LayerRun(
        config=config,
        chip=chip,
        checks={first.plan.op: first.check, second.plan.op: second.check},
        plans=plans,
        steps=[first.kernel, *readers, second.kernel, *behind],
        without=[*plain_first, *readers, *plain_second, *behind],
    )


class _Launch(NamedTuple):
    """A call of an op: its outputs, its trace, its plan and the verdict of its check."""

    outputs: Any
    kernel: TracedKernel
    plan: planning.Plan
    check: Check

    @classmethod
    def of(cls, case: BenchCase, run: Callable[[], Any]) -> _Launch:
        """Runs a case on poisoned memory; the twin must play the chip."""
        with planning.logging_plans() as plans, poisoned_empty(), twin.tracing() as traces:
            outputs = run()
        (plan,), (trace,) = plans, traces
        return cls(outputs, TracedKernel(trace), plan, case.check(outputs, None))


def _attention(requests: CachedRequests, outputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    q_nope, q_rope, _, _, *indexer = outputs
    return requests.attention(q_nope, q_rope, *indexer)


def _total(readers: list[Reader]) -> int:
    return sum(reader.nbytes for reader in readers)


def _kernel_rows(
    with_it: dict[str, list[ReplayTimes]], without: dict[str, list[ReplayTimes]]
) -> list[dict[str, Any]]:
    """The times of each kernel of the sequence, launch included, by level."""
    rows = []
    for index, kernel in enumerate(with_it["nominal"]):
        rows.append(
            {
                "kernel": kernel["kernel"],
                "in_kernel_us": {level: with_it[level][index]["us"] for level in LEVELS},
                "fused_no_prefetch_us": {level: without[level][index]["us"] for level in LEVELS},
                "hbm_read": kernel["bytes"]["hbm_read"],
                "l2_hit": kernel["bytes"]["l2_hit"],
            }
        )
    return rows
