"""When the first byte of o_proj's weight passes where: from replays of a layer's kernels.

DeepSeek-V3, one of 16 ranks, 16 sequences of 4096 cached tokens, bf16, ND weights: the prolog,
attention as a read of its cache, and o_proj, with and without a prefetch in the prolog. The byte
lies in the first tile of the first cube core, and in the first chunk of the first vector core.
"""

import functools
import re
from pathlib import Path
from typing import NamedTuple

from ascend_prefetch import _C
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.layer import LayerConfig, attention_readers
from ascend_prefetch.lab.bench.layer_ops import LayerOps
from ascend_prefetch.lab.bench.modelled import timeline
from ascend_prefetch.lab.timing import LEVELS, find_timed_chip
from ascend_prefetch.lab.timing.timeline import model_timeline

ROOT = Path(__file__).resolve().parents[1]
CONFIG = LayerConfig("deepseek-v3", tp=16, batch=16, kv_len=4096)
WEIGHT, PREFETCHED = "o_proj_weight", "prefetch[0]"
ASKED_BYTES = 72 * 16384
"""What the prolog is asked to bring: chunks that hold the whole first tile. By itself the planner
brings less, as much as HBM has idle time for."""


class Stage(NamedTuple):
    """A stage of the way.

    Attributes:
        start, end: us since its kernel started.
        site: file and line of the kernel.
        bytes: that are moved with the byte; 0 for what moves none from or to GM.
    """

    start: float
    end: float
    site: str
    bytes: int


class Walk(NamedTuple):
    """A byte's way.

    Attributes:
        prefetch: the vector core's load in the prolog; None without.
        prolog_us: how long the prolog's kernel takes.
        attention_us: likewise.
        to_l1, to_l0b, product, result: of the cube core in o_proj.
        hbm_bytes: of to_l1, what came from HBM.
        o_proj_us: how long o_proj's kernel takes.
    """

    prefetch: Stage | None
    prolog_us: float
    attention_us: float
    to_l1: Stage
    to_l0b: Stage
    product: Stage
    result: Stage
    hbm_bytes: int
    o_proj_us: float


@functools.cache
def _sequences():
    """The chip, and the kernels of a layer without and with the prefetch."""
    chip = find_timed_chip(CONFIG.soc)
    layer = LayerOps(CONFIG.bench())
    readers = attention_readers(CONFIG, layer.dims, 0)
    passing = [sum(reader.nbytes for reader in readers)]
    with twin.chip(chip.soc):
        o_proj = layer.o_proj.kernels(prefetch_bytes=0)
        without = layer.prolog.kernels(prefetch_bytes=0)
        with_it = layer.prolog.kernels(prefetch_passing_bytes=passing, prefetch_bytes=ASKED_BYTES)
    return chip, [*without, *readers, *o_proj], [*with_it, *readers, *o_proj]


@functools.cache
def walk(level, prefetched):
    """The byte's way at the constants of a level, with or without the prefetch."""
    chip, *sequences = _sequences()
    replayed = model_timeline(timeline(chip, level, None), sequences[prefetched], (PREFETCHED,))
    prolog, attention, o_proj = replayed.kernels

    def lane(kernel, core, pipe):
        found = (i for i in kernel.intervals if (i.core, i.pipe) == (core, pipe))
        return sorted(found, key=lambda interval: interval.start)

    def stage(kernel, interval):
        start, end = interval.start - kernel.start, interval.end - kernel.start
        return Stage(start, end, interval.site, interval.bytes)

    load = next(i for i in lane(o_proj, 0, "MTE2") if i.tensor == WEIGHT)
    results = lane(o_proj, 0, "FIX")
    result = next(i for i in results if i.tensor == "out")
    # The products of W_UV have left L0C before those of o_proj begin.
    values = max(i.end for i in results if i.tensor != "out")
    move = next(
        i for i in lane(o_proj, 0, "MTE1") if i.start >= load.end and block(i.site) == "CopyB"
    )
    chunks = [i for i in lane(prolog, prolog.aic_count, "MTE2") if replayed.is_prefetch(prolog, i)]
    return Walk(
        prefetch=stage(prolog, chunks[0]) if chunks else None,
        prolog_us=prolog.end - prolog.start,
        attention_us=attention.end - attention.start,
        to_l1=stage(o_proj, load),
        to_l0b=stage(o_proj, move),
        product=stage(o_proj, next(i for i in lane(o_proj, 0, "M") if i.start >= values)),
        result=stage(o_proj, result),
        hbm_bytes=load.hbm_read,
        o_proj_us=o_proj.end - o_proj.start,
    )


def block(site):
    """The function that a line of a kernel's source is in."""
    file, _, line = site.rpartition(":")
    above = (ROOT / file).read_text(encoding="utf-8").splitlines()[: int(line)]
    begins = (re.match(r".*__aicore__ inline \S+ (\w+)\(", text) for text in reversed(above))
    return next(found[1] for found in begins if found)


def rows():
    """A row for each stage: what happens, where in the source, and when without and with it."""
    without, with_it = ({level: walk(level, on) for level in LEVELS} for on in (False, True))

    def when(walks, name, part):
        return _times({level: getattr(getattr(walks[level], name), part) for level in LEVELS})

    def source(name):
        site = getattr(with_it["nominal"], name).site
        return f"`{block(site)}`, `{Path(site.rpartition(':')[0]).name}`"

    prefetch = with_it["nominal"].prefetch
    yield [
        f"in `mla_prolog`: a vector core's load of {prefetch.bytes // 1024} KiB ends",
        source("prefetch"),
        "-",
        when(with_it, "prefetch", "end"),
    ]
    yield [
        "`mla_prolog` ends",
        "",
        *(
            _times({level: walks[level].prolog_us for level in LEVELS})
            for walks in (without, with_it)
        ),
    ]
    tile = with_it["nominal"].to_l1.bytes // 1024
    stages = {
        "to_l1": (f"in `o_proj`: a tile of {tile} KiB begins to flow to L1", "start"),
        "to_l1 ": ("the tile is in L1", "end"),
        "to_l0b": ("its first half is in L0B", "end"),
        "product": ("the cube multiplies by it", "start"),
        "result": ("the sums that it is part of are on their way to GM", "start"),
    }
    for key, (text, part) in stages.items():
        name = key.strip()
        yield [text, source(name), when(without, name, part), when(with_it, name, part)]
    yield [
        "`o_proj` ends",
        "",
        *(
            _times({level: walks[level].o_proj_us for level in LEVELS})
            for walks in (without, with_it)
        ),
    ]


class ByHand(NamedTuple):
    """A stage worked out from the constants alone.

    Attributes:
        stage: what it is.
        sum: how it is worked out, as text.
        us: what that gives.
        replayed: what the replay has for it, us.
    """

    stage: str
    sum: str
    us: float
    replayed: float


def by_hand():
    """The stages whose length follows from the constants, at nominal."""
    table = _C.timing_constants()
    value = {name: row["nominal"] for name, row in table.items()}
    chip = twin.find_chip(CONFIG.soc)
    clock, cores = chip["clock_mhz"], chip["aic_count"]
    without, with_it = walk("nominal", False), walk("nominal", True)
    tile, half = without.to_l1.bytes, without.to_l1.bytes // 2
    hbm_rate, nd2nz = value["hbm_rate"], value["nd2nz_factor"]
    l1_rate, l0b_rate = value["cube_load_rate"], value["move_l0b_rate"]
    efficiency, out = value["cube_efficiency"], value["fixpipe_rate"]
    sums = with_it.result.bytes

    def length(stage):
        return stage.end - stage.start

    yield ByHand(
        "the tile from HBM, while all cube cores load",
        f"{cores} x {tile:,} B x {nd2nz} / {hbm_rate} TB/s",
        cores * tile * nd2nz / (hbm_rate * 1e6),
        length(without.to_l1),
    )
    yield ByHand(
        "the tile out of L2",
        f"{tile:,} B / ({l1_rate:g} B x {clock} MHz)",
        tile / (l1_rate * clock),
        length(with_it.to_l1),
    )
    yield ByHand(
        "half of the tile from L1 to L0B",
        f"{half:,} B / ({l0b_rate:g} B x {clock} MHz)",
        half / (l0b_rate * clock),
        length(with_it.to_l0b),
    )
    yield ByHand(
        "the product with 16 rows of A, 16 x 32 B of B a cycle",
        f"{half:,} B / (512 B x {clock} MHz) / {efficiency}",
        half / (512 * clock) / efficiency,
        length(with_it.product),
    )
    yield ByHand(
        "the sums from L0C to GM",
        f"{sums:,} B / ({out:g} B x {clock} MHz)",
        sums / (out * clock),
        length(with_it.result),
    )


def _times(us):
    low, nominal, high = (f"{us[level]:.2f}" for level in LEVELS)
    return f"{nominal} ({low} to {high})"
