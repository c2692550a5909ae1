"""The time of a benchmarked op on a device, measured with events, with cold and warm weights.

Calls are captured in sequence into an NPU graph, so that the host does not affect the measurement;
the time of a replay divided by the number of calls is a sample. It includes the cost of a launch in
a graph, as the modelled times do.

Cold: the calls rotate over copies of all tensors, enough that the bytes read between two calls on
the same copy are twice the capacity of L2. Warm: all calls read the same copy, which fits into the
usable share of L2.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ascend_prefetch import _C
from ascend_prefetch.lab import reference, twin
from ascend_prefetch.lab.bench.common import (
    MODELLED_KEYS,
    BenchCase,
    BenchConfig,
    BenchResult,
    Check,
    poisoned_empty,
)
from ascend_prefetch.lab.bench.torch_npu_ops import Cmo, linear_product

REPLAYS = 50
"""Timed replays of a graph; each is a sample."""

MAX_COPIES = 128
"""Maximum number of copies. Weights below 3 MB would need more, and are not measured cold."""

_CALLS = 32  # minimum number of calls in a graph, which share the cost of starting it
_WARM_UPS = 3

Times = dict[str, float]
"""The keys median, p10 and p90, in us."""

Forms = dict[str, dict[str, Times | None] | None]
"""`cold` and `warm` by the keys of modelled_us without the floor; None where modelled_us is."""


class GraphTimer:
    """Times calls in an NPU graph.

    Attributes:
        npu: torch.npu, or a stand-in for it.
        replays: number of samples to take.
    """

    def __init__(self, npu: Any, replays: int = REPLAYS) -> None:
        self.npu, self.replays = npu, replays

    def samples_us(self, calls: Sequence[Callable[[], object]]) -> list[float]:
        """The us per call of each replay of a graph that makes these calls in turn."""
        for call in calls:  # creates things that are made once, such as plans, before the capture
            call()
        graph = self.npu.NPUGraph()
        with self.npu.graph(graph):
            for _ in range(math.ceil(_CALLS / len(calls))):
                for call in calls:
                    call()
        count = math.ceil(_CALLS / len(calls)) * len(calls)
        for _ in range(_WARM_UPS):
            graph.replay()
        # Replays follow each other without a gap, as the host is ahead from the second one on.
        events = [self.npu.Event(enable_timing=True) for _ in range(self.replays + 1)]
        events[0].record()
        for event in events[1:]:
            graph.replay()
            event.record()
        self.npu.synchronize()
        pairs = zip(events, events[1:], strict=False)
        return [before.elapsed_time(after) * 1e3 / count for before, after in pairs]


def summary(samples: Sequence[float]) -> Times:
    """Median and deciles of the samples."""
    deciles = statistics.quantiles(samples, n=10, method="inclusive")
    return {"median": statistics.median(samples), "p10": deciles[0], "p90": deciles[-1]}


def rotation_copies(read_bytes: int, l2_bytes: int) -> int | None:
    """The number of copies of a call's tensors that makes sure that it finds none of them in L2.

    Between two calls on the same copy all other copies are read, at least twice the capacity of L2.
    The result is None if that takes more than MAX_COPIES.
    """
    copies = math.ceil(2 * l2_bytes / read_bytes) + 1
    return copies if copies <= MAX_COPIES else None


def measure(
    torch_npu: Any, case: BenchCase, soc: str, result: BenchResult, timer: GraphTimer
) -> BenchResult:
    """Runs, checks and times a case on the current NPU.

    Args:
        torch_npu: the module.
        case: the case that run_bench made.
        soc: SoC name of the NPU.
        result: the result of the same case on the twin.
        timer: a timer of torch_npu.npu.

    Returns:
        `measured_us`, see Forms; and `npu`: name, torch_npu, copies of the rotation (None if not
        measured cold), replays, the check of the op's results on the device against float64, and
        separate_rel_err, the distance of torch_npu's own ops from the op, None if there are none.
    """
    device = device_of(torch_npu)
    place = functools.partial(placed, device=device)
    check = check_on_device(case, place, result)
    l2_bytes = twin.find_chip(soc)["l2_mib"] << 20
    copies = rotation_copies(case.floor_bytes, l2_bytes)
    touched = case.floor_bytes + result["prefetch"]["planned"]
    warm = touched <= _C.l2_room(soc, 0)
    times = functools.partial(_times, copies=copies, warm=warm, timer=timer)

    op_calls = [functools.partial(case.op, **place(dict(case.arguments))) for _ in _range(copies)]
    forms: Forms = dict.fromkeys(MODELLED_KEYS[1:])
    forms["fused"] = times(op_calls)
    if case.products:  # prefetch itself computes nothing: it has one form
        without = [functools.partial(call, prefetch_bytes=0) for call in op_calls]
        forms["fused_no_prefetch"] = times(without)
    error = None
    if case.separate is not None:
        separate = [case.separate(torch_npu, place) for _ in _range(copies)]
        cmo = Cmo(torch_npu)
        if case.products:
            error = _distance(separate[0](), op_calls[0]())
            forms["separate"] = times(separate)
        forms["separate_cmo"] = times([functools.partial(call, cmo) for call in separate])
    return {
        "measured_us": forms,
        "npu": {
            "name": torch_npu.npu.get_device_name(),
            "torch_npu": torch_npu.__version__,
            "copies": copies,
            "replays": timer.replays,
            "check": check,
            "separate_rel_err": error,
        },
    }


def check_on_device(case: BenchCase, place: Callable[[Any], Any], result: BenchResult) -> Check:
    """Judges a call on the device by the check of the twin; only the caches may change.

    `place` copies the arguments to the device.
    """

    def call(**arguments: Any) -> tuple[Any, dict[str, Any]]:
        there = place(arguments)
        for name in _written(case.op):
            if there.get(name) is not None:
                there[name].fill_(math.nan)  # the case's own cache was written by the twin
        with poisoned_empty():
            outputs = case.op(**there)
        return placed(outputs, torch.device("cpu")), placed(there, torch.device("cpu"))

    outputs, after = call(**case.arguments)
    changed = []
    for name, value in case.arguments.items():
        if name in _written(case.op):
            value.copy_(after[name])
        elif not _same(value, after[name]):
            changed.append(name)
    check = case.check(outputs, result["prefetch"], lambda **arguments: call(**arguments)[0])
    if changed:
        check |= {"ok": False, "max_rel_err": math.inf, "changed": changed}
    return check


def linear_points(
    torch_npu: Any, case: BenchCase, config: BenchConfig, soc: str, timer: GraphTimer
) -> list[dict[str, str]]:
    """The op's 16-bit linear layers as plain products of torch_npu, weights cold.

    Returns:
        Rows of a points file, which `correlate` and `calibrate` read; see
        ascend_prefetch.lab.timing.points. Products that are batched, quantised or too small to be
        measured cold are left out.
    """
    chip = twin.find_chip(soc)
    device = device_of(torch_npu)
    rows: dict[str, dict[str, str]] = {}
    for weight in case.products:
        if not isinstance(weight, torch.Tensor) or weight.dim() != 2:
            continue
        copies = rotation_copies(weight.nbytes, chip["l2_mib"] << 20)
        if copies is None:
            continue
        x = torch.randn(config.tokens, weight.shape[1]).to(weight.dtype).to(device)
        nz = config.weights == "nz"
        calls = [
            linear_product(torch_npu, x, weight.to(device, copy=True), nz) for _ in range(copies)
        ]
        n, k = weight.shape
        layout = "NZ" if nz else "ND"
        name = f"linear-{config.tokens}x{n}x{k}-{config.dtype}-{layout}"
        rows[name] = {
            "id": name,
            "kernel": "gemm",
            "soc": soc,
            "aic": str(chip["aic_count"]),
            "aiv": "0",
            "dtype": config.dtype,
            "m": str(config.tokens),
            "n": str(n),
            "k": str(k),
            "weight_layout": layout,
            "total_bytes": str(weight.nbytes + x.nbytes + 2 * config.tokens * n),
            "tile": "",
            "l2_state": "cold",
            "metric": "task",
            "value_us": f"{statistics.median(timer.samples_us(calls)):.3f}",
            "launch_included": "yes",
            "source": f"bench on {torch_npu.npu.get_device_name()} with torch_npu "
            f"{torch_npu.__version__}: per call of an NPU graph; median of {timer.replays} replays",
        }
    return list(rows.values())


def placed(tree: Any, device: torch.device) -> Any:
    """Copies a tensor, or all tensors in dicts, sequences and dataclasses, to a device.

    A tensor that occurs twice is copied once.
    """
    memory: dict[int, torch.Tensor] = {}

    def copy(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) not in memory:
                memory[id(value)] = value.to(device, copy=True)
            return memory[id(value)]
        if isinstance(value, dict):
            return {name: copy(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(copy(item) for item in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return dataclasses.replace(
                value, **{field.name: copy(getattr(value, field.name)) for field in fields}
            )
        return value

    return copy(tree)


def _times(
    calls: Sequence[Callable[[], object]], copies: int | None, warm: bool, timer: GraphTimer
) -> dict[str, Times | None]:
    return {
        "cold": None if copies is None else summary(timer.samples_us(calls)),
        "warm": summary(timer.samples_us(calls[:1])) if warm else None,
    }


def device_of(torch_npu: Any) -> torch.device:
    """The current NPU, as a device of tensors."""
    return torch.device("npu", torch_npu.npu.current_device())


def _range(copies: int | None) -> range:
    return range(copies or 1)


def _written(op: Callable[..., Any]) -> list[str]:
    """The arguments that an op of ascend_prefetch.ops writes."""
    schema = getattr(torch.ops.ascend_prefetch, op.__name__).default._schema
    return [
        argument.name
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        bits = [tensor.contiguous().view(torch.uint8) for tensor in (first, second)]
        return torch.equal(*bits)
    if isinstance(first, (list, tuple)):
        return all(_same(*pair) for pair in zip(first, second, strict=True))
    return first == second


def _distance(separate: Sequence[torch.Tensor], outputs: Any) -> float:
    """The largest relative error of the separate ops' results, against those of the op."""
    named = [outputs] if isinstance(outputs, torch.Tensor) else [o for o in outputs if o.numel()]
    return max(
        reference.relative_error(theirs.cpu(), ours.cpu().double())
        for theirs, ours in zip(separate, named, strict=False)
    )
