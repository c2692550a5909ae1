"""What prefetch loads, from the traces of the twin: every requested byte once, nothing else."""

import random

import pytest
import torch

from ascend_prefetch import ops
from ascend_prefetch.lab import twin
from mla_cases import SEED
from prefetch_launch import Launch, blocks_of, random_bytes
from traces import Trace

CHUNK = 16 * 1024
MIB = 1 << 20
ENGINES = pytest.mark.parametrize("engine", ["vector", "cube"])
CORES = {"vector": 48, "cube": 24}
DTYPES = [torch.int8, torch.bool, torch.bfloat16, torch.float16, torch.float32, torch.int64]


# --- which bytes ---


@ENGINES
@pytest.mark.parametrize("cores", [1, 7, None])
@pytest.mark.parametrize(
    "size", [1, 31, 32, 33, 511, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 32, MIB + 17]
)
def test_whole_weight(size, cores, engine):
    weight = random_bytes(size)
    launch = Launch([weight], engine, cores=cores)
    assert launch.loaded(0) == [(0, size)]
    assert launch.cores == (cores or CORES[engine])


@ENGINES
@pytest.mark.parametrize(
    ("offset", "max_bytes", "expected"),
    [
        (0, 1, (0, 32)),
        (0, 32, (0, 32)),
        (0, 33, (0, 64)),
        (1, 31, (0, 32)),
        (31, 1, (0, 32)),
        (31, 2, (0, 64)),
        (32, 32, (32, 64)),
        (33, 100, (32, 160)),
        (4999, 20000, (4992, 25024)),
        (50000, 1, (49984, 50001)),  # the last byte: its block ends with the weight
        (49999, 10, (49984, 50001)),
        (49983, 1, (49952, 49984)),
        (0, 50001, (0, 50001)),
        (0, 1 << 62, (0, 50001)),  # cut at the end of the weight
        (40000, 1 << 62, (40000, 50001)),
    ],
)
def test_offset_and_max_bytes(offset, max_bytes, expected, engine):
    weight = random_bytes(50001)
    launch = Launch([weight], engine, offsets=[offset], max_bytes=[max_bytes])
    assert launch.loaded(0) == [expected] == blocks_of(weight, offset, max_bytes)


@ENGINES
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype, engine):
    """Offsets and sizes are bytes, whatever the elements."""
    weight = random_bytes(8 * 999).view(torch.uint8)
    weight = weight % 2 == 1 if dtype == torch.bool else weight.view(dtype)
    assert Launch([weight], engine).loaded(0) == [(0, weight.nbytes)]
    assert Launch([weight], engine, offsets=[65], max_bytes=[100]).loaded(0) == [(64, 192)]


@pytest.mark.parametrize("shape", [(), (1,), (3, 5, 7), (2, 1, 1, 64)])
def test_shapes(shape):
    assert Launch([torch.ones(shape)]).loaded(0) == [(0, 4 * torch.Size(shape).numel())]


@ENGINES
@pytest.mark.parametrize("start", [1, 5, 31, 33])
def test_a_view_that_starts_inside_a_block(start, engine):
    """Blocks count from memory; bytes before the view belong to another tensor."""
    view = random_bytes(5000)[start:4000]
    assert Launch([view], engine).loaded(0) == [(0, view.nbytes)]
    launch = Launch([view], engine, offsets=[2], max_bytes=[1])
    assert launch.loaded(0) == blocks_of(view, 2, 1)
    launch = Launch([view], engine, offsets=[100], max_bytes=[200])
    assert launch.loaded(0) == blocks_of(view, 100, 200)


@ENGINES
def test_several_weights(engine):
    weights = [random_bytes(size) for size in (MIB, 1, 100, 20000, 33, 512, 7, CHUNK)]
    offsets = [4096, 0, 50, 3, 0, 256, 6, 0]
    max_bytes = [MIB // 2, 5, 10, 19000, 33, 1, 1, CHUNK]
    launch = Launch(weights, engine, offsets=offsets, max_bytes=max_bytes)
    for index, weight in enumerate(weights):
        assert launch.loaded(index) == blocks_of(weight, offsets[index], max_bytes[index])
    for order in launch.order:
        assert order == sorted(order)  # that of need


@ENGINES
def test_two_parts_of_a_weight(engine):
    """A block that both need is loaded with the first."""
    storage = random_bytes(1000)
    for offsets in ([0, 100], [100, 0]):
        launch = Launch([storage, storage], engine, offsets=offsets, max_bytes=[100, 100])
        # One memory, one name in the trace.
        assert sorted(launch.loaded(0) + launch.loaded(1)) == [(0, 224)]
    halves = [storage[:500], storage[500:]]
    launch = Launch(halves, engine)
    assert launch.loaded(0) == [(0, 500)]
    assert launch.loaded(1) == [(0, 500)]


def test_random_calls():
    print(f"ASCEND_PREFETCH_SEED={SEED}")
    generator = random.Random(SEED)
    for _ in range(150):
        weights, offsets, max_bytes = [], [], []
        for _ in range(generator.randint(1, 8)):
            start = generator.choice([0, 0, generator.randint(0, 100)])
            size = int(2 ** generator.uniform(0, 19))
            weights.append(random_bytes(start + size)[start:])
            offsets.append(generator.choice([0, generator.randrange(size)]))
            max_bytes.append(generator.choice([1 << 40, generator.randint(1, size + 10)]))
        engine = generator.choice(["vector", "cube"])
        cores = generator.randint(1, CORES[engine])
        launch = Launch(weights, engine, offsets=offsets, max_bytes=max_bytes, cores=cores)
        assert launch.cores == cores
        for index, weight in enumerate(weights):
            assert launch.loaded(index) == blocks_of(weight, offsets[index], max_bytes[index])


# --- by which cores ---


@ENGINES
@pytest.mark.parametrize(("chip", "groups"), [("Ascend910_9391", 24), ("Ascend910B3", 20)])
def test_all_cores_by_default(chip, groups, engine):
    weight = random_bytes(3 * MIB)
    cores = groups if engine == "cube" else 2 * groups
    with twin.chip(chip):
        launch = Launch([weight], engine)
    assert launch.cores == cores
    assert min(launch.bytes_per_core()) > 0


@ENGINES
@pytest.mark.parametrize("idle", [0, 1, 7, 19, 22, 23])
def test_cores_share_the_work(engine, idle):
    cores = CORES[engine] - idle
    size = 8 * MIB + 1000
    launch = Launch([random_bytes(size)], engine, cores=cores)
    assert launch.loaded(0) == [(0, size)]
    loads = launch.bytes_per_core()
    assert len(loads) == cores
    assert max(loads) - min(loads) <= 32 * 1024
    # 16 KB at least, but for the end: smaller copies waste HBM.
    assert sum(load[2] < CHUNK for load in launch.loads[0]) <= 1


@pytest.mark.large
def test_usable_l2_can_be_filled():
    weight = torch.zeros(140_928_614, dtype=torch.int8)
    assert Launch([weight]).loaded(0) == [(0, weight.nbytes)]


# --- accounts ---


@ENGINES
def test_account(engine):
    """As far as this launch goes, every byte is pending: whoever reads them runs later."""
    weights = [random_bytes(5 * MIB), random_bytes(64)]
    launch = Launch(weights, engine, offsets=[64, 0], max_bytes=[MIB, 64])
    account = twin.account_prefetch(launch.bytes, ["weights[0]", "weights[1]"])
    planned = MIB + 64
    assert account == {
        "planned": planned, "landed": 0, "pending": planned, "unused": 0, "duplicated": 0,
    }  # fmt: skip


def test_the_documented_function():
    weight, after = random_bytes(1000), torch.ones(3)
    with twin.tracing() as traces:
        assert ops.prefetch([weight]) is None
        ops.prefetch((weight,), max_bytes=(100,), offsets=(3,), cores=2, after=after)
    cores = [Trace(trace).core_count for trace in traces]
    assert cores == [48, 2]
    assert after.tolist() == [1, 1, 1]
