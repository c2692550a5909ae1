"""collect-env: what a bug report needs to know about the machine, and nothing about its user."""

from __future__ import annotations

import argparse
from typing import Any

from ascend_prefetch.lab.environment import collect, show

from .common import Verb


def _run(_: argparse.Namespace) -> dict[str, Any]:
    return collect()


VERB = Verb(
    "collect-env",
    "versions and machine, for a bug report",
    _run,
    show,
    description="Prints versions of this package, Python, torch, torch_npu, CANN, driver and "
    "tools, the NPUs, whether vLLM finds the plugin, the machine, and the environment variables "
    "ASCEND_*, VLLM_ASCEND_* and others that matter here. No host or user name; paths that may "
    "hold one are left out. What cannot be found out is a line that says so.",
)
