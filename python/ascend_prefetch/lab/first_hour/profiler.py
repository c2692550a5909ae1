"""Profiles of torch_npu."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def profile_table(torch_npu: Any, work: Callable[[], object], table: str) -> str:
    """A table that torch_npu's profiler writes of some work; the rest, some of it large, is gone.

    Source: Ascend PyTorch Profiler user guide.

    Args:
        torch_npu: the module.
        work: what is profiled.
        table: name of a file, such as kernel_details.csv.

    Raises:
        RuntimeError: the profiler wrote no such file.
    """
    profiler = torch_npu.profiler
    with TemporaryDirectory() as folder:
        with profiler.profile(
            activities=[profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU],
            on_trace_ready=profiler.tensorboard_trace_handler(folder),
            experimental_config=profiler._ExperimentalConfig(
                export_type=profiler.ExportType.Text,
                profiler_level=profiler.ProfilerLevel.Level1,
            ),
        ):
            work()
            torch_npu.npu.synchronize()
        found = list(Path(folder).glob(f"*_ascend_pt/ASCEND_PROFILER_OUTPUT/{table}"))
        if not found:
            raise RuntimeError(f"torch_npu's profiler wrote no {table}")
        return found[0].read_text(encoding="utf-8")
