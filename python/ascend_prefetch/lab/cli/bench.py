"""bench: runs, checks and times an op, or all ops, at full size on the twin and on an NPU."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ascend_prefetch.lab import npu
from ascend_prefetch.lab.bench import BENCHES, BenchConfig, passed, run_bench
from ascend_prefetch.lab.bench.table import bench_table, row_passed, row_verdict
from ascend_prefetch.models import model_name

from .common import OutputOption, Verb, progress, times_text, whole
from .op_options import add_op_arguments, bench_config, require_model

# The argument that stands for all ops.
_ALL = "all"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_op_arguments(parser, [*BENCHES, _ALL])
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="directory of a Hugging Face checkpoint (safetensors); rank 0 is "
        "loaded, and its config.json is the model unless --model says otherwise. Random weights "
        "without it",
    )
    parser.add_argument("--layer", type=whole(0), default=0, help="layer of the checkpoint")
    parser.add_argument(
        "--device",
        choices=("cpu", "npu"),
        help="npu: measure on the NPU, too; cpu: the twin alone. Without it npu where there is one",
    )
    parser.add_argument(
        "--l2-state",
        choices=("cold", "warm"),
        default="cold",
        help="warm: model the fused kernel behind a call that read the same weights, too",
    )
    parser.add_argument(
        "--points-out",
        type=Path,
        metavar="FILE.csv",
        help="add the op's linear layers as measured on the NPU to a points file, for correlate "
        "and calibrate",
    )
    # By default the chip of the NPU, if there is one.
    parser.set_defaults(soc=None)


# The chip of modelled times where there is no NPU to tell its own.
_SOC = "Ascend910_9391"


def _run(options: argparse.Namespace) -> dict[str, Any]:
    config = _config(options)
    if options.points_out is not None and config.device != "npu":
        raise ValueError("points-out: expected none without an NPU to measure on (--device npu)")
    if options.op == _ALL:
        return _run_all(options, config)
    if not config.model and config.checkpoint is not None:
        config = dataclasses.replace(config, model=model_name(str(config.checkpoint)))
    require_model(config.model)
    if config.l2_state == "warm" and options.op == "prefetch":
        raise ValueError("l2-state: expected cold for prefetch, whose bytes are cold by definition")
    return run_bench(options.op, config, options.points_out)


def _config(options: argparse.Namespace) -> BenchConfig:
    device, soc = options.device, options.soc
    if device is None:
        status = npu.status()
        device = "cpu" if status.missing else "npu"
        if status.visible and status.missing:
            progress(f"no NPU: {status.missing}; the twin alone")
    if soc is None:
        soc = npu.require().npu.get_device_name() if device == "npu" else _SOC
    options = argparse.Namespace(**{**vars(options), "soc": soc})
    config = bench_config(options, options.checkpoint, options.layer)
    return dataclasses.replace(config, device=device, l2_state=options.l2_state)


def _run_all(options: argparse.Namespace, config: BenchConfig) -> dict[str, Any]:
    if options.checkpoint is not None:
        raise ValueError("checkpoint: expected none with 'all', which runs several models")
    if options.points_out is not None:
        raise ValueError("points-out: expected none with 'all'; run the ops one by one")
    chosen = {
        name: [value]
        for name, value in (
            ("models", config.model or None),
            ("quants", options.quant),
            ("layouts", options.weights),
        )
        if value is not None
    }
    return {"rows": bench_table(config, **chosen, progress=progress)}


def _show(result: dict[str, Any]) -> None:
    if "rows" in result:
        _show_table(result["rows"])
        return
    check, run, prefetch = result["check"], result["twin"], result["prefetch"]
    rows = [
        *_requantised_rows(result),
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
        *_modelled_rows(result),
        *_measured_rows(result),
        (
            "prefetched",
            f"{prefetch['planned'] / 1e6:.2f} MB: landed "
            f"{prefetch['landed'] / 1e6:.2f}, pending {prefetch['pending'] / 1e6:.2f}, unused "
            f"{prefetch['unused'] / 1e6:.2f}, duplicated {prefetch['duplicated'] / 1e6:.2f}",
        ),
    ]
    print(
        f"{result['op']} {result['model']} TP{result['tp']} T={result['tokens']} "
        f"{result['dtype']} {result['quant']} {result['weights']}{_engine_text(result)} on "
        f"{result['soc']} "
        f"({'twin and NPU' if 'npu' in result else 'twin'})"
    )
    for name, text in rows:
        print(f"  {name:15} {text}")


def _requantised_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    errors = result.get("requantised")
    if errors is None:
        return []
    text = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    return [
        ("requantised", f"weights of the checkpoint, relative error of {result['quant']}: {text}")
    ]


def _engine_text(result: dict[str, Any]) -> str:
    return f" by {result['engine']}" if "engine" in result else ""


# Keys of modelled_us, and their descriptions.
_FORMS = {
    "floor": "bytes that must move at the best HBM rate, no launch",
    "fused": "with its own prefetch",
    "fused_no_prefetch": "without",
    "fused_warm": "behind a call that read the same weights",
    "separate": "the same mathematics as separate kernels",
    "separate_cmo": "with CMO prefetches (SDMA) as vLLM Ascend had them",
}


def _modelled_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    times = result["modelled_us"]
    if times["floor"] is None:
        return [("modelled", "no published HBM rate for this chip")]
    rows = [
        (
            "modelled us" if index == 0 else "",
            f"{name:18}{times_text(times[name], 7)}  {text}",
        )
        for index, (name, text) in enumerate(_FORMS.items())
        if times.get(name) is not None
    ]
    moved = result["bytes"]
    rows.append(
        (
            "modelled MB",
            f"read from HBM {moved['hbm_read'] / 1e6:.1f}, found in L2 "
            f"{moved['l2_hit'] / 1e6:.1f}, floor {moved['floor'] / 1e6:.1f}",
        )
    )
    return rows


def _measured_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    if "npu" not in result:
        return []
    device, check = result["npu"], result["npu"]["check"]
    rows = [
        (
            "check on NPU",
            f"{'ok' if check['ok'] else 'FAILED'}: relative error {check['max_rel_err']:.2e}"
            f"{_ulp_text(check)}",
        )
    ]
    for name, times in result["measured_us"].items():
        if times is not None:
            title = "measured us" if len(rows) == 1 else ""
            cells = (f"{key} {_measured_text(times[key])}" for key in ("cold", "warm"))
            rows.append((title, f"{name:18}{'  '.join(cells)}"))
    rows.append(
        (
            "",
            f"median (p10 to p90) of {device['replays']} replays of an NPU graph on "
            f"{device['name']}; cold: over {device['copies']} copies",
        )
    )
    return rows


def _measured_text(times: dict[str, float] | None) -> str:
    if times is None:
        return "not measured"
    return f"{times['median']:.1f} ({times['p10']:.1f} to {times['p90']:.1f})"


def _ulp_text(check: dict[str, Any]) -> str:
    if "max_ulp" not in check:
        return ""
    return f", {check['max_ulp']:.2f} ulp (tolerance {check['ulp_tolerance']:.0f})"


_COLUMNS = (
    "op", "model", "quant", "weights", "check", "rel. error", "ulp",
    "twin ms", "torch ms", "ratio", "RSS MB", "prefetched MB",
)  # fmt: skip


def _show_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints a line for each row; one without numbers has the reason in their place."""
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


def _passed(result: dict[str, Any]) -> bool:
    if "rows" in result:
        return all(row_passed(row) for row in result["rows"])
    return passed(result)


VERB = Verb(
    "bench",
    "run an op at full size on the twin, and an NPU, and check it",
    _run,
    _show,
    _add_arguments,
    description="Runs an op on the twin, checks it against float64, times it against torch "
    "float32 eager in the same process and accounts for the bytes it prefetched. Wall times "
    "are seconds of this host, sizes are bytes. Modelled times are us of the device, replayed "
    "from the kernels' traces with cold weights at low, nominal and high constants, and null "
    "where there is no such form or no model of the chip. On an NPU the same forms are measured, "
    "in us, with cold and with warm weights, the separate ones with torch_npu's own ops, and the "
    "op's results are checked there as well. `all` runs every op, model, "
    "quantisation and weight layout, a process each, which takes about half an hour at full "
    "size; --model, --quant and --weights then choose from them.",
    passed=_passed,
    outputs=(OutputOption("points_out"),),
)
