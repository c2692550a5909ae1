"""layer: models one decoder layer with and without prefetching."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ascend_prefetch.lab.bench.layer import (
    PUBLISHED_WINDOWS,
    LayerConfig,
    layer_timeline,
    model_layer,
)
from ascend_prefetch.lab.bench.layer_config import KINDS
from ascend_prefetch.lab.timing.trace_events import write_trace_events
from ascend_prefetch.models import model_name
from ascend_prefetch.planning import Decision
from ascend_prefetch.windows import WindowFile, read_window_file

from .common import OutputOption, Verb, byte_count, positive, times_text
from .op_options import add_model_arguments, require_model

_FORMS = {
    "floor": "bytes that must move at the best HBM rate, no launch",
    "none": "separate kernels",
    "cmo_once": "with CMO prefetches as vLLM Ascend had them",
    "cmo_duplicate": "with o_proj asked for twice",
    "mlapo": "with vLLM Ascend's fused prolog, mla_preprocess",
    "fused_no_prefetch": "fused kernels",
    "cmo_best": "with CMO alone, as the planner sizes and anchors it",
    "in_kernel": "with MTE2 in the kernels alone",
    "windows": "and with prefetches in the windows between them",
}


def add_layer_arguments(parser: argparse.ArgumentParser, of_none: str = "for none") -> None:
    """Adds the options of a layer's attention part; of_none is what moe_bytes of 0 stand for."""
    add_model_arguments(parser)
    parser.add_argument("--batch", type=positive, default=16, help="sequences, one token each")
    parser.add_argument("--kv-len", type=positive, default=4096, help="cached tokens of each")
    parser.add_argument(
        "--moe-bytes",
        type=byte_count,
        default=0,
        help=f"bytes of expert weights that are read after o_proj; 0 (default) {of_none}",
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_layer_arguments(
        parser, "for none, with --kind moe for as many as the batch is expected to choose"
    )
    parser.add_argument(
        "--kind", choices=KINDS, default="dense", help="what follows: an MLP (default), or experts"
    )
    parser.add_argument(
        "--dp", type=positive, default=1, help="data-parallel degree; --batch is that of one rank"
    )
    parser.add_argument(
        "--ep",
        type=positive,
        help="expert-parallel degree (ranks); of a moe layer it is tp x dp (default)",
    )
    parser.add_argument(
        "--windows",
        type=Path,
        default=Path(PUBLISHED_WINDOWS),
        metavar="FILE|none",
        help="lengths of collectives and attention: those published (default), those of a file "
        "that the verb windows wrote, or none for the attention part alone, with --kind moe "
        "followed by gate, shared and routed experts",
    )
    parser.add_argument(
        "--prefetch-experts",
        action="store_true",
        help="fetch experts during dispatch, which helps only where grouped products read them "
        "through L2 (unknown, so off by default)",
    )
    parser.add_argument(
        "--timeline",
        type=Path,
        metavar="FILE.json",
        help="write the layer's timeline as trace events, for ui.perfetto.dev: kernels, the side "
        "stream, SDMA, HBM and L2",
    )


def layer_config(options: argparse.Namespace) -> LayerConfig:
    """The attention part that the options of `add_layer_arguments` describe.

    Raises:
        ValueError: no model was given.
    """
    require_model(options.model)
    return LayerConfig(
        model=model_name(options.model),
        tp=options.tp,
        batch=options.batch,
        kv_len=options.kv_len,
        dtype=options.dtype,
        weights=options.weights or "nd",
        quant=options.quant or "none",
        soc=options.soc,
        launch_us=options.launch_us,
        moe_bytes=options.moe_bytes,
        kind=getattr(options, "kind", "dense"),
        dp=getattr(options, "dp", 1),
        ep=getattr(options, "ep", None),
        windows=_windows(getattr(options, "windows", _NO_WINDOWS)),
        prefetch_experts=getattr(options, "prefetch_experts", False),
    )


_NO_WINDOWS = Path("none")


def _windows(source: Path) -> str | WindowFile | None:
    if source == _NO_WINDOWS:
        return None
    return PUBLISHED_WINDOWS if source == Path(PUBLISHED_WINDOWS) else read_window_file(source)


def layer_headline(result: dict[str, Any]) -> str:
    """One line that names the layer of a result."""
    return (
        f"{result['model']} TP{result['tp']} batch {result['batch']} KV {result['kv_len']} "
        f"{result['dtype']} {result['quant']} {result['weights']}, "
        f"{result.get('expert_bytes', result['moe_bytes']) / 1e6:.0f} MB of experts, "
        f"on {result['soc']}"
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    config = layer_config(options)
    result = model_layer(config)
    if options.timeline is not None:
        about = {"title": f"layer of {layer_headline(result)}, modelled, not measured"}
        write_trace_events(layer_timeline(config), about, options.timeline)
    return result


def _show(result: dict[str, Any]) -> None:
    print(
        f"layer of {layer_headline(result)}: modelled us, nominal (low to high), and gain over none"
    )
    if result["window_lengths"] != "none":
        ranks = f", DP{result['dp']} EP{result['ep']}" if result["kind"] == "moe" else ""
        print(f"  a {result['kind']} layer{ranks}; windows of {result['window_lengths']} length")
    for name, text in _FORMS.items():
        times = result["modelled_us"].get(name)
        if times is None:
            continue
        gain = result["gain_pct"].get(name)
        print(
            f"  {name:18}{times_text(times, 7)}"
            + (f" {gain['nominal']:6.1f} %" if gain else " " * 9)
            + f"  {text}"
        )
    for name in ("cmo_best", "in_kernel"):
        gain = result["prefetch"][name]
        saved = gain["saved_us"]
        print(
            f"  {name} brings {gain['bytes'] / 1e6:.2f} MB in {gain['idle_us']:.1f} us of idle HBM "
            f"and saves {saved['nominal']:.1f} us ({saved['low']:.1f} to {saved['high']:.1f})"
        )
    print("  plan:")
    for decision in result["plan"]:
        print(f"    {Decision(**decision)}")
    _show_parts(result)
    if result["left_out"]:
        print(
            "    left out, as the model's configuration does not state its size: "
            + ", ".join(result["left_out"])
        )
    _show_windows(result)
    _show_rivals(result)
    memory = result["memory"]
    if memory is not None and not memory["fits"]:
        print(
            f"  the model's weights do not fit: {memory['weights_bytes'] / 1e9:.0f} GB a rank, "
            f"{memory['die_bytes'] / 1e9:.0f} GB a die"
        )


def _show_parts(result: dict[str, Any]) -> None:
    total = result["modelled_us"]["windows"]["nominal"]
    print("  parts of windows: nominal us, share, range (of constants, or short to long), HBM MB")
    for part in result["parts"]:
        ends = list(part["us"].values())
        note = ", extrapolated" if part["extrapolated"] else ""
        print(
            f"    {part['name']:18}{part['nominal_us']:7.1f}"
            f"{100 * part['nominal_us'] / total:6.1f} %{ends[0]:8.1f} to {ends[2]:6.1f}"
            f"{part['hbm_bytes'] / 1e6:9.1f}  {part['class']}{note}: {part['source']}"
        )


def _show_windows(result: dict[str, Any]) -> None:
    if not result["windows"]:
        return
    print("  windows between kernels: us short / nominal / long, engine, weight, MB, why")
    for row in result["windows"]:
        us = " / ".join(f"{length:.1f}" for length in row["us"].values())
        print(
            f"    {row['name']:18}{us:24}{row['engine']:6}{row['region']:21}"
            f"{row['bytes'] / 1e6:6.2f}  {row['why']}"
            + (" (length extrapolated)" if row["extrapolated"] else "")
        )
    for case, forms in result["windows_case"].items():
        windows, fused = times_text(forms["windows"]), times_text(forms["fused_no_prefetch"])
        print(f"    {case:9}windows {windows}, fused_no_prefetch {fused}")


def _show_rivals(result: dict[str, Any]) -> None:
    print("  prologs of others, alone, L2 cold: modelled us, and if the model errs alike")
    for rival in result["rivals"]:
        if rival["modelled_us"] is None:
            print(f"    {rival['name']:18}not here: {rival['why_not']}")
            continue
        line = f"    {rival['name']:18}{times_text(rival['modelled_us'])}"
        line += f", ours {times_text(rival['ours_us'])}"
        if rival["measured_over_modelled"] is not None:
            line += (
                f"; x {rival['measured_over_modelled']:.2f} as measured: "
                f"{rival['modelled_if_alike_us']['nominal']:.0f}, "
                f"ours {rival['ours_if_alike_us']['nominal']:.0f}"
            )
        print(line)


VERB = Verb(
    "layer",
    "model a layer with and without prefetching",
    _run,
    _show,
    _add_arguments,
    description="Models one decoder layer as it is served: prolog, attention, o_proj, collectives, "
    "and an MLP or experts; as separate kernels, fused, with every way of prefetching, and with "
    "vLLM Ascend's fused prolog. Kernels of others are reads of their bytes, or windows of a "
    "published or profiled length. Times are us of the device, modelled at low, nominal and high "
    "constants, and hold launches; gains are percent of `none`. With `--windows none` it is the "
    "attention part alone, with `--kind moe` followed by gate, shared and routed experts.",
    inputs=("windows",),
    outputs=(OutputOption("timeline", (".json",)),),
)
