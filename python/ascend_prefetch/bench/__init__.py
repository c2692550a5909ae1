"""Benchmarks of the ops on the twin: checked results, wall time against torch, prefetched bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .common import BenchCase, BenchConfig, BenchResult, run_case
from .mla_prolog import check_mla_prolog, mla_prolog_case
from .o_proj import check_o_proj, o_proj_case
from .prefetch import check_prefetch, prefetch_case
from .sfa_prolog import check_sfa_prolog, sfa_prolog_case


class Bench(NamedTuple):
    """The benchmark of one op.

    Attributes:
        check_config: raises ValueError for a configuration that makes no sense, before any work.
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


def run_bench(op: str, config: BenchConfig) -> BenchResult:
    """Runs, checks and times an op on the twin; keys as in the command-line contract.

    Raises:
        ValueError: a configuration that makes no sense, or a checkpoint that does not fit.
        FileNotFoundError: there is no such checkpoint.
    """
    BENCHES[op].check_config(config)
    return run_case(op, config, BENCHES[op].make_case(config))


__all__ = ["BENCHES", "Bench", "BenchConfig", "BenchResult", "run_bench"]
