"""timeline: the work of every core and pipe over time, as trace events or as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench import BENCHES, BenchConfig, modelled
from ascend_prefetch.lab.plots import draw_timeline
from ascend_prefetch.lab.timing import LEVELS, TimedChip, find_timed_chip
from ascend_prefetch.lab.timing.sequence import dry_kernels
from ascend_prefetch.lab.timing.timeline import RecordedTimeline, model_timeline
from ascend_prefetch.lab.timing.trace_events import write_trace_events

from .common import OutputOption, Verb
from .op_options import add_op_arguments, bench_config, require_model


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_op_arguments(parser, BENCHES)
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default="nominal",
        help="end of the constants' ranges, published or fitted, that is taken: low is fastest",
    )
    parser.add_argument(
        "--separate", action="store_true", help="the op as separate kernels, one after the other"
    )
    parser.add_argument(
        "--no-prefetch", action="store_true", help="the op without the loads of its prefetch"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="t.json: trace events, for ui.perfetto.dev; t.png: a picture",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    config = bench_config(options)
    require_model(config.model)
    chip = find_timed_chip(config.soc)
    timeline = _model(options, config, chip)
    facts = _facts(options, config)
    title = _title(timeline, facts)
    if options.out.suffix == ".png":
        draw_timeline(timeline, title, options.out)
    else:
        write_trace_events(timeline, {"title": title, **facts}, options.out)
    return {
        **facts,
        "kernels": [
            {
                "kernel": kernel.kernel,
                "launched_us": kernel.launched,
                "start_us": kernel.start,
                "end_us": kernel.end,
                "bytes": kernel.bytes,
            }
            for kernel in timeline.kernels
        ],
        "prefetched_bytes": sum(count for _, count in timeline.prefetches()),
        "out": str(options.out),
    }


def _model(options: argparse.Namespace, config: BenchConfig, chip: TimedChip) -> RecordedTimeline:
    model = modelled.timeline(chip, options.level, config.launch_us)
    bench = BENCHES[options.op]
    bench.check_config(config)
    case = bench.make_case(config)
    if options.no_prefetch and not case.products:
        raise ValueError(f"no-prefetch: nothing is left of {options.op}")
    if config.engine == "sdma":
        raise ValueError("engine: expected vector or cube, got sdma, which runs no kernel")
    prefetch = {"prefetch_bytes": 0} if options.no_prefetch else {}
    with twin.chip(chip.soc):
        kernels = dry_kernels(case.run, options.separate, **prefetch)
    return model_timeline(model, kernels, case.prefetched)


def _facts(options: argparse.Namespace, config: BenchConfig) -> dict[str, Any]:
    return {
        "op": options.op,
        **config.facts(),
        **({"engine": config.engine} if options.op == "prefetch" else {}),
        "level": options.level,
        "separate": options.separate,
        "no_prefetch": options.no_prefetch,
    }


def _title(timeline: RecordedTimeline, facts: dict[str, Any]) -> str:
    launches = sum(kernel.start - kernel.launched for kernel in timeline.kernels)
    kernels = f"{len(timeline.kernels)} kernels" if len(timeline.kernels) > 1 else "1 kernel"
    return (
        f"{_headline(facts)}\nmodelled, not measured: {timeline.end:.1f} us, of which launch and "
        f"start of {kernels} {launches:.1f} us; {facts['level']} constants, L2 empty at first"
    )


def _headline(facts: dict[str, Any]) -> str:
    form = " as separate kernels" if facts["separate"] else ""
    form += " without prefetch" if facts["no_prefetch"] else ""
    form += f" by {facts['engine']} cores" if "engine" in facts else ""
    return (
        f"{facts['op']} {facts['model']} TP{facts['tp']} T={facts['tokens']} {facts['dtype']} "
        f"{facts['quant']} {facts['weights']}{form} on {facts['soc']}"
    )


def _show(result: dict[str, Any]) -> None:
    print(f"{_headline(result)}: modelled at {result['level']}, L2 empty at first")
    width = max(len(kernel["kernel"]) for kernel in result["kernels"])
    print(
        f"  {'kernel':{width}}  launched us  start us    end us  HBM read MB  L2 hit MB  written MB"
    )
    for kernel in result["kernels"]:
        moved = kernel["bytes"]
        print(
            f"  {kernel['kernel']:{width}}  {kernel['launched_us']:11.1f}  "
            f"{kernel['start_us']:8.1f}  {kernel['end_us']:8.1f}  "
            f"{moved['hbm_read'] / 1e6:11.2f}  {moved['l2_hit'] / 1e6:9.2f}  "
            f"{moved['written'] / 1e6:10.2f}"
        )
    print(f"  {result['prefetched_bytes'] / 1e6:.2f} MB prefetched by cores")
    print(f"wrote {result['out']}")


VERB = Verb(
    "timeline",
    "what every core and pipe does when",
    _run,
    _show,
    _add_arguments,
    description="Replays a dry run of an op in the timing model, with L2 empty at first, and "
    "writes a lane per core and pipe with the rates of HBM and L2 over time, in us: as trace "
    "events, which ui.perfetto.dev opens, or as a picture. Everything in it is modelled, nothing "
    "was measured.",
    outputs=(OutputOption("out", (".json", ".png")),),
)
