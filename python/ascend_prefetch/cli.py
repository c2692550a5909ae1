"""Command line: python -m ascend_prefetch VERB ..."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ascend_prefetch import _C, __version__, twin
from ascend_prefetch.bench import BENCHES, BenchConfig, run_bench
from ascend_prefetch.bench.common import DTYPES, LAYOUTS
from ascend_prefetch.bench.table import bench_table, row_passed, row_verdict
from ascend_prefetch.models import MODELS, QUANTS
from ascend_prefetch.sanitize import (
    Mutant,
    mutate,
    report_lines,
    report_passed,
    sanitize_report,
)

# In place of an op: every one of them.
_ALL = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns the exit status: 0, 1 when a check failed, 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        result = options.run(options)
        _write(result, options)
    except (ValueError, RuntimeError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"ascend_prefetch {options.verb}: {message}", file=sys.stderr)
        return 2
    return 0 if _passed(result) else 1


def _passed(result: dict[str, Any]) -> bool:
    if "survived" in result:
        return result["survived"] == 0 and result["redundant"] == 0
    if "rows" in result:
        return all(row_passed(row) for row in result["rows"])
    if "checks" in result:
        return report_passed(result)
    return result.get("check", {}).get("ok", True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ascend_prefetch",
        description="Fused Ascend C decode kernels that prefetch the next weights into L2.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)

    info = verbs.add_parser("info", help="versions, backends, chips and models")
    info.set_defaults(run=_info, show=_show_info)

    bench = verbs.add_parser(
        "bench",
        help="run an op at full size on the twin and check it",
        description="Runs an op on the twin, checks it against float64, times it against torch "
        "float32 eager in the same process and accounts for the bytes it prefetched. Wall times "
        "are seconds of this host, sizes are bytes, modelled times are us of the device and null "
        "where nothing models them yet. `all` runs every op, model, quantisation and weight "
        "layout, a process each, which takes about half an hour at full size; --model, --quant "
        "and --weights then choose from them.",
    )
    bench.add_argument("op", choices=[*BENCHES, _ALL])
    bench.add_argument(
        "--model",
        choices=sorted(MODELS),
        metavar="MODEL",
        help="one of: " + ", ".join(sorted(MODELS)),
    )
    bench.add_argument("--tp", type=_positive, default=1, help="tensor-parallel degree (ranks)")
    bench.add_argument("--tokens", type=_positive, default=16, help="tokens in the batch")
    bench.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    bench.add_argument(
        "--weights",
        choices=LAYOUTS,
        help="weight layout: row-major (default) or FRACTAL_NZ",
    )
    bench.add_argument(
        "--quant",
        choices=QUANTS,
        help="none (default), or W8A8 with static or dynamic activation scales",
    )
    bench.add_argument("--soc", default="Ascend910_9391", help="SoC name that the twin plays")
    bench.add_argument(
        "--checkpoint",
        type=Path,
        help="directory of a Hugging Face checkpoint (safetensors); rank 0 is "
        "loaded. Random weights without it",
    )
    bench.add_argument("--layer", type=int, default=0, help="layer of the checkpoint")
    bench.add_argument(
        "--launch-us",
        type=_microseconds,
        help="launch and start cost of a kernel, us, for modelled times that hold one; the floor "
        "holds none",
    )
    bench.set_defaults(run=_bench, show=_show_bench)

    mutate_verb = verbs.add_parser(
        "mutate",
        help="take every synchronisation and rounding of the kernels away, one at a time",
        description="Runs small calls of every op on the twin, in full sanitizer mode, with one "
        "synchronisation call, one pair of them or one rounding of the kernels taken away or "
        "weakened, and lists how that was found. Exit status 1 if anything was not. Takes about "
        "two minutes on two cores.",
    )
    mutate_verb.add_argument(
        "--processes", type=_positive, default=os.cpu_count() or 1, help="that share the work"
    )
    mutate_verb.set_defaults(run=_mutate, show=_show_mutate)

    sanitize = verbs.add_parser(
        "sanitize",
        help="run what the twin must find, and the ops where it must find nothing",
        description="For every error code of the twin: runs small broken kernels, which must be "
        "reported with the code at the right line, and their corrected forms, which must be "
        "clean. Then runs every op on small shapes in full mode. Exit status 1 when something is "
        "missed or not clean. docs/sanitizer.md explains the codes.",
    )
    sanitize.set_defaults(run=_sanitize, show=_show_sanitize)

    for verb in (info, bench, sanitize, mutate_verb):
        verb.add_argument("--json", metavar="FILE", help="write the result as JSON; - for stdout")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {value}")
    return value


def _microseconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"expected 0 or more us, got {text}")
    return value


def _info(_: argparse.Namespace) -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "build": _C.build_info(),
        "backends": {"twin": True, "npu": False},
        "chips": twin.chips(),
        "constants": _C.constants(),
        "models": sorted(MODELS),
        "ops": sorted(BENCHES),
    }


def _bench(options: argparse.Namespace) -> dict[str, Any]:
    config = BenchConfig(
        model=options.model or "",
        tp=options.tp,
        tokens=options.tokens,
        dtype=options.dtype,
        weights=options.weights or "nd",
        quant=options.quant or "none",
        soc=options.soc,
        checkpoint=options.checkpoint,
        layer=options.layer,
    )
    if options.op == _ALL:
        return _bench_all(options, config)
    if not config.model:
        raise ValueError("model: expected one by --model, got none")
    return run_bench(options.op, config)


def _bench_all(options: argparse.Namespace, config: BenchConfig) -> dict[str, Any]:
    if options.checkpoint is not None:
        raise ValueError("checkpoint: expected none with 'all', which runs several models")
    chosen = {
        name: [value]
        for name, value in (
            ("models", options.model),
            ("quants", options.quant),
            ("layouts", options.weights),
        )
        if value is not None
    }
    return {"rows": bench_table(config, **chosen, progress=_progress)}


def _sanitize(_: argparse.Namespace) -> dict[str, Any]:
    return sanitize_report(progress=_progress)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _mutate(options: argparse.Namespace) -> dict[str, Any]:
    table = mutate(processes=options.processes, progress=_mutate_progress)
    return {
        "sites": table.sites,
        "mutants": len(table.mutants),
        "detected": table.detected,
        "documented": table.count("documented"),
        "redundant": table.count("redundant"),
        "survived": table.count("survived"),
        "list": [mutant._asdict() for mutant in table.mutants],
    }


def _mutate_progress(mutant: Mutant, done: int, count: int) -> None:
    if mutant.case == "" or done % 25 == 0 or done == count:
        _progress(f"[{done}/{count}] {mutant.kind} at {mutant.site}: {mutant.verdict}")


def _write(result: dict[str, Any], options: argparse.Namespace) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
        return
    if options.json is not None:
        Path(options.json).write_text(text, encoding="utf-8")
    options.show(result)


def _show_info(result: dict[str, Any]) -> None:
    print(
        f"ascend_prefetch {result['version']}, torch {result['torch']}, "
        f"python {result['python']} on {result['machine']}"
    )
    print("backends: twin (host, CPU tensors); npu: not in this build")
    print("ops: " + ", ".join(result["ops"]))
    print("models: " + ", ".join(result["models"]))
    print(
        "chips: "
        + ", ".join(
            f"{chip['name']} ({chip['aic_count']} AIC + {chip['aiv_count']} AIV)"
            for chip in result["chips"]
        )
    )


def _show_sanitize(result: dict[str, Any]) -> None:
    for line in report_lines(result):
        print(line)


def _show_bench(result: dict[str, Any]) -> None:
    if "rows" in result:
        _show_table(result["rows"])
        return
    check, run, prefetch = result["check"], result["twin"], result["prefetch"]
    floor = result["modelled_us"]["floor"]
    rows = [
        (
            "check",
            f"{'ok' if check['ok'] else 'FAILED'}: relative error {check['max_rel_err']:.2e}"
            f" (tolerance {check['tolerance']:.0e}){_ulp_text(check)}",
        ),
        (
            "twin",
            f"{run['wall_s'] * 1e3:.1f} ms on this host, torch float32 eager "
            f"{run['torch_wall_s'] * 1e3:.1f} ms: ratio {run['ratio']:.2f}; "
            f"peak RSS {run['peak_rss_mb']:.0f} MB",
        ),
        (
            "modelled floor",
            "no published HBM rate for this chip"
            if floor is None
            else f"{floor['nominal']:.1f} us: {result['bytes']['floor'] / 1e6:.1f} MB at the best "
            "published HBM read rate, no launch",
        ),
        (
            "prefetched",
            f"{prefetch['planned'] / 1e6:.2f} MB: landed "
            f"{prefetch['landed'] / 1e6:.2f}, pending {prefetch['pending'] / 1e6:.2f}, unused "
            f"{prefetch['unused'] / 1e6:.2f}, duplicated {prefetch['duplicated'] / 1e6:.2f}",
        ),
    ]
    print(
        f"{result['op']} {result['model']} TP{result['tp']} T={result['tokens']} "
        f"{result['dtype']} {result['quant']} {result['weights']} on {result['soc']} (twin)"
    )
    for name, text in rows:
        print(f"  {name:15} {text}")


def _ulp_text(check: dict[str, Any]) -> str:
    if "max_ulp" not in check:
        return ""
    return f", {check['max_ulp']:.2f} ulp (tolerance {check['ulp_tolerance']:.0f})"


_COLUMNS = (
    "op", "model", "quant", "weights", "check", "rel. error", "ulp",
    "twin ms", "torch ms", "ratio", "RSS MB", "prefetched MB",
)  # fmt: skip


def _show_table(rows: Sequence[dict[str, Any]]) -> None:
    """A line for each row; in place of numbers, why there are none."""
    key_count = _COLUMNS.index("check")
    cells = [[row[name] for name in _COLUMNS[:key_count]] + _row_cells(row) for row in rows]
    complete = [_COLUMNS, *(line for line in cells if len(line) == len(_COLUMNS))]
    widths = [max(len(line[column]) for line in complete) for column in range(len(_COLUMNS))]
    for column in range(key_count):
        widths[column] = max(len(line[column]) for line in [_COLUMNS, *cells])
    for line in [_COLUMNS, *cells]:
        padded = [
            text.ljust(width) if column <= key_count else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=False))
        ]
        print("  ".join(padded).rstrip())
    passed = sum(row_passed(row) and "refused" not in row for row in rows)
    refused = sum("refused" in row for row in rows)
    print(f"{passed} ok, {refused} refused, {len(rows) - passed - refused} failed")


def _row_cells(row: dict[str, Any]) -> list[str]:
    if "check" not in row:
        return [row_verdict(row)]
    check, run = row["check"], row["twin"]
    return [
        row_verdict(row),
        f"{check['max_rel_err']:.2e}",
        f"{check['max_ulp']:.2f}" if "max_ulp" in check else "-",
        f"{run['wall_s'] * 1e3:.1f}",
        f"{run['torch_wall_s'] * 1e3:.1f}",
        f"{run['ratio']:.2f}",
        f"{run['peak_rss_mb']:.0f}",
        f"{row['prefetch']['planned'] / 1e6:.2f}",
    ]


def _show_mutate(result: dict[str, Any]) -> None:
    """What was not found, line by line, and a line for every way in which the others were."""
    unnoticed = [mutant for mutant in result["list"] if mutant["case"] == ""]
    for mutant in unnoticed:
        reference = f" ({mutant['reference']})" if mutant["reference"] else ""
        print(f"{mutant['verdict']}: {mutant['kind']} at {mutant['site']}{reference}")
    verdicts = Counter(mutant["verdict"] for mutant in result["list"] if mutant["case"] != "")
    for verdict, count in verdicts.most_common():
        print(f"{count:5d}  {verdict}")
    print(
        f"{result['mutants']} mutants of {result['sites']} calls: {result['detected']} detected, "
        f"{result['documented']} documented, {result['redundant']} redundant, "
        f"{result['survived']} survived"
    )
