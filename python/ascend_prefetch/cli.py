"""Command line: python -m ascend_prefetch VERB ..."""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ascend_prefetch import _C, __version__, twin
from ascend_prefetch.bench import BENCHES, BenchConfig
from ascend_prefetch.bench.common import DTYPES
from ascend_prefetch.models import MODELS


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
    return 0 if result.get("check", {}).get("ok", True) else 1


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
        "where nothing models them yet.",
    )
    bench.add_argument("op", choices=sorted(BENCHES))
    bench.add_argument(
        "--model",
        required=True,
        choices=sorted(MODELS),
        metavar="MODEL",
        help="one of: " + ", ".join(sorted(MODELS)),
    )
    bench.add_argument("--tp", type=_positive, default=1, help="tensor-parallel degree (ranks)")
    bench.add_argument("--tokens", type=_positive, default=16, help="tokens in the batch")
    bench.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    bench.add_argument(
        "--weights",
        choices=("nd", "nz"),
        default="nd",
        help="weight layout: row-major or FRACTAL_NZ",
    )
    bench.add_argument("--quant", choices=("none", "w8a8", "w8a8_dynamic"), default="none")
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

    for verb in (info, bench):
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
        model=options.model,
        tp=options.tp,
        tokens=options.tokens,
        dtype=options.dtype,
        weights=options.weights,
        quant=options.quant,
        soc=options.soc,
        checkpoint=options.checkpoint,
        layer=options.layer,
    )
    return BENCHES[options.op](config)


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


def _show_bench(result: dict[str, Any]) -> None:
    check, run, prefetch = result["check"], result["twin"], result["prefetch"]
    floor = result["modelled_us"]["floor"]
    rows = [
        (
            "check",
            f"{'ok' if check['ok'] else 'FAILED'}: relative error {check['max_rel_err']:.2e}"
            f" (tolerance {check['tolerance']:.0e})",
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
        f"{result['dtype']} {result['weights']} on {result['soc']} (twin)"
    )
    for name, text in rows:
        print(f"  {name:15} {text}")
