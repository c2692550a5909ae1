"""What a call of prefetch loads, from its trace."""

import torch

from ascend_prefetch.lab import twin
from mla_cases import same_bits
from traces import LOAD, STORE, Trace

BLOCK = 32
CHUNK = 16 * 1024  # what a core fetches at once
KERNELS = {"vector": "prefetch", "cube": "prefetch_cube"}  # by engine


def random_bytes(size):
    """A tensor of random bytes that starts at a block of memory."""
    tensor = torch.randint(-128, 128, (size,), dtype=torch.int8)
    assert tensor.data_ptr() % BLOCK == 0
    return tensor


class Launch:
    """One call of the op and its trace; no tensor may have changed.

    Attributes:
        loads: per weight, (core, offset in the weight, bytes) of every load, core by core.
        cores: cores launched, of the engine's kind and of no other.
    """

    def __init__(self, weights, engine="vector", **options):
        before = [weight.clone() for weight in weights]
        with twin.tracing() as traces:
            result = torch.ops.ascend_prefetch.prefetch(weights, engine=engine, **options)
        assert result is None
        for weight, copy in zip(weights, before, strict=True):
            assert same_bits(weight, copy)
        (self.bytes,) = traces
        trace = Trace(self.bytes)
        assert trace.kernel == KERNELS[engine]
        assert trace.aic_count == (trace.core_count if engine == "cube" else 0)
        assert list(trace.tensors.values()) == [f"weights[{i}]" for i in range(len(weights))]
        self.cores = trace.core_count
        self.loads = [[] for _ in weights]
        self.order = [[] for _ in range(self.cores)]  # of the weights, by core
        for core in range(self.cores):
            for op, _, tensor, _, offset, _, size, count in trace.records(core):
                assert op != STORE
                if op == LOAD:
                    assert count == 1
                    self.loads[tensor].append((core, offset, size))
                    self.order[core].append(tensor)

    def loaded(self, weight):
        """(begin, end) of what was loaded of a weight, loads that adjoin each other as one.

        No two of them may share a byte.
        """
        merged = []
        for _, offset, size in sorted(self.loads[weight], key=lambda load: load[1]):
            if merged and offset <= merged[-1][1]:
                assert offset == merged[-1][1], "a byte was loaded twice"
                merged[-1] = (merged[-1][0], offset + size)
            else:
                merged.append((offset, offset + size))
        return merged

    def bytes_per_core(self):
        totals = [0] * self.cores
        for loads in self.loads:
            for core, _, size in loads:
                totals[core] += size
        return totals


def blocks_of(weight, offset=0, max_bytes=None):
    """(begin, end) of the blocks of memory that hold the requested bytes, inside the weight."""
    end = weight.nbytes if max_bytes is None else min(offset + max_bytes, weight.nbytes)
    address = weight.data_ptr()
    first = (address + offset) // BLOCK * BLOCK - address
    last = -(-(address + end) // BLOCK) * BLOCK - address
    return [(max(first, 0), min(last, weight.nbytes))]


def check_regions_are_taken_in_order(account, prefetch_bytes):
    """A region gets bytes only when the one before it is whole, up to its last 32-byte block.

    Args:
        account: takes the regions that a launch prefetches, and gives an account by their names.
        prefetch_bytes: what the launch may fetch of them.
    """
    sizes = [CHUNK, 3 * CHUNK, 100_001, 0, 31, 32, 700_000, 1_000_000]
    regions = [torch.zeros(size, dtype=torch.uint8) for size in sizes]
    account_of = account(regions)
    whole = [size // 32 * 32 for size in sizes]
    planned = [account_of(f"prefetch[{i}]")["planned"] for i in range(len(sizes))]
    partial = next((i for i in range(len(sizes)) if planned[i] != whole[i]), len(sizes))
    assert not any(planned[partial + 1 :])
    if partial < len(sizes):
        assert planned[partial] < whole[partial]
    if prefetch_bytes == 1 << 40:
        assert planned == whole
    if prefetch_bytes == 0:
        assert not any(planned)
