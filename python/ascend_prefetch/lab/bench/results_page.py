"""The results page, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ascend_prefetch.lab.bench.layer import FORMS
from ascend_prefetch.lab.timing import LEVELS

Times = Mapping[str, float]
Results = Mapping[str, Any]


def results_page(
    results: Results,
    commands: Sequence[str],
    picture: str | None = None,
    served_picture: str | None = None,
) -> str:
    """The page.

    Args:
        results: the result of make_results.
        commands: the commands that made the page.
        picture: link from the page to the picture of the sweep; None without one.
        served_picture: likewise, of the served layers.
    """
    scope = results["scope"]
    parts = [
        "# Results",
        "**Everything on this page is modelled. Nothing was measured on a device.** Times are "
        "what the timing model makes of the kernels' traces, us, with launch and start; cells "
        "hold them at low / nominal / high constants, the ends of what was published or fitted. "
        "Weights are cold.",
        "Earlier editions of this page were made with other constants: launches of 4.2 us, ND2NZ "
        "loads 6 % slower than HBM, L2 that reads every line at its peak. Eight constants are now "
        "fitted to published times of kernels, which makes all forms slower, those of many "
        "launches most; [the timing model](timing-model.md) says which, and how far off it is. "
        "`--soc examples/published_constants.json` has the constants of before.",
        "This page is generated; do not edit it. To make it again:",
        "```sh\n" + "\n".join(commands) + "\n```",
        *_served(results["served"], served_picture),
        *_correlation(results["correlation"]),
        *_ops(results["ops"], scope),
        *_layers(results["layers"], scope),
        *_sweep(results["sweep"], picture),
    ]
    return "\n\n".join(parts) + "\n"


def _correlation(correlation: Results) -> list[str]:
    points = correlation["points"]
    rows = [
        [
            point["id"],
            f"{point['measured_us']:.1f}",
            f"{point['low_us']:.1f} / {point['modelled_us']:.1f} / {point['high_us']:.1f}",
            f"{point['error_pct']:+.1f}",
        ]
        for point in points
    ]
    worst = max(points, key=lambda point: abs(point["error_pct"]))
    return [
        "## The model against measurements",
        "By others, with sources in `measured.csv` of `ascend_prefetch.lab.timing`. Mean absolute "
        f"error {correlation['mape']:.1f} %, worst {worst['error_pct']:+.1f} % "
        f"(`{worst['id']}`), {correlation['within_10pct']:.0%} within 10 %.",
        _table(["Point", "Measured us", "Modelled us", "Error at nominal, %"], rows),
    ]


def _ops(ops: Sequence[Results], scope: Results) -> list[str]:
    parts = [
        f"## Single ops: {scope['op_model']} on {scope['soc']}",
        "The floor is the bytes that must move at the best HBM rate, without launch. Net of launch "
        "is the fused kernel at a launch cost of 0.",
    ]
    for name in dict.fromkeys(op["op"] for op in ops):
        found = [op for op in ops if op["op"] == name]
        parts += [
            f"### {name}",
            _table(
                ["TP", "Weights", "T", "Floor us", "Fused", "Without prefetch", "Separate kernels",
                 "Separate with CMO", "Fused / floor", "Net of launch / floor",
                 "Separate / fused"],
                [_op_row(op) for op in found],
            ),
            f"{name}: separate kernels over fused, by launch and start cost of a kernel:",
            _table(
                ["TP", "Weights", "T", *(f"{us:g} us" for us in scope["launches"])],
                [
                    [
                        *_op_key(op),
                        *(_over(at["separate"], at["fused"]) for at in op["launches"]),
                    ]
                    for op in found
                ],
            ),
        ]  # fmt: skip
    return parts


def _op_key(op: Results) -> list[str]:
    return [str(op["tp"]), op["weights"], str(op["tokens"])]


def _op_row(op: Results) -> list[str]:
    us = op["modelled_us"]
    forms = ("fused", "fused_no_prefetch", "separate", "separate_cmo")
    net = next((at["fused"] for at in op["launches"] if at["launch_us"] == 0), None)
    return [
        *_op_key(op),
        f"{us['floor']['nominal']:.1f}",
        *(_levels(us[form]) for form in forms),
        _over(us["fused"], us["floor"]),
        "-" if net is None else _over(net, us["floor"]),
        _over(us["separate"], us["fused"]),
    ]


def _layers(layers: Sequence[Results], scope: Results) -> list[str]:
    def rows(cells: Callable[[Results], list[str]]) -> list[list[str]]:
        return [
            [layer["model"], layer["quant"], f"{layer['moe_bytes'] / 1e6:.0f}", *cells(layer)]
            for layer in layers
        ]

    key = ["Model", "Quantisation", "Experts MB"]
    gained = FORMS[1:]
    return [
        f"## A layer: TP{scope['layer_tp']}, batch {scope['layer_batch']}, KV "
        f"{scope['layer_kv_len']} on {scope['soc']}",
        "Prolog, attention as a kernel that reads its cached bytes once, o_proj, and a layer's "
        "expert weights where there are any. `none`: separate kernels; `cmo_*`: with prefetches "
        "by SDMA; `in_kernel`: by the kernels' own MTE2; `windows`: likewise, as collectives and "
        "what follows o_proj beside experts are left out here (`--windows none`).",
        _table(
            [*key, "floor us", *FORMS],
            rows(
                lambda layer: [
                    f"{layer['modelled_us']['floor']['nominal']:.1f}",
                    *(_levels(layer["modelled_us"].get(form)) for form in FORMS),
                ]
            ),
        ),
        "Gain over `none`, %, and last of `windows` over `fused_no_prefetch`:",
        _table(
            [*key, *gained, "windows over fused"],
            rows(
                lambda layer: [
                    *(_levels(layer["gain_pct"].get(form)) for form in gained),
                    _levels(_gain_over_fused(layer["modelled_us"])),
                ]
            ),
        ),
        "What the planner decided in `windows`:",
        _table(
            [*key, "Weight", "Engine", "Window", "MB", "Why"],
            [
                [
                    layer["model"], layer["quant"], f"{layer['moe_bytes'] / 1e6:.0f}",
                    one["weight"], one["engine"], one["window"], f"{one['bytes'] / 1e6:.2f}",
                    one["reason"],
                ]
                for layer in layers
                for one in layer["plan"]
            ],
        ),
    ]  # fmt: skip


def _gain_over_fused(us: Mapping[str, Times]) -> Times:
    ships, fused = us["windows"], us["fused_no_prefetch"]
    return {level: 100 * (1 - ships[level] / fused[level]) for level in LEVELS}


def _served(totals: Results | None, picture: str | None) -> list[str]:
    if totals is None:
        return []
    rows = [
        [
            one["quant"], f"TP{one['tp']} DP{one['dp']} EP{one['tp'] * one['dp']}",
            f"{one['least']:.2f}", f"{one['median']:.2f}", f"{one['most']:.2f}",
        ]
        for one in totals["gains"]
    ]  # fmt: skip
    return [
        f"## Layers as they are served: {totals['rows']} configurations",
        *([] if picture is None else [f"![Gains of the windows between kernels]({picture})"]),
        "MoE layers with collectives, the exchange of experts and attention in the denominator "
        "([what is in it](layer.md)): by how much the windows between kernels make them faster "
        "than the same kernels without prefetches, %, at nominal constants and lengths. "
        f"{totals['counted']} configurations count: the model fits a die, and no window in which "
        "something is fetched has an extrapolated length.",
        _table(["Quantisation", "Ranks", "Least", "Median", "Most"], rows),
        f"Of what windows of short length could save if their engine worked from begin to end, "
        f"the plan gets {100 * totals['least_share']:.0f} % or more. The worst configuration at "
        f"any constants and any length changes by {totals['worst_pct']:+.2f} %.",
    ]


def _sweep(totals: Results | None, picture: str | None) -> list[str]:
    if totals is None:
        return []
    rows = [
        [
            name if level == LEVELS[0] else "",
            level,
            *(
                text
                for end in ("worst", "best")
                for text in (f"{found[end]['ratio']:.3f}", _where(found[end]))
            ),
        ]
        for name, levels in totals["ratios"].items()
        for level, found in levels.items()
    ]
    return [
        f"## The sweep: {totals['rows']} configurations",
        "Time over time, worst and best of all rows at each level.",
        _table(["Ratio", "Level", "Worst", "Where", "Best", "Where"], rows),
        *([] if picture is None else [f"![Gains of planned prefetching]({picture})"]),
    ]


def _where(row: Results) -> str:
    parts = [row["model"], f"TP{row['tp']}", f"T={row['tokens']}", f"KV {row['kv_len']}"]
    if row["moe_bytes"]:
        parts.append(f"{row['moe_bytes'] / 1e6:.0f} MB of experts")
    parts += [row[key] for key in ("quant", "weights", "soc")]
    return " ".join(parts)


def _levels(times: Times | None, digits: int = 1) -> str:
    if times is None:
        return "-"
    # Adding 0 turns -0.0 into 0.0.
    return " / ".join(f"{round(times[level], digits) + 0:.{digits}f}" for level in LEVELS)


def _over(above: Times, below: Times) -> str:
    return _levels({level: above[level] / below[level] for level in LEVELS}, 2)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
