"""info: lists versions, backends, chips and models."""

from __future__ import annotations

import argparse
import platform
from typing import Any

import torch

from ascend_prefetch import _C, __version__, backends
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench import BENCHES
from ascend_prefetch.models import MODELS

from .common import Verb


def _run(_: argparse.Namespace) -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "build": _C.build_info(),
        "backends": {name: backend.available for name, backend in backends().items()},
        "chips": twin.chips(),
        "constants": _C.constants(),
        "models": sorted(MODELS),
        "ops": sorted(BENCHES),
    }


def _show(result: dict[str, Any]) -> None:
    print(
        f"ascend_prefetch {result['version']}, torch {result['torch']}, "
        f"python {result['python']} on {result['machine']}"
    )
    for name, backend in backends().items():
        print(f"backend {name}: {'' if backend.available else 'none, '}{backend.detail}")
    print("ops: " + ", ".join(result["ops"]))
    print("models: " + ", ".join(result["models"]))
    print(
        "chips: "
        + ", ".join(
            f"{chip['name']} ({chip['aic_count']} AIC + {chip['aiv_count']} AIV)"
            for chip in result["chips"]
        )
    )


VERB = Verb("info", "versions, backends, chips and models", _run, _show)
