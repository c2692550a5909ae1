"""The windows of a layer between kernels: what each could hold, and what is done with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ascend_prefetch import _C
from ascend_prefetch.lab.bench.layer_forms import Layer
from ascend_prefetch.lab.bench.layer_parts import Part
from ascend_prefetch.lab.timing import LEVELS
from ascend_prefetch.linear import stored_weight
from ascend_prefetch.planning import Window


def window_rows(layer: Layer, soc: str, hbm_rate: float) -> list[dict[str, Any]]:
    """A row per window and the weight that is needed next: the contract's key `windows`.

    Beside its keys: `class`, `source` and `extrapolated` of the length, `hbm` (what is known of the
    window's use of HBM) and `passing_bytes` (from its end to the weight's use). bound_us is the
    most that the window could save: the weight's time at the HBM rate, or as long as HBM idles at
    the short length.

    Args:
        layer: the layer.
        soc: SoC name.
        hbm_rate: bytes per us.
    """
    weights = layer.ops.weights
    regions = (
        ("prolog", "o_proj", stored_weight(weights.o_proj).nbytes, layer.attention),
        ("o_proj", "layer+1.fused_qkv_a", layer.ops.next_qkv_a.nbytes, layer.feed_forward),
    )
    rows = []
    for before, region, nbytes, parts in regions:
        for part, window in planner_windows(before, region, parts, hbm_rate):
            rows.append(_row(part, window, region, nbytes, soc, hbm_rate))
    return rows


def planner_windows(
    before: str, region: str, parts: Sequence[Part], hbm_rate: float
) -> Iterator[tuple[Part, Window]]:
    """The parts that are windows, each as one of the planner's, in order of time.

    Args:
        before: what runs before the parts.
        region: the weight whose use follows them.
        parts: the parts.
        hbm_rate: bytes per us.
    """
    for index, part in enumerate(parts):
        known = part.window
        if known is not None:
            short, nominal, long = (
                # What is published of it (busy by itself) or unknown leaves nothing.
                max(0.0, us - part.nbytes / hbm_rate) if known.hbm == "derived" else 0.0
                for us in known.us
            )
            yield (
                part,
                Window(
                    part.name,
                    (short, nominal, long),
                    sum(after.nbytes for after in parts[index + 1 :]),
                    begins=before,
                    ends=parts[index + 1].name if index + 1 < len(parts) else region,
                    cube_cores=known.leaves == "cube",
                ),
            )
        before = part.name


def _row(
    part: Part, window: Window, region: str, nbytes: int, soc: str, hbm_rate: float
) -> dict[str, Any]:
    known = part.window
    assert known is not None
    idle = window.us[0]
    room = min(nbytes, _C.l2_room(soc, window.passing_bytes))
    bound = min(idle, room / hbm_rate)
    return {
        "name": window.name,
        "us": known.us._asdict(),
        # Load and discard by the cube cores that it leaves, else SDMA.
        "engine": "cube" if window.cube_cores else "sdma",
        "region": region,
        "bytes": 0,
        "saved_us": dict.fromkeys(LEVELS, 0.0),
        "bound_us": bound,
        "why": _why(window, known.hbm, room, soc, bound * hbm_rate),
        "class": known.provenance,
        "source": known.source,
        "extrapolated": known.extrapolated,
        "hbm": known.hbm,
        "passing_bytes": window.passing_bytes,
    }


def _why(window: Window, hbm: str, room: int, soc: str, possible: float) -> str:
    """Why nothing is fetched in a window."""
    if hbm == "published":
        return "it keeps HBM busy itself, and nobody says that another could use what is left"
    if hbm == "unknown":
        return "how much of HBM it uses is not published: it counts as busy all the time"
    if room <= 0:
        passing = window.passing_bytes or 0
        return (
            f"{passing / 1e6:.0f} MB pass through L2 before the use, which holds "
            f"{_C.l2_room(soc, 0) / 1e6:.0f}"
        )
    return (
        f"no kernel is launched beside it: HBM idles for {window.us[0]:.1f} us at the short "
        f"length, in which {possible / 1e6:.1f} MB could come"
    )
