"""One decoder layer, modelled with and without prefetching.

A layer consists of the prolog, attention, o_proj and, as it is served, of collectives, an MLP or
experts (layer_parts.py). All but the prolog and o_proj are other projects' kernels: reads of their
bytes at the best rate, or windows of a published or profiled length. Two layers run in sequence, so
that the second finds in L2 what the first left there; the second is timed. The host is left out in
every form, and so are activation functions and the quantisation between products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.common import BenchConfig
from ascend_prefetch.lab.bench.layer_config import (
    PUBLISHED_WINDOWS,
    LayerConfig,
    check_layer,
)
from ascend_prefetch.lab.bench.layer_forms import OWN_PARTS, Layer, LayerForms, PartSteps, TwoLayers
from ascend_prefetch.lab.bench.layer_memory import layer_memory
from ascend_prefetch.lab.bench.layer_ops import LayerOps
from ascend_prefetch.lab.bench.layer_parts import (
    attention_readers,
    expert_bytes,
    expert_readers,
    left_out,
    source_of,
)
from ascend_prefetch.lab.bench.layer_windows import Gains, WindowForms, layer_decisions, window_rows
from ascend_prefetch.lab.bench.modelled import Times, timeline
from ascend_prefetch.lab.rivals.compare import compare
from ascend_prefetch.lab.timing import LEVELS, TimedChip, find_timed_chip
from ascend_prefetch.lab.timing.sequence import TracedKernel, replay
from ascend_prefetch.lab.timing.timeline import RecordedTimeline, model_timeline
from ascend_prefetch.linear import stored_weight
from ascend_prefetch.planning import Decision
from ascend_prefetch.windows import CASES

__all__ = [
    "FORMS",
    "PUBLISHED_WINDOWS",
    "Layer",
    "LayerConfig",
    "TwoLayerOps",
    "attention_readers",
    "check_layer",
    "expert_readers",
    "model_layer",
]

FORMS = (
    "none",
    "cmo_once",
    "cmo_duplicate",
    "cmo_best",
    "fused_no_prefetch",
    "in_kernel",
    "windows",
)
"""The forms that are compared, besides the floor and `mlapo`; cmo_duplicate exists for static W8A8
only. `windows` has the kernels' own prefetches and those in the windows between them."""

_REPLAYED = FORMS[:-1]

PartTimes = list[tuple[str, float, int]]
"""Name, us and bytes read from HBM of each part."""

Replayed = tuple[Times, dict[str, PartTimes]]
"""The time of a layer, us, and its parts, by level."""


class TwoLayerOps:
    """The ops of two layers in sequence, which several configurations of a layer can share.

    Attributes:
        first, second: the ops of each layer; the first may prefetch the second's qkv_a.
        gains: what weights in L2 are worth to their readers, found so far (WindowForms).
    """

    def __init__(self, config: BenchConfig) -> None:
        """Raises ValueError for an invalid configuration."""
        self.second = LayerOps(config)
        self.first = LayerOps(config, stored_weight(self.second.weights.qkv_a))
        self.gains: Gains = {}


def model_layer(
    config: LayerConfig, layer_ops: TwoLayerOps | None = None, rivals: bool = True
) -> dict[str, Any]:
    """Models a layer in all forms; keys as in the command-line contract.

    Args:
        config: the layer.
        layer_ops: ops that were made for config.bench(); by default new ones.
        rivals: whether to model the prologs of others, which takes time of its own; without them
            `rivals` is empty and `mlapo` None.

    Raises:
        ValueError: the configuration is invalid, or the chip is not modelled.
    """
    if layer_ops is not None and layer_ops.first.config != config.bench():
        raise ValueError(
            f"layer_ops: expected those of {config.bench()}, got those of {layer_ops.first.config}"
        )
    check_layer(config)
    chip = find_timed_chip(config.soc)
    with twin.chip(chip.soc):
        ops = layer_ops or TwoLayerOps(config.bench())
        layers = _two_layers(config, chip, ops)
        forms = LayerForms(config, chip, layers, "nominal")
        found = {
            name: _second_layer(getattr(forms, name)(), chip, config.launch_us)
            for name in _REPLAYED
            if name != "cmo_duplicate" or config.quant == "w8a8"
        }
        mlapo = forms.mlapo() if rivals else None
        planned = None
        if config.windows is not None:
            planned = WindowForms(config, chip, layers, ops.gains)
        found["windows"] = found["in_kernel"]
        if planned is not None:
            found["windows"] = _second_layer(
                planned.windows(forms, "nominal"), chip, config.launch_us
            )
        cases, parts_of_case = _window_cases(config, chip, layers, planned, found)
        rival_rows = compare(config, ops.first, chip) if rivals else []
    times = {name: us for name, (us, _) in found.items()}
    floor = layers[0].floor_bytes / chip.timeline("low").hbm_rate
    us: dict[str, Times | None] = {
        **times,
        "planned": times["windows"],
        "mlapo": None if mlapo is None else _second_layer(mlapo, chip, config.launch_us)[0],
        "floor": dict.fromkeys(LEVELS, floor),
    }
    rows, between = [], []
    if planned is not None:
        rows = window_rows(planned.plans[1], chip)
        between = layer_decisions(planned.plans[1])
    decisions = {**forms.decisions, "windows": [*forms.decisions["in_kernel"], *between]}
    prefetch = {
        name: _prefetch_gain(made, times["fused_no_prefetch"], times[name])
        for name, made in decisions.items()
    }
    prefetch["planned"] = prefetch["windows"]
    moe = config.kind == "moe"
    return {
        **config.reported_layer(),
        "expert_bytes": expert_bytes(config, ops.first.dims) if moe else config.moe_bytes,
        "modelled_us": us,
        "gain_pct": {
            name: None if form is None else _gain(form, times["none"])
            for name, form in us.items()
            if name not in ("none", "floor")
        },
        "windows": rows,
        "windows_bound": _window_bound(rows),
        "windows_case": {case: cases[case] for case in CASES},
        "parts": _part_rows(layers[1], found["windows"][1], parts_of_case),
        "rivals": rival_rows,
        "left_out": left_out(config),
        "memory": layer_memory(config, ops.first.dims) if moe else None,
        "prefetch": prefetch,
        "plan": [decision._asdict() for decision in decisions["windows"]],
    }


def model_windows(config: LayerConfig, layer_ops: TwoLayerOps) -> dict[str, Any]:
    """Models what the windows of a layer bring, without its other forms, in a fraction of the time.

    The first of the two layers is replayed from o_proj on, which leaves in L2 what matters, and the
    ends of the constants' ranges are left out where they decide nothing: windows of long length,
    beside which prefetches slow nothing down.

    Args:
        config: the layer, with windows.
        layer_ops: ops that were made for config.bench().

    Returns:
        The keys windows, windows_bound, memory and windows_case of model_layer; the last has
        `in_kernel` too, of the nominal length, and of the long one the nominal level alone.

    Raises:
        ValueError: the configuration is invalid, has no windows, or the chip is not modelled.
    """
    check_layer(config)
    if config.windows is None:
        raise ValueError("windows: expected lengths, got none")
    chip = find_timed_chip(config.soc)
    with twin.chip(chip.soc):
        layers = _two_layers(config, chip, layer_ops)
        planned = WindowForms(config, chip, layers, layer_ops.gains)
        cases: dict[str, dict[str, Times]] = {}
        for case in CASES:
            forms = LayerForms(config, chip, layers, case)
            made: dict[str, TwoLayers | dict[str, TwoLayers]] = {
                "fused_no_prefetch": forms.fused_no_prefetch(),
                "windows": planned.windows(forms, case),
            }
            if case == "nominal":
                made["in_kernel"] = forms.in_kernel()
            levels = ("nominal",) if case == "long" else LEVELS
            cases[case] = {
                name: _second_layer(form, chip, config.launch_us, levels, "o_proj")[0]
                for name, form in made.items()
            }
    rows = window_rows(planned.plans[1], chip)
    return {
        "windows": rows,
        "windows_bound": _window_bound(rows),
        "windows_case": cases,
        "memory": layer_memory(config, layer_ops.first.dims),
    }


def layer_timeline(config: LayerConfig) -> RecordedTimeline:
    """The second of two layers in the form `windows`, at nominal constants and lengths.

    Its windows have a lane for the side stream and one for SDMA. Other projects' kernels are reads
    at the best rate, or windows: what their cores do is not known, and left out.

    Raises:
        ValueError: as for model_windows.
    """
    check_layer(config)
    if config.windows is None:
        raise ValueError("windows: expected lengths, got none")
    chip = find_timed_chip(config.soc)
    with twin.chip(chip.soc):
        ops = TwoLayerOps(config.bench())
        layers = _two_layers(config, chip, ops)
        planned = WindowForms(config, chip, layers, ops.gains)
        forms = LayerForms(config, chip, layers, "nominal")
        first, second = planned.windows(forms, "nominal")["nominal"]
        line = timeline(chip, "nominal", config.launch_us)
        _replay_parts(line, first)
        names = [f"prefetch {one.weight}" for one in planned.plans[1].fetched()]
        steps = [step for _, steps in second for step in steps]
        recorded = model_timeline(line, steps, ["prefetch[0]", *names])
    own = {step.name for step in steps if isinstance(step, TracedKernel)}
    return replace(
        recorded,
        kernels=[
            one if one.kernel in own else replace(one, intervals=[]) for one in recorded.kernels
        ],
    )


def _two_layers(config: LayerConfig, chip: TimedChip, ops: TwoLayerOps) -> tuple[Layer, Layer]:
    hbm_rate = chip.timeline("nominal").hbm_rate  # refuses chips without a published HBM rate
    share = hbm_rate / TimedChip("Ascend910_9391").timeline("nominal").hbm_rate
    launch = timeline(chip, "nominal", config.launch_us).launch_us
    return (
        Layer(config, 0, ops.first, share, launch),
        Layer(config, 1, ops.second, share, launch),
    )


def _window_cases(
    config: LayerConfig,
    chip: TimedChip,
    layers: tuple[Layer, Layer],
    planned: WindowForms | None,
    nominal: dict[str, Replayed],
) -> tuple[dict[str, dict[str, Times]], dict[str, PartTimes]]:
    """`windows` and `fused_no_prefetch` by length of the windows; the parts of `windows` of each.

    The parts are those of the nominal constants. Where a layer has no windows, all lengths are one.

    Args:
        config, chip, layers: as for LayerForms.
        planned: what is prefetched in windows; None without windows.
        nominal: the forms with windows of nominal length.
    """
    cases, parts = {}, {}
    for case in CASES:
        windows, fused = nominal["windows"], nominal["fused_no_prefetch"]
        if case != "nominal" and planned is not None:
            forms = LayerForms(config, chip, layers, case)
            windows = _second_layer(planned.windows(forms, case), chip, config.launch_us)
            fused = _second_layer(forms.fused_no_prefetch(), chip, config.launch_us)
        cases[case] = {"windows": windows[0], "fused_no_prefetch": fused[0]}
        parts[case] = windows[1]["nominal"]
    return cases, parts


def _gain(us: Times, none: Times) -> Times:
    return {level: 100 * (1 - us[level] / none[level]) for level in LEVELS}


def _prefetch_gain(decisions: list[Decision], without: Times, with_it: Times) -> dict[str, Any]:
    """The bytes that a form prefetches into L2, the idle time that it uses, and the us it saves.

    A prefetched byte saves its HBM time, 1 / 1.49 us per MB and 6 % more with ND2NZ loads, as long
    as other loads keep HBM busy while the byte is read from L2; otherwise it saves the time of the
    read from L2, 1 / 5.96 us per MB, less.
    """
    nbytes = sum(decision.bytes for decision in decisions)
    return {
        "bytes": nbytes,
        "idle_us": sum(decision.idle_us for decision in decisions if decision.bytes),
        "saved_us": {level: without[level] - with_it[level] for level in LEVELS},
    }


def _window_bound(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """The most that windows of short length could save, us, and what of it the plan does."""
    bound = sum(row["bound_us"] for row in rows)
    planned = sum(row["planned_us"] for row in rows)
    return {
        "bound_us": bound,
        "planned_us": planned,
        "share": planned / bound if bound > 0 else None,
    }


def _second_layer(
    layers: TwoLayers | dict[str, TwoLayers],
    chip: TimedChip,
    launch_us: float | None,
    levels: Sequence[str] = LEVELS,
    first_part: str = "",
) -> Replayed:
    """The time of the second of two layers and of its parts, us, by level.

    L2 is cold before the first layer, of which what precedes `first_part` may be left out. Layers
    may be told by level.
    """
    times, parts = {}, {}
    for level in levels:
        line = timeline(chip, level, launch_us)
        first, second = layers[level] if isinstance(layers, dict) else layers
        names = [name for name, _ in first]
        _replay_parts(line, first[names.index(first_part) if first_part else 0 :])
        start = line.now
        parts[level] = _replay_parts(line, second)
        times[level] = line.now - start
    return times, parts


def _replay_parts(line: Any, layer: PartSteps) -> PartTimes:
    found = []
    for name, steps in layer:
        start = line.now
        read = sum(step["bytes"].get("hbm_read", 0) for step in replay(line, steps))
        found.append((name, line.now - start, read))
    return found


def _part_rows(
    layer: Layer, parts: dict[str, PartTimes], parts_of_case: dict[str, PartTimes]
) -> list[dict[str, Any]]:
    """A row per part of `windows`: us by level of the constants, or by length of the window.

    A window lasts as long as its bytes need, so that its us may be above its published lengths.
    """
    others = {part.name: part for part in layer.attention + layer.feed_forward}
    rows = []
    for index, (name, nominal, read) in enumerate(parts["nominal"]):
        part = others.get(name)
        window = None if part is None else part.window
        of_scale = parts if window is None else parts_of_case
        source, provenance, extrapolated = (
            ("the twin's trace in the timing model", "derived", False)
            if part is None
            else source_of(part)
        )
        rows.append(
            {
                "name": name,
                "ours": name in OWN_PARTS,
                "us": {point: of_scale[point][index][1] for point in of_scale},
                "scale": "constants" if window is None else "lengths",
                "nominal_us": nominal,
                "hbm_bytes": read,
                "class": provenance,
                "source": source,
                "extrapolated": extrapolated,
            }
        )
    return rows
