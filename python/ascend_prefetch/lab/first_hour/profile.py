"""A profile of our ops, and of their linear layers as torch_npu's products.

python -m ascend_prefetch.lab.first_hour.profile --out kernel_details.csv
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ascend_prefetch.files import whole_file
from ascend_prefetch.lab import npu as npus
from ascend_prefetch.lab.bench import BENCHES, BenchConfig
from ascend_prefetch.lab.bench.measured import device_of, placed
from ascend_prefetch.lab.bench.torch_npu_ops import linear_product

from .profiler import profile_table

OPS = (("mla_prolog", "deepseek-v3"), ("sfa_prolog", "deepseek-v3.2"), ("o_proj", "deepseek-v3"))
TP = 16
CALLS = 30


def calls_of(
    torch_npu: Any, op: str, config: BenchConfig, device: torch.device
) -> list[Callable[[], object]]:
    """A call of an op, and one of each of its 16-bit products."""
    case = BENCHES[op].make_case(config)
    calls: list[Callable[[], object]] = [
        functools.partial(case.op, **placed(dict(case.arguments), device))
    ]
    for weight in case.products:
        if isinstance(weight, torch.Tensor) and weight.dim() == 2:
            x = torch.randn(config.tokens, weight.shape[1]).to(weight.dtype).to(device)
            calls.append(linear_product(torch_npu, x, weight.to(device, copy=True), nz=False))
    return calls


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the profile. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    torch_npu = npus.require()
    device = device_of(torch_npu)
    soc = torch_npu.npu.get_device_name()
    calls = [
        call
        for op, model in OPS
        for call in calls_of(torch_npu, op, BenchConfig(model, tp=TP, soc=soc), device)
    ]

    def work() -> None:
        for _ in range(CALLS):
            for call in calls:
                call()

    work()  # loads the kernels and makes the plans
    with whole_file(options.out) as part:
        part.write_text(profile_table(torch_npu, work, "kernel_details.csv"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
