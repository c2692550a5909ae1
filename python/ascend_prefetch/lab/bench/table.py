"""The whole table: every op, model, quantisation and weight layout, each in its own process."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ascend_prefetch.lab.bench import BENCHES, passed
from ascend_prefetch.lab.bench.common import LAYOUTS, VARIED_MODELS, BenchConfig
from ascend_prefetch.models import QUANTS

Row = dict[str, Any]


def bench_table(
    config: BenchConfig,
    models: Sequence[str] = VARIED_MODELS,
    quants: Sequence[str] = QUANTS,
    layouts: Sequence[str] = LAYOUTS,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Benchmarks every combination, each in a fresh process, so that peak RSS is that of its row.

    Args:
        config: tensor-parallel degree, tokens, dtype and chip of all rows.
        models: as in BenchConfig.
        quants: names in QUANTS.
        layouts: names in LAYOUTS.
        progress: called with a line after each row.

    Returns:
        Results of run_bench. The row of an invalid combination has op, model, quant, weights and
        `refused`, the reason; the row of a failed run has `error` instead.
    """
    combinations = list(itertools.product(BENCHES, models, quants, layouts))
    rows = []
    for number, (op, model, quant, layout) in enumerate(combinations, 1):
        start = time.monotonic()
        row = _row(op, dataclasses.replace(config, model=model, quant=quant, weights=layout))
        rows.append(row)
        progress(
            f"[{number}/{len(combinations)}] {op} {model} {quant} {layout}: {row_verdict(row)}, "
            f"{time.monotonic() - start:.1f} s"
        )
    return rows


def row_passed(row: Row) -> bool:
    """Whether a row's check succeeded; a refusal counts as success."""
    return "refused" in row or ("error" not in row and passed(row))


def row_verdict(row: Row) -> str:
    """The verdict of a row, as one word or as the reason of a refusal or error."""
    if "refused" in row:
        return f"refused: {row['refused']}"
    if "error" in row:
        return f"ERROR: {row['error']}"
    return "ok" if passed(row) else "FAILED"


def _row(op: str, config: BenchConfig) -> Row:
    key = {
        "op": op,
        "model": config.model,
        "quant": config.quant,
        "weights": config.weights,
    }
    try:
        BENCHES[op].check_config(config)
    except ValueError as refusal:
        return {**key, "refused": str(refusal)}
    run = subprocess.run(
        [sys.executable, "-m", "ascend_prefetch", "bench", *_arguments(op, config), "--json", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode not in (0, 1) or not run.stdout:
        lines = run.stderr.strip().splitlines() or ["no message"]
        return {**key, "error": f"exit status {run.returncode}: {lines[-1]}"}
    return json.loads(run.stdout)


def _arguments(op: str, config: BenchConfig) -> list[str]:
    options = {
        "--model": config.model,
        "--tp": config.tp,
        "--tokens": config.tokens,
        "--dtype": config.dtype,
        "--weights": config.weights,
        "--quant": config.quant,
        "--soc": config.soc,
        "--device": config.device,
    }
    if config.launch_us is not None:
        options["--launch-us"] = config.launch_us
    return [op, *(str(text) for option in options.items() for text in option)]
