"""The tests that a mutant is put before, by the file that it is in; the quick ones first."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

_PROLOGS = (
    "mla_prolog",
    "sfa_prolog",
    "w8a8_prolog",
    "prolog_caches",
    "mla_prolog_without_latent",
    "mla_prolog_prefetch",
    "kernel_loads",
)
_O_PROJ = ("o_proj", "w8a8", "o_proj_prefetch", "kernel_loads")
_PLANS = ("planner", "layer", "prolog_limits")

# Pattern of the file, C++ tests, tests of Python. The first pattern that fits counts.
_JUDGES: Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]] = (
    ("csrc/kernels/o_proj.*", (), _O_PROJ),
    ("csrc/kernels/prolog*", (), (*_PROLOGS, "separate_kernels")),
    ("csrc/kernels/mla_prolog.cpp", (), _PROLOGS),
    ("csrc/kernels/sfa_prolog.cpp", (), _PROLOGS),
    ("csrc/kernels/prefetch*.cpp", (), ("prefetch",)),
    ("csrc/lab/kernels/copy*", ("test_timing_model",), ("correlate", "kernel_loads")),
    ("csrc/lab/kernels/matmul*", ("test_gemm",), ("correlate", "separate_kernels")),
    ("csrc/lab/kernels/*", (), ("separate_kernels",)),
    ("csrc/kernels/*gemm*", ("test_gemm",), (*_O_PROJ, *_PROLOGS)),
    ("csrc/kernels/*warmer*", (), ("prefetch", *_O_PROJ, *_PROLOGS)),
    ("csrc/kernels/*", (), (*_O_PROJ, *_PROLOGS)),
    ("csrc/plan/idle_time*", ("test_idle_time", "test_plan"), _PLANS),
    ("csrc/plan/vector_work.h", ("test_vector_work", "test_idle_time"), _PLANS),
    (
        "csrc/plan/*phases*",
        ("test_plan_phases", "test_idle_time"),
        (*_PROLOGS, "separate_kernels", *_PLANS),
    ),
    ("csrc/plan/plan_prefetch*", ("test_plan_prefetch",), ("prefetch", "planner")),
    (
        "csrc/plan/ub_bytes.h",
        ("test_ub_bytes", "test_plan"),
        ("prolog_limits", *_O_PROJ, *_PROLOGS),
    ),
    ("csrc/plan/plan_layer*", ("test_plan",), _PLANS),
    ("csrc/plan/plan_o_proj*", ("test_plan",), (*_O_PROJ, *_PLANS)),
    ("csrc/plan/plan_prolog*", ("test_plan",), (*_PROLOGS, *_PLANS)),
    (
        "csrc/plan/plan_gemm*",
        ("test_plan", "test_plan_gemm", "test_gemm"),
        (*_PLANS, *_O_PROJ, *_PROLOGS),
    ),
    ("csrc/plan/*", ("test_plan",), (*_PLANS, *_O_PROJ, *_PROLOGS)),
)


CPP = (
    "test_plan",
    "test_plan_gemm",
    "test_plan_phases",
    "test_ub_bytes",
    "test_idle_time",
    "test_vector_work",
    "test_plan_prefetch",
    "test_gemm",
    "test_timing_model",
)
"""The C++ tests that judge anything."""


def judges(path: str) -> tuple[list[str], list[str]]:
    """Names of C++ tests, and files of Python tests, of a source file."""
    for pattern, cpp, python in _JUDGES:
        if fnmatch(path, pattern):
            return list(cpp), [f"tests/python/test_{name}.py" for name in dict.fromkeys(python)]
    raise ValueError(f"{path}: no tests are named for it")
