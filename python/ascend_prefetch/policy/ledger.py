"""Which bytes of which weight were prefetched in a step, and by whom: none of them twice."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple

import torch


class ByteRange(NamedTuple):
    """Bytes [offset, offset + bytes) of a weight."""

    offset: int
    bytes: int


class Claim(NamedTuple):
    """A row of the ledger: who asked for bytes of a weight, and how many it was granted.

    Attributes:
        layer: the decoder layer that the weight belongs to; None where nobody knows.
        weight: its name.
        site: who asked, e.g. "mla_prolog".
        engine: what brings the bytes, e.g. "MTE2".
        offset: where the bytes start that were asked for.
        bytes: granted.
        refused: asked for, but claimed before in this step.
    """

    layer: int | None
    weight: str
    site: str
    engine: str
    offset: int
    bytes: int
    refused: int


class Totals(NamedTuple):
    """Since the ledger was made or reset: steps, claims, and bytes that were granted or refused."""

    steps: int
    claims: int
    bytes: int
    refused: int


class _Taken(NamedTuple):
    """Bytes [begin, end) of a storage that a layer's weight has."""

    begin: int
    end: int
    layer: int | None


class _Memory:
    """What was claimed of one storage in one step."""

    __slots__ = ("rows", "storage", "taken")

    def __init__(self, storage: torch.UntypedStorage) -> None:
        self.storage = weakref.ref(storage)
        self.taken: list[_Taken] = []
        # Number of the first claim, bytes and refused bytes by what a row is about: asking again
        # makes no new row.
        self.rows: dict[tuple[int | None, str, str, str, int], list[int]] = {}


class Request:
    """A claim of all of a weight that every step repeats; see PrefetchLedger.ask.

    Holds the weight's storage weakly.
    """

    __slots__ = ("about", "begin", "bytes", "key", "storage")

    def __init__(
        self, weight: torch.Tensor, *, layer: int | None, site: str, engine: str, name: str = ""
    ) -> None:
        """
        Args:
            weight: a dense tensor of any dtype.
            layer, site, engine, name: as of PrefetchLedger.claim.
        """
        storage = weight.untyped_storage()
        self.storage = weakref.ref(storage)
        self.key = id(storage)
        self.begin = int(weight.storage_offset()) * weight.itemsize
        self.bytes = int(weight.nbytes)
        self.about = (layer, name, site, engine, 0)


class ClaimsOfStep:
    """What was claimed in one step.

    Attributes:
        layer: most recently entered; None before the first.
    """

    __slots__ = ("asked", "context", "layer", "memories", "prune_at")

    def __init__(self, context: object | None = None) -> None:
        # Strong only where weak is impossible; the ledger keeps few steps.
        self.context = _weak(context)
        self.layer: int | None = None
        # By id of the storage; those of dead ones come again.
        self.memories: dict[int, _Memory] = {}
        self.prune_at = 256
        # Requests that were granted whole, and the numbers of their claims: entered into memories
        # when somebody wants to know more than that. One of each storage.
        self.asked: dict[int, tuple[Request, int]] = {}

    def memory(self, storage: torch.UntypedStorage) -> _Memory:
        """What was claimed of it, to be changed."""
        key = id(storage)
        memory = self.memories.get(key)
        if memory is None or memory.storage() is not storage:
            if len(self.memories) >= self.prune_at:
                alive = {k: old for k, old in self.memories.items() if old.storage() is not None}
                self.memories = alive
                self.prune_at = max(256, 2 * len(alive))
            memory = self.memories[key] = _Memory(storage)
        return memory

    def settle(self) -> None:
        """Enters what was asked for."""
        for request, number in self.asked.values():
            storage = request.storage()
            if storage is None:
                continue
            memory = self.memory(storage)
            begin, layer = request.begin, request.about[0]
            memory.taken.append(_Taken(begin, begin + request.bytes, layer))
            memory.rows[request.about] = [number, request.bytes, 0]
        self.asked.clear()


class PrefetchLedger:
    """Grants every byte of a layer's weight once in a step.

    Bytes are those of memory: two tensors that share storage share them. The ledger keeps no weight
    alive, and forgets what it granted of one that is freed or replaced. It holds the claims of
    few steps at a time, however long it is used. A worker has one of its own.

    A graph of captured kernels is replayed without any claim: the ledger then shows those of its
    capture.
    """

    # Contexts that live at the same time: nested ones, or two micro-batches in turns.
    _MOST_STEPS = 4

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all claims and totals."""
        self._step = ClaimsOfStep()
        self._steps: dict[int, ClaimsOfStep] = {}
        self._counts = [0, 0, 0, 0]

    @property
    def step(self) -> ClaimsOfStep:
        """The present step, an object of its own, and which layer began last in it."""
        return self._step

    def forget(self) -> None:
        """Forgets all claims; what follows belongs to a new step. Totals go on."""
        self._steps = {}
        self.begin_step()

    def begin_step(self) -> None:
        """Claims that follow belong to a new step without a context."""
        self._step = ClaimsOfStep()
        self._counts[0] += 1

    def enter(self, context: object | None, layer: int | None = None) -> bool:
        """Claims that follow belong to the step of this context, a new one if it is new.

        A context may be that of several passes through a model, as those of a draft model are: a
        layer that is not behind the last one begins a new step.

        Args:
            context: any object that lives as long as the step and is not used for another one, such
                as vLLM's forward context; it is held weakly where possible. None changes nothing.
            layer: the number of the layer that begins now, if one does.

        Returns:
            Whether claims before were those of another step.
        """
        if context is None:
            return False
        step: ClaimsOfStep | None = self._step
        if step is None or step.context() is not context:
            step = self._steps.get(id(context))
            if step is not None and step.context() is not context:
                step = None
        if step is not None and layer is not None:
            if step.layer is None or layer > step.layer:
                step.layer = layer
            else:
                step = None
        if step is self._step:
            return False
        if step is None:
            step = ClaimsOfStep(context)
            step.layer = layer
            self._counts[0] += 1
            steps = {key: old for key, old in self._steps.items() if old.context() is not None}
            steps.pop(id(context), None)
            while len(steps) >= self._MOST_STEPS:
                del steps[next(iter(steps))]
            steps[id(context)] = step
            self._steps = steps
        self._step = step
        return True

    def claim(
        self,
        weight: torch.Tensor | None,
        offset: int = 0,
        max_bytes: int | None = None,
        *,
        layer: int | None,
        site: str,
        engine: str,
        name: str = "",
    ) -> list[ByteRange]:
        """Asks for bytes of a weight; what is granted is for the caller to prefetch.

        Args:
            weight: a dense tensor of any dtype. Nothing of it is granted where it is None, or its
                memory has been freed.
            offset: where in it to start, in bytes.
            max_bytes: how many at most; all of it from the offset on by default.
            layer: the decoder layer that the weight belongs to. Layers that share memory may each
                prefetch it; None stands for any.
            site: who asks.
            engine: what will bring the bytes.
            name: of the weight, for people.

        Returns:
            The bytes that no claim of this step has, in rising order; [] when there are none.

        Raises:
            ValueError: an offset or a number of bytes below 0.
        """
        if offset < 0 or (max_bytes is not None and max_bytes < 0):
            raise ValueError(
                f"claim of '{name}': expected an offset and bytes of at least 0, got {offset} and "
                f"{max_bytes}"
            )
        if weight is None:
            return []
        storage = weight.untyped_storage()
        start = int(weight.storage_offset()) * weight.itemsize
        # Some free a weight by shrinking what is behind it.
        end = start + min(weight.nbytes, int(storage.nbytes()) - start)
        begin = start + offset
        if max_bytes is not None:
            end = min(end, begin + max_bytes)
        if begin >= end:
            return []
        if self._step.asked:
            self._step.settle()
        memory = self._step.memory(storage)
        taken = memory.taken
        granted = _free(taken, begin, end, layer) if taken else [(begin, end)]
        nbytes = 0
        for first, last in granted:
            taken.append(_Taken(first, last, layer))
            nbytes += last - first
        refused = end - begin - nbytes
        row = memory.rows.setdefault((layer, name, site, engine, offset), [self._counts[1], 0, 0])
        row[1] += nbytes
        row[2] += refused
        counts = self._counts
        counts[1] += 1
        counts[2] += nbytes
        counts[3] += refused
        return [ByteRange(first - start, last - first) for first, last in granted]

    def ask(self, request: Request) -> bool:
        """Claims all bytes of a request, at a fraction of what claim() costs.

        Returns:
            Whether all were granted. If not, nothing was claimed: claim() tells which bytes are
            left, if any.
        """
        step, key = self._step, request.key
        before = step.asked.get(key) or (step.memories.get(key),)
        # Of a storage that is gone it is another one that had the same address.
        if before[0] is not None and before[0].storage() is not None:
            return False
        counts = self._counts
        step.asked[key] = (request, counts[1])
        counts[1] += 1
        counts[2] += request.bytes
        return True

    @property
    def claims(self) -> list[Claim]:
        """The claims of the present step, in order; not those of weights that are gone.

        Claims that differ in nothing but what they were granted are one.
        """
        self._step.settle()
        rows = [
            (first, Claim(*about, nbytes, refused))
            for memory in self._step.memories.values()
            if memory.storage() is not None
            for about, (first, nbytes, refused) in memory.rows.items()
        ]
        return [claim for _, claim in sorted(rows)]

    @property
    def totals(self) -> Totals:
        """Totals of all steps."""
        return Totals(*self._counts)

    def table(self) -> str:
        """The claims of the present step and the totals, for people."""
        head = ("layer", "weight", "site", "engine", "offset", "bytes", "refused")
        rows = [
            ("-" if claim.layer is None else str(claim.layer), *map(str, claim[1:4]))
            + tuple(f"{number:,}" for number in claim[4:])
            for claim in self.claims
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if 0 < i < 4 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, *rows)
        ]
        totals = self.totals
        lines.append(
            f"{totals.steps:,} steps, {totals.claims:,} claims: {totals.bytes:,} bytes granted, "
            f"{totals.refused:,} refused"
        )
        return "\n".join(lines)

    __str__ = table


def _weak(value: object | None) -> Callable[[], object | None]:
    """A callable that returns the value, or None once it is gone, where it can be held weakly."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _free(taken: list[_Taken], begin: int, end: int, layer: int | None) -> list[tuple[int, int]]:
    """What of [begin, end) is not taken by the layer, in rising order."""
    free = []
    for first, last, owner in sorted(taken, key=lambda piece: piece.begin):
        if layer is not None and owner is not None and owner != layer:
            continue
        if last <= begin or first >= end:
            continue
        if first > begin:
            free.append((begin, first))
        begin = max(begin, last)
    if begin < end:
        free.append((begin, end))
    return free
