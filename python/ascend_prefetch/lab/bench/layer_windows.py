"""The windows of a layer between kernels: what is prefetched in them, and what that saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ascend_prefetch import _C
from ascend_prefetch.lab.bench.layer_config import LayerConfig
from ascend_prefetch.lab.bench.layer_forms import Layer, LayerForms, PartSteps, TwoLayers
from ascend_prefetch.lab.bench.layer_parts import Part
from ascend_prefetch.lab.bench.modelled import Times, timeline
from ascend_prefetch.lab.timing import LEVELS, TimedChip
from ascend_prefetch.lab.timing.sequence import (
    Beside,
    CmoPrefetch,
    Join,
    Pause,
    Reader,
    SequenceStep,
    replay,
)
from ascend_prefetch.linear import stored_weight
from ascend_prefetch.planning import (
    MOST_LOSS_SHARE,
    SLOWED_SHARES,
    Decision,
    EngineCost,
    LayerPart,
    LayerWeight,
    Window,
    WindowDecision,
    plan_windows,
)
from ascend_prefetch.windows import CASES, KnownWindow, Lengths, idle_lengths, planner_window

SPARSE_ATTENTION = "sparse_attention"
"""The window from before the indexer to o_proj."""

LAUNCH_GAP = "launch_gap"

EXPERTS = ("experts", "experts_gate_up", "experts_down")
"""Weights that grouped products may read around L2: fetched where the user asks for it only."""

# Addresses of the weights of the layer behind the last one, apart from all others.
_NEXT_LAYER_ADDRESS = 1 << 54
_NEXT_LAYER_STRIDE = 1 << 36


Gains = dict[tuple[object, ...], float]
"""us that a reader takes, by its name and bytes, the bytes of its weights in L2, what kernels warm,
and level."""


class _Weight(NamedTuple):
    """A weight that is read after a window, and the part that reads it."""

    name: str
    address: int
    nbytes: int
    reader: str


@dataclass(frozen=True)
class LayerWindows:
    """What is prefetched in the windows of a layer.

    Attributes:
        decisions: the planner's, in order of time.
        weights: all weights that are read after a window, by name.
        gains: us that a weight's reader saves, by level, through what a window brings of it; by
            names of window and weight.
        known: the windows as they are known, by name.
    """

    decisions: list[WindowDecision]
    weights: Mapping[str, _Weight]
    gains: Mapping[tuple[str, str], Times]
    known: Mapping[str, KnownWindow]

    def fetched(self, window: str | None = None) -> list[WindowDecision]:
        """The decisions that fetch something, of one window or of all."""
        return [one for one in self.decisions if one.bytes and window in (None, one.window)]


class WindowForms:
    """Two layers in sequence whose windows are planned.

    Attributes:
        plans: what is prefetched in the windows of each layer.
    """

    def __init__(
        self, config: LayerConfig, chip: TimedChip, layers: tuple[Layer, Layer], gains: Gains
    ) -> None:
        """
        Args:
            config, chip, layers: as for LayerForms; the twin must play the chip.
            gains: what is known already of the same ops; new ones are added.
        """
        self._chip = chip
        first, second = layers
        following = _placeholders(_prolog_weights(first))
        plan = _Planner(config, chip, second, following, gains).plan()
        # The first layer's weights lie elsewhere; else the two are alike.
        weights = _Planner(config, chip, first, _prolog_weights(second), gains).weights()
        self.plans = (replace(plan, weights=weights), plan)

    def windows(self, forms: LayerForms, case: str) -> dict[str, TwoLayers]:
        """By level: kernels with their own prefetches, and those of the windows.

        Args:
            forms: the forms with windows of the same case.
            case: which length windows have.
        """
        first, second = forms.in_kernel()
        return {
            level: (
                self._with_windows(first, self.plans[0], case, level),
                self._with_windows(second, self.plans[1], case, level),
            )
            for level in LEVELS
        }

    def _with_windows(
        self, parts: PartSteps, plan: LayerWindows, case: str, level: str
    ) -> PartSteps:
        slowed = dict(zip(CASES, SLOWED_SHARES, strict=True))[case]
        result = [(name, list(steps)) for name, steps in parts]
        by_name = dict(result)
        for window in dict.fromkeys(one.window for one in plan.fetched()):
            pieces = plan.fetched(window)
            cost = engine_cost(self._chip, pieces[0].engine, level)
            readers = [_piece(plan, one) for one in pieces]
            slowed_us = slowed * cost.slowing * cost.busy_us(sum(one.bytes for one in pieces))
            if pieces[0].engine == "sdma":
                begin, end = _ends(window, parts)
                names = [name for name, _ in parts]
                for name in names[names.index(begin) : names.index(end) + 1]:
                    by_name[name][:] = [_spread(step) for step in by_name[name]]
                by_name[begin][:0] = [
                    CmoPrefetch(
                        one.address, one.nbytes, one.offset, one.length, delay=cost.start_us
                    )
                    for one in readers
                ]
                by_name[end].append(Join(cost, slowed_us))
                continue
            (pause,) = by_name[window]
            assert isinstance(pause, Pause)
            beside = Beside(tuple(readers), cost.start_us, cost.join_us, slowed_us)
            by_name[window][:] = [Pause(pause.name, pause.us, pause.reads, beside)]
        return result


def engine_cost(chip: TimedChip, engine: str, level: str) -> EngineCost:
    """The cost of an engine at a level of the chip's constants."""
    return _C.engine_cost(chip.soc, engine, level, chip.constants.get(level, {}))


def _ends(window: str, parts: PartSteps) -> tuple[str, str]:
    """The first and the last part that a window spans."""
    names = [name for name, _ in parts]
    if window == SPARSE_ATTENTION:
        return "indexer", SPARSE_ATTENTION
    if window == LAUNCH_GAP:
        # It begins where the last part ends: no step follows in which SDMA could start.
        return names[-1], names[-1]
    return window, window


def _spread(step: SequenceStep) -> SequenceStep:
    # The planner has counted on what its reads leave of HBM's rate.
    return replace(step, spread=True) if isinstance(step, Pause) else step


def _piece(plan: LayerWindows, one: WindowDecision) -> Reader:
    weight = plan.weights[one.weight]
    return Reader(f"prefetch {one.weight}", weight.address, weight.nbytes, one.offset, one.bytes)


def _prolog_weights(layer: Layer) -> list[_Weight]:
    return [
        _Weight(f"layer+1.{name}", tensor.data_ptr(), tensor.nbytes, "prolog")
        for name, tensor in layer.ops.prolog_weights()
    ]


def _placeholders(weights: Sequence[_Weight]) -> list[_Weight]:
    return [
        weight._replace(address=_NEXT_LAYER_ADDRESS + index * _NEXT_LAYER_STRIDE)
        for index, weight in enumerate(weights)
    ]


class _Planner:
    """Plans the windows of one layer."""

    def __init__(
        self,
        config: LayerConfig,
        chip: TimedChip,
        layer: Layer,
        following: list[_Weight],
        gains: Gains,
    ) -> None:
        self._config = config
        self._gains = gains
        self._chip = chip
        self._layer = layer
        self._weights: list[_Weight] = []
        self._parts: list[LayerPart] = []
        self._known: dict[str, KnownWindow] = {}
        self._hbm_rate = chip.timeline("nominal").hbm_rate
        forms = LayerForms(config, chip, (layer, layer), "nominal")
        kernels = dict(forms.in_kernel()[1])
        self._kernels: dict[str, SequenceStep] = {
            name: kernels[name][0] for name in ("prolog", "o_proj")
        }
        warmed = {"o_proj": 0, "qkv_a": 0}
        for decision in forms.decisions["in_kernel"]:
            warmed[decision.weight] += decision.bytes
        self._warmed = {"o_proj": warmed["o_proj"], "layer+1.fused_qkv_a": warmed["qkv_a"]}
        self._lay_out(following)

    def _lay_out(self, following: list[_Weight]) -> None:
        layer = self._layer
        if layer.ops.dims.indexer is not None and all(part.window for part in layer.attention):
            self._add_window(SPARSE_ATTENTION, layer.attention)
        else:
            for part in layer.attention:
                self._add(part, "")
        own = (("w_uv", layer.ops.weights.w_uv), ("o_proj", layer.ops.weights.o_proj))
        self._add_reader(
            "o_proj",
            [
                _Weight(name, tensor.data_ptr(), tensor.nbytes, "o_proj")
                for name, tensor in ((name, stored_weight(linear)) for name, linear in own)
            ],
        )
        for part in layer.feed_forward:
            self._add(part, part.name)
        self._add_launch_gap()
        self._add_reader("prolog", following)

    def _add(self, part: Part, weight: str) -> None:
        if part.window is not None:
            self._add_window(part.name, [part])
        elif weight and (weight not in EXPERTS or self._config.prefetch_experts):
            (read,) = part.reads
            self._kernels[part.name] = read
            self._add_reader(part.name, [_Weight(weight, read.address, read.nbytes, part.name)])
        else:
            self._parts.append(LayerPart(part.name, part.nbytes))

    def _add_reader(self, name: str, weights: list[_Weight]) -> None:
        first = len(self._weights)
        self._weights += weights
        self._parts.append(LayerPart(name, 0, list(range(first, first + len(weights)))))

    def _add_window(self, name: str, parts: Sequence[Part]) -> None:
        """A window that spans parts."""
        nbytes = sum(part.nbytes for part in parts)
        known = [part.window for part in parts if part.window is not None]
        sdma_rate = engine_cost(self._chip, "sdma", "nominal").rate
        idle = [
            idle_lengths(part.window, part.nbytes, self._hbm_rate, sdma_rate)
            for part in parts
            if part.window is not None
        ]
        short, nominal, long = (sum(lengths) for lengths in zip(*idle, strict=True))
        self._known[name] = _joined(name, known)
        window = planner_window(
            name,
            (short, nominal, long),
            begins=self._parts[-1].name if self._parts else "prolog",
            ends="the part after it",
            leaves="cube" if all(one.leaves == "cube" for one in known) else "none",
        )
        self._parts.append(LayerPart(name, nbytes, [], window))

    def _add_launch_gap(self) -> None:
        """Between two kernels HBM idles while the second is launched: for the shortest launch.

        All cores are free then, but the launch of a kernel that prefetches takes as long as the gap
        lasts: SDMA alone could use it.
        """
        us = timeline(self._chip, "low", self._config.launch_us).launch_us
        self._known[LAUNCH_GAP] = KnownWindow(
            LAUNCH_GAP, Lengths(us, us, us), "published", "the model's shortest launch"
        )
        window = Window(
            LAUNCH_GAP,
            (us, us, us),
            0,
            begins=self._parts[-1].name,
            ends="prolog",
        )
        self._parts.append(LayerPart(LAUNCH_GAP, 0, [], window))

    def weights(self) -> dict[str, _Weight]:
        """The weights that are read after a window, by name."""
        return {one.name: one for one in self._weights}

    def plan(self) -> LayerWindows:
        worth, least = self._worth("nominal"), self._worth("high")
        weights = [
            LayerWeight(
                one.name,
                one.nbytes,
                self._warmed.get(one.name, 0),
                worth[one.name],
                min(worth[one.name], least[one.name]),
            )
            for one in self._weights
        ]
        decisions = plan_windows(
            self._chip.soc,
            self._parts,
            weights,
            MOST_LOSS_SHARE * self._worst_us(),
            self._chip.constants.get("nominal", {}),
            self._chip.constants.get("high", {}),
        )
        by_name = self.weights()
        fetched = [one for one in decisions if one.bytes]
        gains = {}
        for reader in dict.fromkeys(by_name[one.weight].reader for one in fetched):
            mine = [one for one in fetched if by_name[one.weight].reader == reader]
            ranges = [(one.weight, one.offset, one.bytes) for one in mine]
            gained = {level: self._gain(reader, ranges, level) for level in LEVELS}
            parts = [one.bytes * worth[one.weight] for one in mine]
            for one, part in zip(mine, parts, strict=True):
                gains[one.window, one.weight] = {
                    level: us * part / sum(parts) for level, us in gained.items()
                }
        return LayerWindows(decisions, by_name, gains, self._known)

    def _worst_us(self) -> float:
        """A lower bound of the layer's time at high constants, with windows of short length."""
        line = timeline(self._chip, "high", self._config.launch_us)
        windows = sum(one.us.short for one in self._known.values())
        launches = sum(part.window is None for part in self._parts)
        return windows + launches * line.launch_us + self._layer.floor_bytes / line.hbm_rate

    def _worth(self, level: str) -> dict[str, float]:
        """us per MB by which each weight in L2 makes its reader faster, cold less warm by replay.

        Weights of one reader are warmed in the order in which it reads them.
        """
        worth = {}
        for reader in dict.fromkeys(one.reader for one in self._weights):
            ranges: list[tuple[str, int, int]] = []
            before = 0.0
            for weight in (one for one in self._weights if one.reader == reader):
                ranges.append((weight.name, 0, weight.nbytes))
                gain = self._gain(reader, ranges, level)
                worth[weight.name] = max(0.0, gain - before) / weight.nbytes * 1e6
                before = max(before, gain)
        return worth

    def _gain(self, reader: str, ranges: Sequence[tuple[str, int, int]], level: str) -> float:
        """us by which a reader is faster with bytes of its weights in L2, beside what is warmed."""
        return self._reader_us(reader, [], level) - self._reader_us(reader, ranges, level)

    def _reader_us(self, reader: str, ranges: Sequence[tuple[str, int, int]], level: str) -> float:
        warmed = tuple(sorted(self._warmed.items()))
        nbytes = sum(one.nbytes for one in self._weights if one.reader == reader)
        key = (reader, nbytes, tuple(ranges), warmed, level)
        if key not in self._gains:
            self._gains[key] = self._replayed_us(reader, ranges, level)
        return self._gains[key]

    def _replayed_us(
        self, reader: str, ranges: Sequence[tuple[str, int, int]], level: str
    ) -> float:
        line = timeline(self._chip, level, self._config.launch_us)
        mine = {one.name: one for one in self._weights if one.reader == reader}
        addresses = {name: one.address for name, one in mine.items()}
        sizes = {name: one.nbytes for name, one in mine.items()}
        if reader == "prolog":
            # Its trace is that of this layer's own weights.
            for name, tensor in self._layer.ops.prolog_weights():
                addresses[f"layer+1.{name}"] = tensor.data_ptr()
        for name in mine:
            if self._warmed.get(name):
                line.touch(addresses[name], sizes[name], False, length=self._warmed[name])
        for name, offset, nbytes in ranges:
            line.touch(addresses[name], sizes[name], False, offset, nbytes)
        (times,) = replay(line, [self._kernels[reader]])
        return times["us"]


def _joined(name: str, known: Sequence[KnownWindow]) -> KnownWindow:
    """Windows that follow one another as one."""
    (first, *others) = known
    if not others:
        return first
    us = Lengths(*(sum(lengths) for lengths in zip(*(one.us for one in known), strict=True)))
    return KnownWindow(
        name,
        us,
        "derived",
        "; ".join(dict.fromkeys(one.source for one in known)),
        any(one.extrapolated for one in known),
        leaves=first.leaves,
    )


def window_rows(plan: LayerWindows, chip: TimedChip) -> list[dict[str, Any]]:
    """A row per window and weight: the contract's key `windows`.

    Beside its keys: `class`, `source` and `extrapolated` of the length, `hbm` (what is known of the
    window's use of HBM), `passing_bytes` (from the window to the weight's use), `reader_us`,
    what the reader of the weight gains before the window's costs, `planned_us`, what the planner
    counts on at the short length, and `break_even_slowdown`, by which share the window's kernel
    could be slowed down while bytes move until the window saves nothing, at nominal constants and
    length. Of the weights for which nothing is fetched a window has the one that is read first, and
    the next layer's qkv_a.
    """
    rows = []
    for window in dict.fromkeys(one.window for one in plan.decisions):
        mine = [one for one in plan.decisions if one.window == window]
        fetched = [one for one in mine if one.bytes]
        unused = [one for one in mine if not one.bytes]
        shown = fetched + unused[:1]
        shown += [
            one for one in unused[1:] if one.weight == "layer+1.fused_qkv_a" and one not in shown
        ]
        rows += [_row(plan, one, fetched, chip) for one in shown]
    return rows


def _row(
    plan: LayerWindows, one: WindowDecision, fetched: Sequence[WindowDecision], chip: TimedChip
) -> dict[str, Any]:
    known = plan.known[one.window]
    gain = plan.gains.get((one.window, one.weight), dict.fromkeys(LEVELS, 0.0))
    return {
        "name": one.window,
        "us": known.us._asdict(),
        "engine": one.engine,
        "region": one.weight,
        "bytes": one.bytes,
        "saved_us": {
            level: gain[level] - _cost(one, fetched, known, chip, level) if one.bytes else 0.0
            for level in LEVELS
        },
        "reader_us": gain,
        "break_even_slowdown": _break_even(plan, fetched, known, chip) if one.bytes else None,
        "planned_us": one.saved_us,
        "bound_us": one.bound_us,
        "why": _why(one, known),
        "class": known.provenance,
        "source": known.source,
        "extrapolated": known.extrapolated,
        "hbm": known.hbm,
        "passing_bytes": one.passing_bytes,
    }


def _cost(
    one: WindowDecision,
    fetched: Sequence[WindowDecision],
    known: KnownWindow,
    chip: TimedChip,
    level: str,
) -> float:
    """What a piece costs at a window's nominal length: its share of join, slowdown and spikes."""
    cost = engine_cost(chip, one.engine, level)
    together = sum(piece.bytes for piece in fetched)
    slowed = SLOWED_SHARES[1] * cost.slowing * cost.busy_us(one.bytes)
    return slowed + _once_us(cost, known, together) * one.bytes / together


def _break_even(
    plan: LayerWindows, fetched: Sequence[WindowDecision], known: KnownWindow, chip: TimedChip
) -> float:
    cost = engine_cost(chip, fetched[0].engine, "nominal")
    together = sum(piece.bytes for piece in fetched)
    gain = sum(plan.gains[one.window, one.weight]["nominal"] for one in fetched)
    return (gain - _once_us(cost, known, together)) / (cost.slowing * cost.busy_us(together))


def _once_us(cost: EngineCost, known: KnownWindow, nbytes: int) -> float:
    """What a window of nominal length costs once: its join, and the spikes that hold it up."""
    slack = known.us.nominal - cost.start_us - cost.busy_us(nbytes)
    return cost.join_us + cost.expected_spike_us(slack)


def _why(one: WindowDecision, known: KnownWindow) -> str:
    if known.hbm == "published":
        return "it keeps HBM busy itself, and nobody says that another could use what is left"
    if known.hbm == "unknown":
        return "how much of HBM it uses is not published: it counts as busy all the time"
    return one.reason


def layer_decisions(plan: LayerWindows) -> list[Decision]:
    """What is fetched in windows, in the form in which kernels report it."""
    return [
        Decision(one.weight, one.engine, one.window, one.short_us, one.bytes, one.reason)
        for one in plan.decisions
        if one.bytes
    ]
