"""demo: runs, checks and replays one layer's attention part, and shows what prefetching saves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.bench.layer_run import LayerRun, run_layer
from ascend_prefetch.lab.plots import draw_timeline
from ascend_prefetch.lab.plots.figure import has_matplotlib
from ascend_prefetch.lab.timing.trace_events import write_trace_events

from .common import OutputOption, Verb, times_text
from .layer import add_layer_arguments, layer_config, layer_headline


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_layer_arguments(parser)
    parser.set_defaults(model="deepseek-v3", tp=16)
    parser.add_argument(
        "--no-prefetch", action="store_true", help="the same without prefetches, which fails"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo.json"),
        metavar="FILE",
        help="t.json: trace events of the sequence at nominal constants, for ui.perfetto.dev "
        "(default demo.json); where matplotlib is installed t.png becomes a picture of them",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    run = run_layer(layer_config(options), prefetch=not options.no_prefetch)
    result = run.result()
    return {**result, "timeline": str(options.out), "picture": _write(run, result, options.out)}


def _write(run: LayerRun, result: dict[str, Any], out: Path) -> str | None:
    """Writes the timeline; returns the name of its picture, or None if none can be drawn."""
    timeline = run.timeline("nominal")
    launches = sum(kernel.start - kernel.launched for kernel in timeline.kernels)
    title = (
        f"{_sequence(result)} of {layer_headline(result)}\nmodelled, not measured: "
        f"{timeline.end:.1f} us, of which launch and start of {len(timeline.kernels)} kernels "
        f"{launches:.1f} us; nominal constants, L2 empty at first"
    )
    write_trace_events(timeline, {"title": title, **result}, out)
    if not has_matplotlib():
        return None
    picture = out.with_suffix(".png")
    draw_timeline(timeline, title, picture)
    return str(picture)


def _sequence(result: dict[str, Any]) -> str:
    return ", ".join(row["kernel"] for row in result["kernels"])


def _show(result: dict[str, Any]) -> None:
    print(f"{_sequence(result)} of {layer_headline(result)}")
    print("on the twin, each on what the one before it left, attention in torch:")
    for op, check in result["check"].items():
        ulp = f", {check['max_ulp']:.2f} ulp" if "max_ulp" in check else ""
        print(
            f"  {op:14}{'ok' if check['ok'] else 'FAILED'}: relative error "
            f"{check['max_rel_err']:.2e}{ulp} against float64 (tolerance {check['tolerance']:.0e})"
        )
    print("planned:")
    for decision in result["plan"]:
        if decision["bytes"]:
            print(
                f"  {decision['bytes'] / 1e6:.2f} MB of {_WEIGHTS[_op(decision)]} in "
                f"{decision['window']}: HBM idles there for {decision['idle_us']:.1f} us"
            )
    account = result["prefetch"]
    megabytes = {name: f"{count / 1e6:.2f}" for name, count in account.items()}
    print(
        f"prefetched, by the traces of these runs: {megabytes['planned']} MB = "
        f"landed {megabytes['landed']} + pending {megabytes['pending']} + "
        f"unused {megabytes['unused']}; duplicated {megabytes['duplicated']}"
    )
    if not account["landed"]:
        print("  FAILED: nothing was in L2 when its reader came")
    print(
        "modelled us, nominal (low to high), launches included, L2 empty at first; "
        "attention as one read of the cache:"
    )
    width = max(len(row["kernel"]) for row in result["kernels"])
    print(f"  {'kernel':{width}}{'without prefetch':>24}{'with prefetch':>24}   found in L2")
    for row in result["kernels"]:
        print(
            f"  {row['kernel']:{width}}{times_text(row['fused_no_prefetch_us']):>24}"
            f"{times_text(row['in_kernel_us']):>24}{row['l2_hit'] / 1e6:10.2f} MB"
        )
    modelled = result["modelled_us"]
    before, after = times_text(modelled["fused_no_prefetch"]), times_text(modelled["in_kernel"])
    print(f"  {'sequence':{width}}{before:>24}{after:>24}")
    saved = result["saved_us"]
    print(
        f"  saved {saved['nominal']:.2f} us "
        f"({saved['low']:.2f} at the low constants, {saved['high']:.2f} at the high ones)"
    )
    print(f"timeline, for ui.perfetto.dev: {result['timeline']}")
    if result["picture"] is not None:
        print(f"picture: {result['picture']}")


# The weight that each op of a layer may prefetch.
_WEIGHTS = {
    "mla_prolog": "o_proj",
    "sfa_prolog": "o_proj",
    "o_proj": "the next layer's qkv_a",
}


def _op(decision: dict[str, Any]) -> str:
    return decision["window"].split(",")[0]


def _passed(result: dict[str, Any]) -> bool:
    right = all(check["ok"] for check in result["check"].values())
    return right and result["prefetch"]["landed"] > 0


VERB = Verb(
    "demo",
    "run a layer's attention part, check it, and see what prefetching saves",
    _run,
    _show,
    _add_arguments,
    description="Runs one decoder layer's attention part (of DeepSeek-V3 at TP16, unless told "
    "otherwise) on the twin: the prolog, attention in torch over a paged cache, and o_proj, each "
    "on what the one before it left, the ops checked against float64. Follows every prefetched "
    "byte through the traces of these runs, which are replayed as one sequence in the timing "
    "model with and without prefetches; attention is then a kernel that reads its cached bytes "
    "once, as in `layer`. Where o_proj prefetches for the next layer, its prolog follows. Sizes "
    "are bytes, times us of the device: modelled, none measured. The exit status is 1 where an "
    "output is wrong, or where no prefetched byte is in L2 when its reader comes.",
    passed=_passed,
    outputs=(OutputOption("out", (".json",), beside=(".png",)),),
)
