"""The forms of a layer that are compared, each as two layers in sequence."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from ascend_prefetch import _C
from ascend_prefetch.lab.bench.inputs import total_bytes
from ascend_prefetch.lab.bench.layer_config import LayerConfig
from ascend_prefetch.lab.bench.layer_ops import DryOp, LayerOps
from ascend_prefetch.lab.bench.layer_parts import Part, attention_parts, feed_forward_parts
from ascend_prefetch.lab.bench.modelled import timeline
from ascend_prefetch.lab.bench.upstream import upstream_cmo
from ascend_prefetch.lab.rivals.compare import mlapo_kernels
from ascend_prefetch.lab.timing import TimedChip
from ascend_prefetch.lab.timing.sequence import CmoPrefetch, SequenceStep, TracedKernel
from ascend_prefetch.linear import stored_weight
from ascend_prefetch.planning import Decision, Window

PartSteps = list[tuple[str, list[SequenceStep]]]
"""The steps of a layer, by the names of its parts, in order."""

TwoLayers = tuple[PartSteps, PartSteps]

OWN_PARTS = ("prolog", "o_proj")
"""The parts that this project replaces."""


class Layer:
    """One of several layers in a row.

    Attributes:
        ops: its prolog and o_proj.
        attention: the parts between the two.
        feed_forward: the parts after o_proj.
        floor_bytes: bytes that HBM has to deliver, each once. What attention writes stays in L2.
    """

    def __init__(
        self,
        config: LayerConfig,
        number: int,
        layer_ops: LayerOps,
        hbm_share: float = 1.0,
        launch_us: float = 0.0,
    ) -> None:
        """Arguments as for attention_parts; layer_ops are the layer's ops."""
        self.number = number
        self.ops = layer_ops
        self.attention = attention_parts(config, layer_ops.dims, number, hbm_share, launch_us)
        self.feed_forward = feed_forward_parts(config, layer_ops.dims, number)
        weights = layer_ops.weights
        self.floor_bytes = layer_ops.prolog.floor_bytes
        self.floor_bytes += total_bytes([weights.w_uv, weights.o_proj])
        reads = [read for part in self.attention + self.feed_forward for read in part.reads]
        self.floor_bytes += sum(read.nbytes for read in reads)


class LayerForms:
    """Two layers in sequence, with a method for each form.

    Attributes:
        decisions: the planner's decisions for the second layer, by form.
    """

    def __init__(
        self, config: LayerConfig, chip: TimedChip, layers: tuple[Layer, Layer], case: str
    ) -> None:
        """
        Args:
            config: the layer.
            chip: the chip of the model; the twin must play it.
            layers: the two layers.
            case: which length windows have.
        """
        self.config = config
        self.chip = chip
        self.first, self.second = layers
        self.decisions: dict[str, list[Decision]] = {}
        self._case = case

    def none(self) -> TwoLayers:
        """Separate kernels without prefetches."""
        return self._separate(list)

    def cmo_once(self) -> TwoLayers:
        """Separate kernels with CMO prefetches as vLLM Ascend had them."""
        return self._separate(upstream_cmo)

    def cmo_duplicate(self) -> TwoLayers:
        """The same as cmo_once, with o_proj prefetched twice."""
        return self._separate(functools.partial(upstream_cmo, duplicate=True))

    def cmo_best(self) -> TwoLayers:
        """Fused kernels with CMO prefetches alone, whose size and place the planner chooses."""
        return self._fused("cmo_best", in_kernel=False, sdma=True)

    def fused_no_prefetch(self) -> TwoLayers:
        """Fused kernels without prefetches."""
        return self._fused("", in_kernel=False, sdma=False)

    def in_kernel(self) -> TwoLayers:
        """Fused kernels with their own prefetches."""
        return self._fused("in_kernel", in_kernel=True, sdma=False)

    def mlapo(self) -> TwoLayers | None:
        """vLLM Ascend's fused prolog, and the rest as separate kernels; None where it cannot run.

        What the fused prolog does not compute of an indexer's projections stays separate.
        """
        layers = []
        for layer in (self.first, self.second):
            fused = mlapo_kernels(self.config, layer.ops.dims, self.chip.soc, layer.number)
            if fused is None:
                return None
            separate = layer.ops.prolog.kernels(separate=True)
            indexer = [kernel for kernel in separate if kernel.name.startswith("indexer_")]
            o_proj = layer.ops.o_proj.kernels(separate=True)
            layers.append(self._parts(layer, [*fused, *indexer], o_proj))
        return layers[0], layers[1]

    def _separate(self, cmo: Callable[[list[TracedKernel]], Sequence[SequenceStep]]) -> TwoLayers:
        def parts(layer: Layer) -> PartSteps:
            prolog = cmo(layer.ops.prolog.kernels(separate=True))
            return self._parts(layer, prolog, cmo(layer.ops.o_proj.kernels(separate=True)))

        return parts(self.first), parts(self.second)

    def _parts(
        self, layer: Layer, prolog: Sequence[SequenceStep], o_proj: Sequence[SequenceStep]
    ) -> PartSteps:
        return [
            ("prolog", list(prolog)),
            *self._others(layer.attention),
            ("o_proj", list(o_proj)),
            *self._others(layer.feed_forward),
        ]

    def _others(self, parts: Sequence[Part]) -> PartSteps:
        return [(part.name, [part.step(self._case)]) for part in parts]

    def _fused(self, form: str, in_kernel: bool, sdma: bool) -> TwoLayers:
        decisions: list[Decision] = []
        if form:
            self.decisions[form] = decisions
        return (
            self._fused_layer(self.first, in_kernel, sdma, []),
            self._fused_layer(self.second, in_kernel, sdma, decisions),
        )

    def _fused_layer(
        self, layer: Layer, in_kernel: bool, sdma: bool, decisions: list[Decision]
    ) -> PartSteps:
        prolog, o_proj = layer.ops.prolog, layer.ops.o_proj
        o_proj_weight = stored_weight(layer.ops.weights.o_proj)
        stages = (
            _Stage("prolog", prolog, "o_proj", o_proj_weight, layer.attention, "before o_proj"),
            _Stage(
                "o_proj",
                o_proj,
                "qkv_a",
                layer.ops.next_qkv_a,
                layer.feed_forward,
                "before the next prolog",
            ),
        )
        parts: PartSteps = []
        for stage in stages:
            parts += self._stage_parts(stage, in_kernel, sdma, decisions)
        return parts

    def _stage_parts(
        self, stage: _Stage, in_kernel: bool, sdma: bool, decisions: list[Decision]
    ) -> PartSteps:
        passing = sum(part.nbytes for part in stage.parts)
        options = {"prefetch_passing_bytes": [passing]} if in_kernel else {"prefetch_bytes": 0}
        (kernel,) = stage.op.kernels(**options)
        warmed = 0
        if in_kernel:
            for decision in stage.op.plan(**options).decisions:
                window = f"{stage.op.name}, {decision.window}"
                decisions.append(decision._replace(weight=stage.weight_name, window=window))
                warmed += decision.bytes
        parts: PartSteps = [(stage.name, [kernel]), *self._others(stage.parts)]
        if sdma:
            # A prefetch starts when the step before it ends.
            pieces = self._plan_sdma(stage, warmed, decisions)
            for (_, steps), (offset, nbytes) in zip(parts, pieces, strict=True):
                if nbytes:
                    weight = stage.weight
                    steps.append(CmoPrefetch(weight.data_ptr(), weight.nbytes, offset, nbytes))
        return parts

    def _plan_sdma(
        self, stage: _Stage, warmed: int, decisions: list[Decision]
    ) -> list[tuple[int, int]]:
        """(offset, bytes) that SDMA loads before each part and after the last one."""
        # Between two kernels HBM idles while the second is launched and starts. The shortest such
        # time is assumed, as the reader would otherwise have to wait for SDMA. The length of a
        # window includes its launch.
        launch = timeline(self.chip, "low", self.config.launch_us).launch_us
        passing = sum(part.nbytes for part in stage.parts)
        windows = []
        for part in stage.parts:
            idle = launch if part.window is None else 0.0
            windows.append(_launch_gap(f"before {part.name}", part.name, idle, passing))
            passing -= part.nbytes
        windows.append(_launch_gap(stage.last_window, stage.weight_name, launch, 0))
        pieces = _C.plan_sdma(
            self.chip.soc,
            stage.weight_name,
            stage.weight.nbytes,
            warmed,
            windows,
            self.chip.constants.get("nominal", {}),
        )
        decisions.extend(
            Decision(stage.weight_name, "SDMA", window.name, window.us[0], nbytes, reason)
            for window, (_, nbytes, reason) in zip(windows, pieces, strict=True)
        )
        return [(offset, nbytes) for offset, nbytes, _ in pieces]


def _launch_gap(name: str, before: str, idle_us: float, passing_bytes: int) -> Window:
    """The window in which a kernel is launched: it leaves all cores, and so HBM, idle."""
    return Window(
        name,
        (idle_us, idle_us, idle_us),
        passing_bytes,
        begins="the kernel before it",
        ends=before,
        vector_cores=True,
        cube_cores=True,
    )


class _Stage(NamedTuple):
    """An op, and the parts after it up to the one that uses the weight which the op may prefetch.

    Attributes:
        name: name of the op's part.
        op: the op, which launches one kernel.
        weight_name, weight: the weight that it may prefetch.
        parts: the parts that follow it.
        last_window: name of the launch after them.
    """

    name: str
    op: DryOp
    weight_name: str
    weight: torch.Tensor
    parts: list[Part]
    last_window: str
