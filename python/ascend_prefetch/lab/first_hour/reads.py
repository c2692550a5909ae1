"""Warm against cold reads of our own kernels: what a byte in L2 is worth to its reader.

    python -m ascend_prefetch.lab.first_hour.reads --json FILE --points-out points.csv

Products of ten sizes of weights, each with three weights in turn, which L2 holds, and with as many
as twice L2 takes: the points from which `correlate` works out the worth of a byte in L2. And copies
to both kinds of cores, cold and warm.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ascend_prefetch.lab import microbenchmarks, twin
from ascend_prefetch.lab import npu as npus
from ascend_prefetch.lab.bench.measured import (
    GraphTimer,
    Times,
    device_of,
    rotation_copies,
    summary,
)
from ascend_prefetch.lab.timing.add_points import Row, add_points

from .kept import keep

TOKENS, K = 16, 7168
WIDTHS = tuple(range(576, 2305, 192))
"""Output features of the products: 8 to 33 MB of weights; 2112 is fused_qkv_a of DeepSeek-V3."""

WARM_WEIGHTS = 3
COPY_ROWS, COPY_COLUMNS = 2304, 8192
"""Of the matrix that is copied, 16-bit: 38 MB."""

TILE_ROWS, TILE_BYTES = 16, 512
"""A transfer of a copy: 8 KB, as in the published measurements."""

Result = dict[str, Any]


def measure(
    timer: GraphTimer, device: torch.device, soc: str, kept: Callable[[Result, list[Row]], None]
) -> Result:
    """Measures products and copies.

    Args:
        timer: a timer of the NPU.
        device: where tensors are.
        soc: SoC name of the NPU.
        kept: takes the result, and rows of a points file, whenever they have grown.

    Returns:
        `products` and `copies`: rows with bytes, cold_us, warm_us and saved_us_per_mb, the
        difference of their medians by MB; and `saved_us_per_mb`: median, least and most over the
        products.
    """
    chip = twin.find_chip(soc)
    l2_bytes = chip["l2_mib"] << 20
    result: Result = {"products": [], "copies": []}
    points: list[Row] = []
    x = torch.randn(TOKENS, K).bfloat16().to(device)
    for n in WIDTHS:
        nbytes = 2 * n * K
        copies = _copies(nbytes, l2_bytes)
        weights = [torch.full((n, K), 0.01, dtype=torch.bfloat16, device=device)]
        weights += [weights[0].clone() for _ in range(copies - 1)]
        calls = [functools.partial(microbenchmarks.matmul, x, weight) for weight in weights]
        times = []
        for count in (copies, WARM_WEIGHTS):
            times.append(summary(timer.samples_us(calls[:count])))
            points.append(_product_point(chip, soc, n, count, times[-1]))
        result["products"].append({"n": n, "k": K, **_row(nbytes, *times)})
        values = [row["saved_us_per_mb"] for row in result["products"]]
        result["saved_us_per_mb"] = {
            "median": statistics.median(values),
            "least": min(values),
            "most": max(values),
        }
        kept(result, points)
    nbytes = 2 * COPY_ROWS * COPY_COLUMNS
    copies = _copies(nbytes, l2_bytes)
    matrices = [
        torch.zeros(COPY_ROWS, COPY_COLUMNS, dtype=torch.bfloat16, device=device)
        for _ in range(copies)
    ]
    for to_l1 in (False, True):
        copying = [functools.partial(_copy, matrix, to_l1) for matrix in matrices]
        cold, warm = (summary(timer.samples_us(part)) for part in (copying, copying[:1]))
        points.append(_copy_point(chip, soc, to_l1, cold))
        result["copies"].append({"to": "L1" if to_l1 else "UB", **_row(nbytes, cold, warm)})
        kept(result, points)
    return result


def _copies(nbytes: int, l2_bytes: int) -> int:
    copies = rotation_copies(nbytes, l2_bytes)
    assert copies is not None  # 8 MB take some 50
    return copies


def _copy(matrix: torch.Tensor, to_l1: bool) -> None:
    microbenchmarks.copy(matrix, tile_rows=TILE_ROWS, tile_bytes=TILE_BYTES, to_l1=to_l1)


def _row(nbytes: int, cold: Times, warm: Times) -> Result:
    saved = (cold["median"] - warm["median"]) / (nbytes / 1e6)
    return {"bytes": nbytes, "cold_us": cold, "warm_us": warm, "saved_us_per_mb": saved}


def _product_point(chip: Any, soc: str, n: int, weights: int, times: Times) -> Row:
    return _point(
        soc,
        times,
        id=f"own-matmul-{TOKENS}x{n}x{K}-bf16-ND-rotate{weights}",
        kernel="gemm",
        aic=str(chip["aic_count"]),
        aiv="0",
        dtype="bf16",
        m=str(TOKENS),
        n=str(n),
        k=str(K),
        total_bytes=str(2 * (n * K + TOKENS * K + TOKENS * n)),
        l2_state=f"rotate:{weights}",
    )


def _copy_point(chip: Any, soc: str, to_l1: bool, times: Times) -> Row:
    kernel = "copy_gm_l1" if to_l1 else "copy_gm_ub"
    return _point(
        soc,
        times,
        id=f"own-{kernel}",
        kernel=kernel,
        aic=str(chip["aic_count"] if to_l1 else 0),
        aiv=str(0 if to_l1 else chip["aiv_count"]),
        dtype="bf16",
        m=str(COPY_ROWS),
        n=str(COPY_COLUMNS),
        k="",
        total_bytes=str(2 * COPY_ROWS * COPY_COLUMNS),
        tile=f"{TILE_ROWS * TILE_BYTES >> 10}KB rows of {TILE_BYTES}B",
        l2_state="cold",
    )


def _point(soc: str, times: Times, **columns: str) -> Row:
    return {
        "tile": "",
        "weight_layout": "ND",
        **columns,
        "soc": soc,
        "metric": "task",
        "value_us": f"{times['median']:.3f}",
        "launch_included": "yes",
        "source": "first-hour: own kernel, per call of a replayed NPU graph, median",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--points-out", type=Path, required=True)
    options = parser.parse_args(arguments)
    torch_npu = npus.require()
    soc = torch_npu.npu.get_device_name()

    def kept(result: Result, points: list[Row]) -> None:
        keep(options.json, {"soc": soc, **result})
        add_points(options.points_out, points)

    measure(GraphTimer(torch_npu.npu), device_of(torch_npu), soc, kept)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
