"""Benchmarks of the ops: checked results, wall time against torch, modelled and measured times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ascend_prefetch.lab import npu
from ascend_prefetch.lab.timing import find_timed_chip
from ascend_prefetch.lab.timing.add_points import add_points, known_points

from .common import BenchCase, BenchConfig, BenchResult, run_case
from .measured import GraphTimer, linear_points, measure
from .mla_prolog import check_mla_prolog, mla_prolog_case
from .o_proj import check_o_proj, o_proj_case
from .prefetch import check_prefetch, prefetch_case
from .sfa_prolog import check_sfa_prolog, sfa_prolog_case


class Bench(NamedTuple):
    """The benchmark of one op.

    Attributes:
        check_config: raises ValueError for an invalid configuration, before any work.
        make_case: makes weights and inputs.
    """

    check_config: Callable[[BenchConfig], None]
    make_case: Callable[[BenchConfig], BenchCase]


BENCHES = {
    "mla_prolog": Bench(check_mla_prolog, mla_prolog_case),
    "sfa_prolog": Bench(check_sfa_prolog, sfa_prolog_case),
    "o_proj": Bench(check_o_proj, o_proj_case),
    "prefetch": Bench(check_prefetch, prefetch_case),
}


def run_bench(op: str, config: BenchConfig, points_out: Path | None = None) -> BenchResult:
    """Runs, checks and times an op on the twin; keys as in the command-line contract.

    With the device "npu" it also does so on the NPU, and adds the results of measure().

    Args:
        op: name of an op in BENCHES.
        config: the configuration to run.
        points_out: a points file, to which the op's linear layers are added as measured on the NPU.

    Raises:
        ValueError: the configuration is invalid, the checkpoint does not fit, or the points file
            cannot be read.
        RuntimeError: the NPU cannot be used.
        FileNotFoundError: there is no such checkpoint.
    """
    BENCHES[op].check_config(config)
    if points_out is not None:
        known_points(points_out)
    if config.device != "npu":
        return run_case(op, config, BENCHES[op].make_case(config))
    torch_npu = npu.require()
    soc, device_soc = find_timed_chip(config.soc).soc, torch_npu.npu.get_device_name()
    if soc != device_soc:
        raise ValueError(f"soc: expected {device_soc!r}, which the NPU is, got {soc!r}")
    case = BENCHES[op].make_case(config)
    result = run_case(op, config, case)
    timer = GraphTimer(torch_npu.npu)
    result |= measure(torch_npu, case, soc, result, timer)
    if points_out is not None:
        add_points(points_out, linear_points(torch_npu, case, config, soc, timer))
    return result


def passed(result: BenchResult) -> bool:
    """Whether the op's results are right on the twin and, if it ran there, on the NPU."""
    return result["check"]["ok"] and ("npu" not in result or result["npu"]["check"]["ok"])


__all__ = ["BENCHES", "Bench", "BenchConfig", "BenchResult", "passed", "run_bench"]
