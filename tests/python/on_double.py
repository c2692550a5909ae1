"""Runs a module with the double of ACL in the place of a device.

    PYTHONPATH=tests/python:tests/vllm python on_double.py -m MODULE ARGUMENTS

Ops of CPU tensors go to the double, which also captures and replays; torch_npu is a stand-in whose
clock does not move. So nothing that such a run measures is a time of a device.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch

from acl_double import AclDouble, Graph, acl_double
from ascend_prefetch.lab import microbenchmarks, npu, twin
from ascend_prefetch.lab.bench import measured
from torch_npu_stand_in import StandInNpu, StandInTorchNpu

SOC, RANKS = "Ascend910_9391", 2


class DoubleGraph:
    """An NPUGraph that the double holds."""

    def __init__(self) -> None:
        self.captured: Graph | None = None

    def replay(self) -> None:
        assert self.captured is not None
        self.captured.replay()


class DoubleNpu(StandInNpu):
    """torch.npu whose graphs are captures of the double, which fail as those of a device do.

    Attributes:
        graphs: how many there were.
    """

    def __init__(self, double: AclDouble) -> None:
        super().__init__(lambda graph: 0.0, SOC)
        self.double, self.graphs = double, 0

    def NPUGraph(self) -> DoubleGraph:
        return DoubleGraph()

    @contextlib.contextmanager
    def graph(self, graph: DoubleGraph):
        try:
            with self.double.capture() as captured:
                yield
        except Exception as error:
            # As torch_npu has them.
            raise RuntimeError(str(error)) from error
        graph.captured = captured
        self.graphs += 1

    def set_device(self, number: int) -> None:
        assert number < RANKS


class Profiler:
    """torch_npu.profiler, which sees an all-reduce of 9 us whatever is run."""

    ProfilerActivity = SimpleNamespace(CPU=0, NPU=1)
    ExportType = SimpleNamespace(Text=0)
    ProfilerLevel = SimpleNamespace(Level1=1)
    tensorboard_trace_handler = Path

    @staticmethod
    def _ExperimentalConfig(**_):
        return None

    @staticmethod
    @contextlib.contextmanager
    def profile(activities, on_trace_ready, experimental_config):
        yield
        folder = on_trace_ready / "x_ascend_pt" / "ASCEND_PROFILER_OUTPUT"
        folder.mkdir(parents=True)
        table = "Name,Type,Duration(us)\nhcom_allReduce__1,hcom_allReduce_,9.0\n"
        (folder / "kernel_details.csv").write_text(table)


@contextlib.contextmanager
def on_double():
    """CPU tensors go to the double within; torch_npu is what the block gets."""
    try:
        with TemporaryDirectory() as folder, acl_double() as double:
            for family in ("ascend910_93", "ascend910b"):
                (Path(folder) / f"{family}.o").write_text("the double loads no device code")
            microbenchmarks.connect(Path(folder))
            torch_npu = StandInTorchNpu(DoubleNpu(double))
            torch_npu.profiler = Profiler
            yield torch_npu
    finally:
        # Once the double is unloaded: the laboratory's ops would go on to use it.
        microbenchmarks.connect()


# So few, and so little, that a run takes seconds.
SMALL = {"ROUNDS": 2, "SAMPLES": 3, "WIDTHS": (576, 2304)}
L2_MIB = 1
MAINS = {"ascend_prefetch": "ascend_prefetch.lab.cli"}
"""Where the main of a module is that has none itself."""


def main(words: list[str]) -> int:
    """Calls the module's main, with small sizes."""
    module, *arguments = words[words.index("-m") + 1 :]
    find_chip, init = twin.find_chip, torch.distributed.init_process_group
    twin.find_chip = lambda soc: {**find_chip(soc), "l2_mib": L2_MIB}
    torch.distributed.init_process_group = lambda backend: init("gloo")
    measured.device_of = lambda torch_npu: torch.device("cpu")
    # Results hold what memory held: the same everywhere.
    torch.use_deterministic_algorithms(True)
    with on_double() as torch_npu:
        npu.require = lambda: torch_npu
        program = importlib.import_module(MAINS.get(module, module))
        for name, value in SMALL.items():
            if hasattr(program, name):
                setattr(program, name, value)
        return program.main(arguments) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
