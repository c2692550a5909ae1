"""The time of a benchmarked op on a device: modelled from traces, never measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.upstream import upstream_cmo
from ascend_prefetch.lab.timing import LEVELS, TimedChip
from ascend_prefetch.lab.timing.sequence import (
    ReplayTimes,
    SequenceStep,
    TracedKernel,
    dry_kernels,
    replay,
)

Times = dict[str, float]
"""Times in us at the low, nominal and high constants."""


class Modelled(NamedTuple):
    """Modelled times of one op with cold weights.

    Attributes:
        us: times by the keys of the command-line contract, without the floor; None for a form that
            does not exist, and for chips without a published HBM rate.
        hbm_read: bytes that the fused kernel reads from HBM, or None.
        l2_hit: bytes that it finds in L2, or None.
    """

    us: dict[str, Times | None]
    hbm_read: int | None
    l2_hit: int | None


OpForms = Mapping[str, Sequence[SequenceStep]]
"""The launched kernels of each form, by the keys of the command-line contract."""


def op_forms(kernels: Callable[..., list[TracedKernel]]) -> OpForms:
    """The forms of a fused op that are compared.

    Args:
        kernels: returns the kernels of a dry call; takes `separate` and prefetch options.
    """
    separate = kernels(separate=True)
    return {
        "fused": kernels(),
        "fused_no_prefetch": kernels(prefetch_bytes=0),
        "separate": separate,
        "separate_cmo": upstream_cmo(separate),
    }


def model_op(forms: OpForms, chip: TimedChip, launch_us: float | None = None) -> Modelled:
    """Models the forms of an op.

    Args:
        forms: the result of op_forms.
        chip: the chip of the model.
        launch_us: launch and start cost, us, that replaces the model's at all levels.
    """
    replays = {name: replays_of(steps, chip, launch_us) for name, steps in forms.items()}
    return _modelled(replays)


def model_warming(
    run: Callable[..., object], chip: TimedChip, launch_us: float | None = None
) -> Modelled:
    """Models a call of the op prefetch; instead of separate kernels, SDMA loads the same bytes.

    Args:
        run: calls the op; takes its options.
        chip: the chip of the model; the twin must play it.
        launch_us: as for model_op.
    """
    kernels = dry_kernels(run)
    with twin.watching_sdma() as ranges:
        run(engine="sdma", cores=None)
    cmo: Times = {}
    for level in LEVELS:
        sdma = timeline(chip, level, launch_us)
        for address, nbytes in ranges:
            sdma.prefetch(address, nbytes)
        sdma.join_prefetch()
        cmo[level] = sdma.now
    us: dict[str, Times | None] = {"fused": cmo, "fused_no_prefetch": None, "separate": None}
    if not kernels:
        return Modelled({**us, "separate_cmo": cmo}, sum(nbytes for _, nbytes in ranges), 0)
    modelled = _modelled({"fused": replays_of(kernels, chip, launch_us)})
    return modelled._replace(us={**us, **modelled.us, "separate_cmo": cmo})


Replays = dict[str, list[ReplayTimes]]
"""The kernels of a sequence, by level."""


def times_of(steps: Sequence[SequenceStep], chip: TimedChip, launch_us: float | None) -> Times:
    """The end of the last kernel of a sequence, us, by level; L2 is cold before the first one."""
    return _ends(replays_of(steps, chip, launch_us))


def replays_of(steps: Sequence[SequenceStep], chip: TimedChip, launch_us: float | None) -> Replays:
    """The times of a sequence's kernels, by level; L2 is cold before the first one."""
    return {level: replay(timeline(chip, level, launch_us), steps) for level in LEVELS}


def warm_us(steps: Sequence[SequenceStep], chip: TimedChip, launch_us: float | None) -> Times:
    """The time of a sequence behind itself, us, by level: all that it reads has just been read."""
    times = {}
    for level in LEVELS:
        line = timeline(chip, level, launch_us)
        replay(line, steps)
        start = line.now
        replay(line, steps)
        times[level] = line.now - start
    return times


def _ends(replays: Replays) -> Times:
    return {level: kernels[-1]["end"] for level, kernels in replays.items()}


def _modelled(forms: Mapping[str, Replays]) -> Modelled:
    """The times of the forms, and the bytes of the fused kernel at nominal constants."""
    counted = forms["fused"]["nominal"][0]["bytes"]
    us: dict[str, Times | None] = {name: _ends(replays) for name, replays in forms.items()}
    return Modelled(us, counted["hbm_read"], counted["l2_hit"])


def timeline(chip: TimedChip, level: str, launch_us: float | None) -> Any:
    """A timeline whose launches cost launch_us, or the table's cost if that is None."""
    return chip.timeline(level, **({} if launch_us is None else {"launch_us": launch_us}))
