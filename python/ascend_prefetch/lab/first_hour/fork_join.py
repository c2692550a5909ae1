"""What a side stream costs in a replayed graph, and whether cube cores run beside vector cores.

python -m ascend_prefetch.lab.first_hour.fork_join --json FILE
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ascend_prefetch import ops
from ascend_prefetch.beside import prefetch_beside
from ascend_prefetch.lab import microbenchmarks, twin
from ascend_prefetch.lab import npu as npus
from ascend_prefetch.lab.bench.measured import GraphTimer, device_of, rotation_copies, summary

from .kept import keep, one_line

ENGINES = ("cube", "vector", "sdma")
"""SDMA last: nobody has published that a capture takes it."""

TOKENS, HIDDEN, FEATURES = 16, 7168, 1024
"""o_proj of DeepSeek-V3 at TP16, behind W_UV: the op beside which a few bytes are prefetched."""

FEW_BYTES = 32
REGION_BYTES = 8 << 20
# 16 MB, read so often by vector cores alone that it takes longer than the region.
VECTOR_ROWS, VECTOR_COLUMNS, VECTOR_REPEATS = 1024, 8192, 4

Result = dict[str, Any]


def measure(
    timer: GraphTimer, device: torch.device, l2_bytes: int, kept: Callable[[Result], None]
) -> Result:
    """Measures forks and joins, then how much of two kernels' time is shared.

    Args:
        timer: a timer of the NPU.
        device: where tensors are.
        l2_bytes: capacity of L2.
        kept: takes the result whenever it has grown.

    Returns:
        `op_us`: a call of o_proj, warm. `engines`: for each `op_us`, the same with 32 bytes
        prefetched beside it by one core; `fork_join_us`, the difference of the medians; and
        `results_equal`, whether results have the bits of eager ones; or `error`. `overlap`:
        vector_us and cube_us of two kernels by themselves, both_us of both, and overlapped_pct, the
        share of the shorter that the other hides: 100 beside each other, 0 one after the other.
    """
    x = torch.ones(TOKENS, FEATURES, dtype=torch.bfloat16, device=device)
    weight = torch.full((HIDDEN, FEATURES), 0.01, dtype=torch.bfloat16, device=device)
    region = torch.zeros(REGION_BYTES, dtype=torch.uint8, device=device)
    expected = ops.o_proj(x, weight).cpu().view(torch.int16)
    result: Result = {"op_us": summary(timer.samples_us([lambda: ops.o_proj(x, weight)]))}
    result["engines"] = {}
    for engine in ENGINES:
        last: list[torch.Tensor] = []

        def call(engine: str = engine, last: list[torch.Tensor] = last) -> None:
            cores = None if engine == "sdma" else 1
            with prefetch_beside([region], max_bytes=[FEW_BYTES], engine=engine, cores=cores):
                last[:] = [ops.o_proj(x, weight)]

        try:
            times = summary(timer.samples_us([call]))
        except RuntimeError as error:
            result["engines"][engine] = {"error": one_line(error)}
        else:
            result["engines"][engine] = {
                "op_us": times,
                "fork_join_us": times["median"] - result["op_us"]["median"],
                "results_equal": torch.equal(last[0].cpu().view(torch.int16), expected),
            }
        kept(result)
    result["overlap"] = _overlap(timer, device, l2_bytes)
    kept(result)
    return result


def _overlap(timer: GraphTimer, device: torch.device, l2_bytes: int) -> Result:
    """A kernel of vector cores that reads L2, and one of cube cores that reads HBM."""
    copies = rotation_copies(REGION_BYTES, l2_bytes)
    assert copies is not None  # 8 MiB take some 50
    regions = itertools.cycle(
        [torch.zeros(REGION_BYTES, dtype=torch.uint8, device=device) for _ in range(copies)]
    )
    matrix = torch.zeros(VECTOR_ROWS, VECTOR_COLUMNS, dtype=torch.bfloat16, device=device)

    def vector() -> None:
        microbenchmarks.copy(matrix, tile_rows=16, tile_bytes=512, repeats=VECTOR_REPEATS)

    def cube() -> None:
        ops.prefetch([next(regions)], engine="cube")

    def both() -> None:
        with prefetch_beside([next(regions)], engine="cube"):
            vector()

    try:
        times = {
            name: summary(timer.samples_us([call] * copies))
            for name, call in (("vector_us", vector), ("cube_us", cube), ("both_us", both))
        }
    except RuntimeError as error:
        return {"error": one_line(error)}
    one, other, together = (times[name]["median"] for name in ("vector_us", "cube_us", "both_us"))
    shorter = min(one, other)
    overlapped = 100 * (one + other - together) / shorter if shorter > 0 else None
    return {**times, "overlapped_pct": overlapped}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file. Returns the exit status: 1 if results in a graph are not the eager ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args(arguments)
    torch_npu = npus.require()
    npu, device = torch_npu.npu, device_of(torch_npu)
    l2_bytes = twin.find_chip(npu.get_device_name())["l2_mib"] << 20
    result = measure(GraphTimer(npu), device, l2_bytes, lambda found: keep(options.json, found))
    right = all(found.get("results_equal") for found in result["engines"].values())
    return 0 if right and "error" not in result["overlap"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
