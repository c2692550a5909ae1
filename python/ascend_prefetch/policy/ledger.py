"""Records which bytes of each weight a step prefetches, so that none is prefetched twice."""

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
        layer: number of the decoder layer that the weight belongs to; None if unknown.
        weight: name of the weight.
        site: who asked, e.g. "mla_prolog".
        engine: the engine that loads the bytes, e.g. "MTE2".
        offset: the first requested byte.
        bytes: number of bytes that were granted.
        refused: number of requested bytes that were already claimed in this step.
    """

    layer: int | None
    weight: str
    site: str
    engine: str
    offset: int
    bytes: int
    refused: int


class Totals(NamedTuple):
    """Counts of steps, claims, granted and refused bytes since the ledger was made or reset."""

    steps: int
    claims: int
    bytes: int
    refused: int


class _Taken(NamedTuple):
    """Bytes [begin, end) of a storage, claimed for a weight of one layer."""

    begin: int
    end: int
    layer: int | None


class _Memory:
    """The claims on one storage in one step."""

    __slots__ = ("rows", "storage", "taken")

    def __init__(self, storage: torch.UntypedStorage) -> None:
        self.storage = weakref.ref(storage)
        self.taken: list[_Taken] = []
        # For each row of the ledger, by its key: the number of its first claim, the granted and the
        # refused bytes. Repeating a claim adds to its row.
        self.rows: dict[tuple[int | None, str, str, str, int], list[int]] = {}


class Request:
    """A claim of a weight's first bytes, which every step repeats; see PrefetchLedger.ask.

    It holds the weight's storage weakly.
    """

    __slots__ = ("about", "begin", "bytes", "key", "storage", "where")

    def __init__(
        self,
        weight: torch.Tensor,
        nbytes: int | None = None,
        *,
        layer: int | None,
        site: str,
        engine: str,
        name: str = "",
    ) -> None:
        """
        Args:
            weight: a dense tensor of any dtype.
            nbytes: how many bytes of it; None for all.
            layer, site, engine, name: as of PrefetchLedger.claim.
        """
        storage = weight.untyped_storage()
        self.storage = weakref.ref(storage)
        self.key = self.key_of(weight)
        self.begin = int(weight.storage_offset()) * weight.itemsize
        self.bytes = int(weight.nbytes if nbytes is None else nbytes)
        self.about = (layer, name, site, engine, 0)
        self.where = (engine, site)

    @staticmethod
    def key_of(weight: torch.Tensor) -> int:
        """The key of a weight's memory in a step, as long as the memory lives."""
        return id(weight.untyped_storage())


class ClaimsOfStep:
    """The claims of one step.

    Attributes:
        layer: number of the most recently entered layer; None before the first.
    """

    __slots__ = ("asked", "context", "layer", "memories", "prune_at")

    def __init__(self, context: object | None = None) -> None:
        # Held strongly only if it cannot be held weakly; the ledger keeps few steps.
        self.context = _weak(context)
        self.layer: int | None = None
        # By id of the storage; Python may reuse the id of a dead one.
        self.memories: dict[int, _Memory] = {}
        self.prune_at = 256
        # Requests that were granted whole, with the numbers of their claims, one per storage. They
        # are entered into memories only when more has to be known of the storage.
        self.asked: dict[int, tuple[Request, int]] = {}

    def memory(self, storage: torch.UntypedStorage) -> _Memory:
        """The claims on a storage, for the caller to update."""
        key = id(storage)
        memory = self.memories.get(key)
        if memory is None or memory.storage() is not storage:
            if len(self.memories) >= self.prune_at:
                alive = {k: old for k, old in self.memories.items() if old.storage() is not None}
                self.memories = alive
                self.prune_at = max(256, 2 * len(alive))
            memory = self.memories[key] = _Memory(storage)
        return memory

    def holds(self, key: int) -> bool:
        """Whether anything was claimed of the memory with a key."""
        return key in self.asked or key in self.memories

    def settle(self) -> None:
        """Enters the requests of `asked` into the memories."""
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
    """Grants every byte of a layer's weight once per step.

    Bytes are bytes of memory: two tensors that share storage share them. The ledger keeps no weight
    alive, and forgets the claims on one that is freed or replaced. However long it is used, it
    holds the claims of few steps at a time. Every worker process has its own ledger.

    Replaying a captured graph makes no claims; the ledger then still shows those of the capture.

    Attributes:
        brought: granted bytes since the ledger was made or reset, by engine and site.
    """

    # Maximum number of live contexts: they may be nested, or belong to alternating micro-batches.
    _MAX_STEPS = 4

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all claims and totals."""
        self.brought: dict[tuple[str, str], int] = {}
        self._step = ClaimsOfStep()
        self._steps: dict[int, ClaimsOfStep] = {}
        self._counts = [0, 0, 0, 0]

    @property
    def step(self) -> ClaimsOfStep:
        """The current step, with the layer that was entered last; every step is a new object."""
        return self._step

    def forget(self) -> None:
        """Forgets all claims and begins a new step; the totals continue."""
        self._steps = {}
        self.begin_step()

    def begin_step(self) -> None:
        """Begins a new step, without a context; later claims belong to it."""
        self._step = ClaimsOfStep()
        self._counts[0] += 1

    def enter(self, context: object | None, layer: int | None = None) -> bool:
        """Makes the step of this context the current one; a new context begins a new step.

        One context may serve several passes through a model, as with a draft model: a layer whose
        number is not above that of the layer before it begins a new step.

        Args:
            context: any object that lives as long as the step and is not reused for another, such
                as vLLM's forward context; it is held weakly where possible. None changes nothing.
            layer: number of the layer that begins now; None if none begins.

        Returns:
            Whether the earlier claims belong to another step.
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
            while len(steps) >= self._MAX_STEPS:
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
        """Claims bytes of a weight; the caller then prefetches the granted ones.

        Args:
            weight: a dense tensor of any dtype. Nothing is granted if it is None, or its memory has
                been freed.
            offset: the first byte to claim.
            max_bytes: maximum number of bytes; by default everything from the offset on.
            layer: number of the decoder layer that the weight belongs to. Layers that share memory
                may each prefetch it; None stands for any layer.
            site: who asks.
            engine: the engine that will load the bytes.
            name: name of the weight, for people.

        Returns:
            The ranges that no earlier claim of this step covers, in rising order; [] if none is
            left.

        Raises:
            ValueError: `offset` or `max_bytes` is below 0.
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
        # Some frameworks free a weight by shrinking its storage.
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
        if nbytes:
            self.brought[engine, site] = self.brought.get((engine, site), 0) + nbytes
        return [ByteRange(first - start, last - first) for first, last in granted]

    def ask(self, request: Request) -> bool:
        """Claims all bytes of a request, at a fraction of what claim() costs.

        Returns:
            Whether all bytes were granted. If not, nothing was claimed; call claim() for the bytes
            that are left, if any.
        """
        step, key = self._step, request.key
        before = step.asked.get(key) or (step.memories.get(key),)
        # If the recorded storage is gone, the record is of another one that had the same id.
        if before[0] is not None and before[0].storage() is not None:
            return False
        counts = self._counts
        step.asked[key] = (request, counts[1])
        counts[1] += 1
        counts[2] += request.bytes
        where = request.where
        self.brought[where] = self.brought.get(where, 0) + request.bytes
        return True

    def claimed_to(self, weight: torch.Tensor, layer: int | None) -> int:
        """How many bytes at the start of a weight this step has claimed for a layer.

        Args:
            weight: a dense tensor of any dtype.
            layer: as of claim().
        """
        if self._step.asked:
            self._step.settle()
        storage = weight.untyped_storage()
        memory = self._step.memories.get(id(storage))
        if memory is None or memory.storage() is not storage:
            return 0
        begin = int(weight.storage_offset()) * weight.itemsize
        free = _free(memory.taken, begin, begin + int(weight.nbytes), layer)
        return free[0][0] - begin if free else int(weight.nbytes)

    @property
    def claims(self) -> list[Claim]:
        """The claims of the current step, in order, except on weights that are gone.

        Claims that differ only in the bytes that they were granted are merged into one.
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
        """The claims of the current step and the totals, as a table for people."""
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
    """A callable that returns the value; a weak reference, which may return None, if possible."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _free(taken: list[_Taken], begin: int, end: int, layer: int | None) -> list[tuple[int, int]]:
    """The parts of [begin, end) that the layer has not claimed, in rising order."""
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
