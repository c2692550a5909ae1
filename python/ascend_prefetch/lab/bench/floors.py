"""How far the fused kernels of a decode step are from their floor, and what a prefetch costs them.

No data is computed: times come from dry traces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.common import BenchConfig, floor_us
from ascend_prefetch.lab.bench.layer_ops import DryOp, LayerOps
from ascend_prefetch.lab.bench.modelled import Times, times_of, warm_us
from ascend_prefetch.lab.timing import LEVELS, TimedChip


@dataclass(frozen=True)
class FloorCase:
    """An op of a layer; names as in BenchConfig."""

    op: str
    model: str
    tp: int
    quant: str
    weights: str = "nz"


CASES = (
    FloorCase("mla_prolog", "deepseek-v3", 16, "w8a8"),
    *(FloorCase("mla_prolog", "deepseek-v3", tp, "w8a8_dynamic") for tp in (16, 4, 1)),
    *(FloorCase("sfa_prolog", name, 16, "w8a8_dynamic") for name in ("deepseek-v3.2", "glm-5")),
    *(FloorCase("o_proj", "deepseek-v3", tp, "w8a8_dynamic") for tp in (16, 4, 1)),
    *(FloorCase("mla_prolog", "deepseek-v3", tp, "none") for tp in (16, 1)),
    *(FloorCase("o_proj", "deepseek-v3", tp, "none") for tp in (16, 1)),
    FloorCase("sfa_prolog", "deepseek-v3.2", 16, "none"),
)
"""What is served: W8A8, and bf16 for comparison."""


class FloorRow(TypedDict):
    """A case with a number of tokens on a chip, times in us.

    Attributes:
        constants: SoC name, or the chip file.
        floor: bytes at the best rate of HBM.
        fused, fused_warm: net of launch; fused_warm behind a call that read the same weights.
        over_floor: fused over floor.
        over_no_prefetch: fused over the same kernel without prefetch, launch included.
        prefetched: bytes.
    """

    op: str
    model: str
    tp: int
    quant: str
    weights: str
    tokens: int
    constants: str
    floor: float
    fused: Times
    fused_warm: Times
    over_floor: Times
    over_no_prefetch: Times
    prefetched: int


def floor_rows(
    chips: Sequence[TimedChip],
    tokens: Sequence[int] = (16,),
    cases: Sequence[FloorCase] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> list[FloorRow]:
    """Models all cases.

    Args:
        chips: chips of the model; a case is planned once for each SoC.
        tokens: batches, one token a sequence.
        cases: the ops; CASES without it.
        progress: called with a line before each case.

    Raises:
        ValueError: a case does not exist, or a chip has no published HBM rate.
    """
    rows = []
    cases = CASES if cases is None else cases
    for number, case in enumerate(cases, 1):
        progress(f"[{number}/{len(cases)}] {case.op} {case.model} TP{case.tp} {case.quant}")
        for count in tokens:
            ops = {soc: _op(case, count, soc) for soc in {chip.soc for chip in chips}}
            rows += [_row(case, count, chip, ops[chip.soc]) for chip in chips]
    return rows


def _row(case: FloorCase, tokens: int, chip: TimedChip, op: DryOp) -> FloorRow:
    with twin.chip(chip.soc):
        fused, without = op.kernels(), op.kernels(prefetch_bytes=0)
        planned = op.plan().decisions
    floor = floor_us(op.floor_bytes, op.products, tokens, chip)
    if floor is None:
        raise ValueError(f"soc: no source says how fast the HBM of {chip.soc} is")
    net, whole = times_of(fused, chip, 0.0), times_of(fused, chip, None)
    bare = times_of(without, chip, None)
    return FloorRow(
        op=case.op,
        model=case.model,
        tp=case.tp,
        quant=case.quant,
        weights=case.weights,
        tokens=tokens,
        constants=chip.source or chip.soc,
        floor=floor["nominal"],
        fused=net,
        fused_warm=warm_us(fused, chip, 0.0),
        over_floor={level: net[level] / floor[level] for level in LEVELS},
        over_no_prefetch={level: whole[level] / bare[level] for level in LEVELS},
        prefetched=sum(decision.bytes for decision in planned),
    )


def _op(case: FloorCase, tokens: int, soc: str) -> DryOp:
    ops = LayerOps(
        BenchConfig(
            model=case.model,
            tp=case.tp,
            tokens=tokens,
            quant=case.quant,
            weights=case.weights,
            soc=soc,
        )
    )
    op = ops.o_proj if case.op == "o_proj" else ops.prolog
    if op.name != case.op:
        raise ValueError(f"{case.op}: {case.model} has {op.name}")
    return op
