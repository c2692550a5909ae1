"""layer: models one decoder layer's attention part with and without prefetching."""

from __future__ import annotations

import argparse
from typing import Any

from ascend_prefetch.lab.bench.layer import LayerConfig, model_layer
from ascend_prefetch.planning import Decision

from .common import Verb, byte_count, positive, times_text
from .op_options import add_model_arguments, require_model

_FORMS = {
    "floor": "bytes that must move at the best HBM rate, no launch",
    "none": "separate kernels",
    "cmo_once": "with CMO prefetches as vLLM Ascend had them",
    "cmo_duplicate": "with o_proj asked for twice",
    "fused_no_prefetch": "fused kernels",
    "cmo_best": "with CMO alone, as the planner sizes and anchors it",
    "in_kernel": "with MTE2 in the kernels alone",
    "planned": "with both",
}


def add_layer_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a layer."""
    add_model_arguments(parser)
    parser.add_argument("--batch", type=positive, default=16, help="sequences, one token each")
    parser.add_argument("--kv-len", type=positive, default=4096, help="cached tokens of each")
    parser.add_argument(
        "--moe-bytes",
        type=byte_count,
        default=0,
        help="bytes of expert weights that are read after o_proj; 0 (default) for none",
    )


def layer_config(options: argparse.Namespace) -> LayerConfig:
    """The layer that the options of `add_layer_arguments` describe.

    Raises:
        ValueError: no model was given.
    """
    require_model(options.model)
    return LayerConfig(
        model=options.model,
        tp=options.tp,
        batch=options.batch,
        kv_len=options.kv_len,
        dtype=options.dtype,
        weights=options.weights or "nd",
        quant=options.quant or "none",
        soc=options.soc,
        launch_us=options.launch_us,
        moe_bytes=options.moe_bytes,
    )


def layer_headline(result: dict[str, Any]) -> str:
    """One line that names the layer of a result."""
    return (
        f"{result['model']} TP{result['tp']} batch {result['batch']} KV {result['kv_len']} "
        f"{result['dtype']} {result['quant']} {result['weights']}, "
        f"{result['moe_bytes'] / 1e6:.0f} MB of experts, on {result['soc']}"
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    return model_layer(layer_config(options))


def _show(result: dict[str, Any]) -> None:
    print(
        f"layer of {layer_headline(result)}: modelled us, nominal (low to high), and gain over none"
    )
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
    for name, gain in result["prefetch"].items():
        saved = gain["saved_us"]
        print(
            f"  {name} brings {gain['bytes'] / 1e6:.2f} MB in {gain['idle_us']:.1f} us of idle HBM "
            f"and saves {saved['nominal']:.1f} us ({saved['low']:.1f} to {saved['high']:.1f})"
        )
    print("  plan:")
    for decision in result["plan"]:
        print(f"    {Decision(**decision)}")


VERB = Verb(
    "layer",
    "model a layer with and without prefetching",
    _run,
    _show,
    add_layer_arguments,
    description="Models one decoder layer's attention part: prolog, attention as a kernel that "
    "reads its cached bytes once, o_proj, and expert weights where there are any; as separate "
    "kernels, fused, and with every way of prefetching. Times are us of the device, modelled "
    "at low, nominal and high constants, and hold launches; gains are percent of `none`.",
)
