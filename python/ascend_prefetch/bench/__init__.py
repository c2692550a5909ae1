"""Benchmarks of the ops on the twin: checked results, wall time against torch, prefetched bytes."""

from .common import BenchConfig, BenchResult
from .mla_prolog import bench_mla_prolog

BENCHES = {"mla_prolog": bench_mla_prolog}

__all__ = ["BENCHES", "BenchConfig", "BenchResult", "bench_mla_prolog"]
