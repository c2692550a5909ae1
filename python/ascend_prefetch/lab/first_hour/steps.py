"""The steps of the first hour on a device, in their order."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ascend_prefetch

PYTHON = (sys.executable,)
"""The command that a step's Python is."""

TESTS = Path(ascend_prefetch.__file__).resolve().parents[2] / "tests"
"""The tests, where the package is installed in place; a wheel has none."""

MAX_RANKS = 16
"""Most ranks of the collective: the widest tensor parallelism of the planner's windows."""

POINTS = "points.csv"
"""The points file that steps add to and correlate and calibrate read, in the report's folder."""


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: name of the step, and of its folder in the report.
        settles: the question that it answers.
        minutes: how long it should take, estimated; nobody has run it.
        command: what is run, in the step's folder.
        devices: least number of NPUs.
        needs: files without which it is not run.
        environment: variables that are set for it.
    """

    name: str
    settles: str
    minutes: int
    command: tuple[str, ...]
    devices: int = 1
    needs: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def limit_s(self) -> float:
        """Seconds after which it is ended: a deadlock never ends by itself."""
        return 60.0 * (10 + 3 * self.minutes)


def first_hour_steps(folder: Path, soc: str, ranks: int) -> list[Step]:
    """The steps, with the three measurements of what is assumed as early as they can be.

    Args:
        folder: the report's folder, in which every step has one of its own.
        soc: SoC name of the NPUs.
        ranks: number of NPUs, from which the collective takes as many as it can.
    """
    points = folder / POINTS
    profile, reduced = (
        folder / step / "kernel_details.csv" for step in ("profile", "collective-aiv")
    )
    return [
        Step(
            "collect-env",
            "which versions, NPUs and variables there are",
            1,
            _verb("collect-env"),
            devices=0,
        ),
        Step("info", "whether the ops can use the NPU", 1, _verb("info"), devices=0),
        Step(
            "smallest",
            "whether a kernel starts and is right: the smallest products of o_proj",
            2,
            _pytest("python/test_o_proj.py", "-m", "npu", "-x", "-k", "odd_dimensions"),
            needs=(TESTS,),
        ),
        Step(
            "fork-join",
            "what it costs to fork and join a side stream in a replayed graph, and whether cube "
            "cores run beside vector cores there",
            2,
            _program("fork_join", "--json", "fork-join.json"),
        ),
        Step(
            "reads",
            "what a byte in L2 is worth to our own kernels: warm against cold reads",
            5,
            _program("reads", "--json", "reads.json", "--points-out", str(points)),
        ),
        *(_collective(mode, min(ranks, MAX_RANKS)) for mode in ("aiv", "default")),
        Step(
            "beside",
            "whether the ops stand beside other work: graphs, streams, collectives, copies",
            10,
            _pytest("npu", "-s"),
            needs=(TESTS,),
        ),
        Step(
            "right",
            "whether all ops are right, apart from models of full size",
            15,
            _pytest("python", "-m", "npu and not large"),
            needs=(TESTS,),
        ),
        *_benches(points),
        Step(
            "profile",
            "how long each kernel of our ops and of torch_npu's products takes by itself",
            2,
            _program("profile", "--out", "kernel_details.csv"),
        ),
        Step(
            "windows",
            "how long the measured collective lasts, as layer --windows reads it",
            1,
            _verb("windows", "--profile", str(reduced), "--out", "windows.json"),
            devices=0,
            needs=(reduced,),
        ),
        Step(
            "correlate",
            "how far the timing model is from the points measured here",
            5,
            _verb("correlate", "--points", str(points)),
            devices=0,
            needs=(points,),
        ),
        Step(
            "correlate-profile",
            "how far it is from the products in the profile",
            2,
            _verb("correlate", "--points", str(profile), "--soc", soc),
            devices=0,
            needs=(profile,),
        ),
        Step(
            "calibrate",
            "which constants this machine has: a chip file for --soc",
            8,
            _verb("calibrate", "--points", str(points), "--out", "chip.json"),
            devices=0,
            needs=(points,),
        ),
    ]


def _verb(name: str, *options: str) -> tuple[str, ...]:
    return (*PYTHON, "-m", "ascend_prefetch", name, *options, "--json", "result.json")


def _program(name: str, *options: str) -> tuple[str, ...]:
    return (*PYTHON, "-m", f"{__package__}.{name}", *options)


def _pytest(*options: str) -> tuple[str, ...]:
    path, *others = options
    return (
        *PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=tests.xml",
        "-c", str(TESTS.parent / "pyproject.toml"), str(TESTS / path), *others,
    )  # fmt: skip


def _collective(mode: str, ranks: int) -> Step:
    """An all-reduce with and without a prefetch beside it, in a process for each rank.

    HCCL_OP_EXPANSION_MODE=AIV has the vector cores do the collective, which leaves the cube cores
    (hicann/hccl, HCCL_OP_EXPANSION_MODE); the default is HCCL's own choice.
    """
    name = f"collective-{mode}"
    command = (
        *PYTHON, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={max(2, ranks)}",
        "-m", f"{__package__}.collective", "--json", "collective.json",
    )  # fmt: skip
    chosen = "on vector cores" if mode == "aiv" else "as HCCL does it by default"
    return Step(
        name,
        f"by how much an all-reduce ({chosen}) is slower while a prefetch moves bytes beside it",
        4,
        (*command, "--profile-out", "kernel_details.csv"),
        devices=2,
        environment={"HCCL_OP_EXPANSION_MODE": "AIV"} if mode == "aiv" else {},
    )


def _benches(points: Path) -> list[Step]:
    """The ops at full size beside torch_npu's own."""
    v3 = ("--model", "deepseek-v3", "--tp", "16")
    adding = ("--points-out", str(points))
    cases = (
        ("mla-tp1", "mla_prolog at TP1", ("mla_prolog", *v3[:3], "1", *adding)),
        ("mla-tp16", "mla_prolog at TP16", ("mla_prolog", *v3, *adding)),
        (
            "mla-w8a8",
            "mla_prolog in W8A8",
            ("mla_prolog", *v3, "--weights", "nz", "--quant", "w8a8"),
        ),
        ("o_proj", "o_proj at TP16", ("o_proj", *v3, *adding)),
        ("sfa", "sfa_prolog at TP16", ("sfa_prolog", "--model", "deepseek-v3.2", *v3[2:], *adding)),
        ("prefetch", "prefetch by vector cores", ("prefetch", *v3)),
        ("prefetch-cube", "prefetch by cube cores", ("prefetch", "--engine", "cube", *v3)),
        ("prefetch-sdma", "prefetch by SDMA", ("prefetch", "--engine", "sdma", *v3)),
    )
    return [
        Step(
            f"bench-{name}",
            f"how long {what} takes, cold and warm, beside torch_npu's own ops",
            2,
            _verb("bench", *options, "--device", "npu"),
        )
        for name, what, options in cases
    ]
