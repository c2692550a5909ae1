"""An all-reduce with and without a prefetch beside it; torchrun starts a process for each rank.

    torchrun --nproc-per-node=2 -m ascend_prefetch.lab.first_hour.collective --json FILE

The all-reduce is the one behind o_proj of DeepSeek-V3 at 16 tokens. Vector cores never prefetch
beside it: two kernels that wait for each other's vector cores would wait for ever.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ascend_prefetch.beside import prefetch_beside
from ascend_prefetch.files import whole_file
from ascend_prefetch.lab import npu as npus
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.measured import GraphTimer, device_of, rotation_copies, summary

from .events import Mark, spans_us
from .kept import keep, one_line
from .profiler import profile_table

TOKENS, HIDDEN = 16, 7168
ENGINES = ("cube", "sdma")
MEGABYTES = (2, 4, 8)
"""Sizes of prefetches; at HBM's rate 8 MB takes some 6 us."""

GRAPH_BYTES = 4 * 10**6
"""Size of the prefetches in the replayed graph."""

ROUNDS, SAMPLES = 4, 50
"""Every case is measured SAMPLES times in each round, so that a drift reaches all cases alike."""

Result = dict[str, Any]
Cases = dict[tuple[str, int], list[list[float]]]


class Beside:
    """What the measurement runs.

    Attributes:
        npu: torch.npu, or a stand-in for it.
        all_reduce: the collective, in place on the current stream.
        regions: memory to prefetch; all of it together is twice the capacity of L2 or more.
        other: memory of twice that capacity, which is never prefetched.
    """

    def __init__(
        self,
        npu: Any,
        all_reduce: Callable[[], object],
        regions: Sequence[torch.Tensor],
        other: torch.Tensor,
    ) -> None:
        self.npu, self.all_reduce = npu, all_reduce
        self.regions, self.other = regions, other

    def meet(self) -> None:
        """Leaves nothing else in L2, gives the host time, and has all ranks begin together."""
        for _ in range(2):
            self.other.sum()
        self.all_reduce()

    def alone(self, mark: Mark) -> None:
        """The collective between the marks."""
        self.meet()
        mark()
        self.all_reduce()
        mark()

    def prefetch(self, engine: str, nbytes: int, mark: Mark) -> None:
        """The prefetch between the marks, from its fork to its join."""
        self.meet()
        mark()
        with prefetch_beside([self.regions[0]], max_bytes=[nbytes], engine=engine):
            pass
        mark()

    def both(self, engine: str, nbytes: int, mark: Mark) -> None:
        """The collective between the first two marks, the rest of the prefetch until the third."""
        self.meet()
        mark()
        with prefetch_beside([self.regions[0]], max_bytes=[nbytes], engine=engine):
            self.all_reduce()
            mark()
        mark()


def measure(beside: Beside, timer: GraphTimer, kept: Callable[[Result], None]) -> Result:
    """Measures all cases.

    Args:
        beside: what is run.
        timer: a timer of the same NPU, for the replayed graphs.
        kept: takes the result whenever it has grown.

    Returns:
        `alone_us`: the collective. `beside`: a row for each engine and size: prefetch_us alone;
        collective_us, with the prefetch beside it; until_join_us, of both; slowdown_pct, of the
        time in which the prefetch moves bytes. `graph`: us per call in replayed graphs, alone and
        by engine, or the error of the capture.
    """
    result: Result = {"payload_bytes": 2 * TOKENS * HIDDEN, "samples": ROUNDS * SAMPLES}
    alone: list[float] = []
    loads: Cases = {}
    pairs: Cases = {}
    for _ in range(ROUNDS):
        alone += [spans_us(beside.npu, beside.alone, 2)[0] for _ in range(SAMPLES)]
        for engine, nbytes in _cases():
            for spans, work, marks in (
                (loads, beside.prefetch, 2),
                (pairs, beside.both, 3),
            ):
                spans.setdefault((engine, nbytes), []).extend(
                    spans_us(beside.npu, lambda mark: work(engine, nbytes, mark), marks)  # noqa: B023
                    for _ in range(SAMPLES)
                )
        result["alone_us"] = summary(alone)
        result["beside"] = [
            _row(case, result["alone_us"], loads[case], pairs[case]) for case in _cases()
        ]
        kept(result)
    result["graph"] = {}
    for name, chosen in (("alone", None), *zip(ENGINES, ENGINES, strict=True)):
        # SDMA last: nobody has published that a capture takes it.
        result["graph"][name] = _in_a_graph(beside, timer, chosen)
        kept(result)
    return result


def _cases() -> Iterator[tuple[str, int]]:
    return ((engine, size * 10**6 // 32 * 32) for engine in ENGINES for size in MEGABYTES)


def _row(
    case: tuple[str, int],
    alone: dict[str, float],
    loads: Sequence[Sequence[float]],
    pairs: Sequence[Sequence[float]],
) -> Result:
    load = summary([spans[0] for spans in loads])
    collective = summary([spans[0] for spans in pairs])
    moving = min(load["median"], alone["median"])
    slower = collective["median"] - alone["median"]
    return {
        "engine": case[0],
        "bytes": case[1],
        "prefetch_us": load,
        "collective_us": collective,
        "until_join_us": summary([sum(spans) for spans in pairs]),
        "slowdown_pct": 100 * slower / moving if moving > 0 else None,
    }


def _in_a_graph(beside: Beside, timer: GraphTimer, engine: str | None) -> Result:
    turns = itertools.cycle(beside.regions)

    def call() -> None:
        if engine is None:
            beside.all_reduce()
            return
        with prefetch_beside([next(turns)], max_bytes=[GRAPH_BYTES], engine=engine):
            beside.all_reduce()

    try:
        return {"us": summary(timer.samples_us([call] * len(beside.regions)))}
    except RuntimeError as error:
        return {"error": one_line(error)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs as one rank; rank 0 writes the files. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument(
        "--profile-out", type=Path, help="kernel_details.csv of all-reduces, for the verb windows"
    )
    options = parser.parse_args(arguments)
    torch_npu = npus.require()
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch_npu.npu.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("hccl")
    device = device_of(torch_npu)
    total = torch.zeros(TOKENS, HIDDEN, dtype=torch.bfloat16, device=device)
    size = MEGABYTES[-1] * 10**6
    l2_bytes = twin.find_chip(torch_npu.npu.get_device_name())["l2_mib"] << 20
    copies = rotation_copies(size, l2_bytes)
    assert copies is not None  # 8 MB take some 50
    regions = [torch.zeros(size // 4, device=device) for _ in range(copies)]
    other = torch.zeros(2 * l2_bytes // 4, device=device)
    beside = Beside(torch_npu.npu, lambda: torch.distributed.all_reduce(total), regions, other)
    facts = {"ranks": ranks, "mode": os.environ.get("HCCL_OP_EXPANSION_MODE")}

    def kept(result: Result) -> None:
        if rank == 0:
            keep(options.json, facts | result)

    result = measure(beside, GraphTimer(torch_npu.npu), kept)
    total.fill_(1)
    with prefetch_beside([beside.regions[0]]):
        beside.all_reduce()
    result["right"] = bool((total == ranks).all())
    kept(result)
    if options.profile_out is not None:
        _profile(torch_npu, beside, options.profile_out if rank == 0 else None)
    torch.distributed.destroy_process_group()
    return 0 if result["right"] else 1


def _profile(torch_npu: Any, beside: Beside, path: Path | None) -> None:
    """All ranks take part in the collectives; those without a path keep no profile."""

    def work() -> None:
        for _ in range(SAMPLES):
            beside.all_reduce()

    if path is None:
        work()
        torch_npu.npu.synchronize()
        return
    with whole_file(path) as part:
        part.write_text(profile_table(torch_npu, work, "kernel_details.csv"), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
