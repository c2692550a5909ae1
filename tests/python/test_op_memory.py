"""The memory behind the tensors of a call: as large as they say, and apart where it has to be."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, seed, settings
from hypothesis import strategies as st

from ascend_prefetch.lab import twin
from bad_calls import refuses
from mla_cases import SEED, MlaCase, MlaInputs, cache_arguments, same_bits
from op_calls import (
    OPS,
    changed,
    each_argument,
    good_call,
    tensor_arguments,
    written_arguments,
)
from sfa_cases import SfaCase, SfaInputs
from traces import launches

CASE = MlaCase(tokens=5, hidden=64, q_lora=128, kv_lora=192, nope=32, heads=3, block_size=4)


@pytest.mark.parametrize("op", OPS)
def test_the_calls_are_good_and_have_every_tensor(op):
    arguments = good_call(op)
    OPS[op](**arguments)
    given = {name for name, value in arguments.items() if isinstance(value, torch.Tensor | list)}
    assert given == set(tensor_arguments(op))


# --- storages ---


def touched_arguments(op):
    """All but `after`, of which the op knows nothing but that it is there."""
    return [name for name in tensor_arguments(op) if name != "after"]


def cut(tensor, offset, missing):
    """The values in a storage of their own, behind `offset` elements and with bytes missing."""
    memory = torch.empty(offset + tensor.numel(), dtype=tensor.dtype)
    view = memory[offset:].view(tensor.shape).copy_(tensor)
    memory.untyped_storage().resize_(max(0, memory.nbytes - missing))
    return view


@pytest.mark.parametrize(("op", "name"), each_argument(touched_arguments))
@pytest.mark.parametrize(("offset", "missing"), [(0, math.inf), (7, 1)])
def test_a_storage_smaller_than_its_tensor(op, name, offset, missing):
    """Shrunk by a byte, freed, or read from an offset on: nothing outside of it is touched."""
    given = []

    def change(tensor):
        given.append(cut(tensor, offset, missing))
        return given[0]

    arguments, argument = changed(good_call(op), name, change)
    expected = (offset + given[0].numel()) * given[0].element_size()
    got = given[0].untyped_storage().nbytes()
    assert got < expected
    message = f"expected a storage of at least {expected} bytes, got {got}"
    refuses(OPS[op], RuntimeError, f"argument '{argument}': {message}", arguments)


def test_a_strided_cache_ends_with_its_last_block():
    """The gap behind the last block needs no memory; a byte less than the block does not do."""
    inputs = MlaInputs(replace(CASE, cache_gap=16))
    arguments = {**inputs.arguments, **cache_arguments(inputs)}
    cache = arguments["kv_cache"]
    needed = (cache.storage_offset() + (len(cache) - 1) * cache.stride(0) + 4 * 192) * 2
    cache.untyped_storage().resize_(needed)
    OPS["mla_prolog"](**arguments)
    cache.untyped_storage().resize_(needed - 1)
    message = f"expected a storage of at least {needed} bytes, got {needed - 1}"
    refuses(OPS["mla_prolog"], RuntimeError, f"argument 'kv_cache': {message}", arguments)


def test_a_freed_storage_of_what_orders_a_prefetch():
    """`after` is neither read nor changed."""
    after = torch.ones(5)
    after.untyped_storage().resize_(0)
    OPS["prefetch"]([torch.ones(64)], after=after)


# --- what is written overlaps nothing else ---


def others(op):
    """Pairs of a written argument and another that the op uses itself."""
    used = [name for name in touched_arguments(op) if name != "prefetch"]
    written = written_arguments(op)
    # Of two caches the later one is refused.
    return [
        (first, second)
        for first in written
        for second in used
        if second not in written or written.index(second) < written.index(first)
    ]


def laid_over(first, second, shared):
    """Copies of both in one memory, with `shared` bytes in common at the end of the first."""
    begin = -(-(first.nbytes - shared) // 8) * 8 if shared else -(-first.nbytes // 8) * 8
    memory = torch.empty(begin + second.nbytes + first.nbytes, dtype=torch.uint8)
    views = []
    for tensor, offset in ((first, 0), (second, begin)):
        view = memory[offset : offset + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        views.append(view.copy_(tensor))
    return views


@pytest.mark.parametrize(
    ("op", "names"), [(op, names) for op in ("mla_prolog", "sfa_prolog") for names in others(op)]
)
def test_a_cache_over_another_argument(op, names):
    first, second = names
    arguments = good_call(op)
    arguments[first], arguments[second] = laid_over(arguments[first], arguments[second], 8)
    message = f"expected memory of its own, which is written, got memory shared with '{second}'"
    refuses(OPS[op], ValueError, f"argument '{first}': {message}", arguments)


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog"])
def test_one_cache_for_another(op):
    arguments = good_call(op)
    arguments["kv_cache_scale"] = None
    arguments["kv_cache"] = arguments["rope_cache"].new_zeros(arguments["kv_cache"].shape)
    flat = arguments["kv_cache"].flatten()
    for name in written_arguments(op)[1:]:
        shape = arguments[name].shape
        alias = flat[: math.prod(shape)].view(shape)
        message = "expected memory of its own, which is written, got memory shared with 'kv_cache'"
        refuses(OPS[op], ValueError, f"argument '{name}': {message}", {**arguments, name: alias})


def test_all_arguments_side_by_side_in_one_memory():
    """Every byte between the first and the last is used, and results are those of apart tensors."""
    case = SfaCase(**{**vars(CASE), "indexer_heads": 16})
    inputs = SfaInputs(case)
    arguments = {**inputs.arguments, **cache_arguments(inputs)}
    expected_caches = {name: arguments[name].clone() for name in case.cache_rows()}
    expected = OPS["sfa_prolog"](**{**arguments, **expected_caches})
    tensors = {n: value for n, value in arguments.items() if isinstance(value, torch.Tensor)}
    pool = torch.empty(sum(-(-t.nbytes // 8) * 8 for t in tensors.values()), dtype=torch.uint8)
    begin = 0
    for name, tensor in tensors.items():
        view = pool[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        arguments[name] = view.copy_(tensor)
        begin += -(-tensor.nbytes // 8) * 8
    for actual, wanted in zip(OPS["sfa_prolog"](**arguments), expected, strict=True):
        assert same_bits(actual, wanted)
    for name, wanted in expected_caches.items():
        assert same_bits(arguments[name], wanted)


@pytest.mark.parametrize("layers", [1, 3])
def test_caches_that_share_blocks_of_one_pool(layers):
    """Each block holds the rows of every cache of every layer, as one allocation of a server."""
    inputs = MlaInputs(replace(CASE, skip=0.3))
    apart = cache_arguments(inputs)
    OPS["mla_prolog"](**inputs.arguments, **apart)
    blocks = len(apart["kv_cache"])
    sizes = {name: 4 * width for name, (width, _) in CASE.cache_rows().items()}
    pool = torch.zeros(blocks, layers, sum(sizes.values()), dtype=CASE.dtype)
    for layer in range(layers):
        caches, begin = {}, 0
        for name, size in sizes.items():
            part = pool[:, layer, begin : begin + size]
            caches[name] = part.view(apart[name].shape)
            caches[name].copy_(cache_arguments(inputs)[name])
            begin += size
        OPS["mla_prolog"](**inputs.arguments, **caches)
        for name, wanted in apart.items():
            assert same_bits(caches[name], wanted)
    assert (pool.isnan().any(dim=-1) | (pool != 0).any(dim=-1)).all()


BLOCKS = st.tuples(st.integers(0, 6), st.integers(0, 3000))  # gap in 32, offset in 4 elements


@settings(max_examples=150, deadline=None, print_blob=True)
@seed(SEED)
@given(latent=BLOCKS, rope=BLOCKS)
# In the gaps of the other, exactly; and an element too far.
@example(latent=(2, 0), rope=(6, 48))
@example(latent=(2, 0), rope=(6, 47))
@example(latent=(2, 0), rope=(6, 49))
def test_blocks_of_two_caches_at_any_distance(latent, rope):
    """Refused exactly where two blocks share an element; one row a block, some elements apart."""
    memory = torch.zeros(20_000, dtype=CASE.dtype)
    inputs = MlaInputs(replace(CASE, block_size=1, blocks=9, tokens=1))
    views, elements = [], []
    for (gap, offset), width in ((latent, 192), (rope, 64)):
        stride = width + 32 * gap
        views.append(memory.as_strided((9, 1, 1, width), (stride, width, width, 1), 4 * offset))
        elements.append({4 * offset + i * stride + e for i in range(9) for e in range(width)})
    caches = {"kv_cache": views[0], "rope_cache": views[1]}
    with twin.dry():
        if elements[0].isdisjoint(elements[1]):
            OPS["mla_prolog"](**inputs.arguments, **caches)
            return
        with pytest.raises(ValueError, match="'rope_cache': .* memory shared with 'kv_cache'$"):
            OPS["mla_prolog"](**inputs.arguments, **caches)


# --- what is only read may be shared ---


def test_operands_that_are_read_may_share_memory():
    case = replace(CASE, q_lora=192, table_dtype=None)
    inputs = MlaInputs(case)
    arguments = inputs.arguments
    table = torch.randn(5, 64).to(case.dtype)
    fused = torch.cat([arguments["qkv_a_weight"].flatten(), arguments["q_b_weight"].flatten()])
    split = arguments["qkv_a_weight"].numel()
    norm = arguments["q_a_norm_weight"]
    apart = {"cos": table, "sin": table.clone(), "kv_a_norm_weight": norm.clone()}
    shared = {
        "cos": table,
        "sin": table,
        "kv_a_norm_weight": norm,
        "qkv_a_weight": fused[:split].view(arguments["qkv_a_weight"].shape),
        "q_b_weight": fused[split:].view(arguments["q_b_weight"].shape),
    }
    results = [
        OPS["mla_prolog"](**{**arguments, **cache_arguments(inputs), **tables})
        for tables in (apart, shared)
    ]
    for actual, wanted in zip(*results, strict=True):
        assert same_bits(actual, wanted)


# --- what is prefetched is nobody's operand ---


def used_arguments(op):
    return [name for name in tensor_arguments(op, lists=False) if name != "after"]


@pytest.mark.parametrize(("op", "name"), each_argument(used_arguments))
def test_prefetch_of_an_operand(op, name):
    arguments = good_call(op)
    part = arguments[name].flatten()[-1:]
    arguments["prefetch"] = [torch.ones(9), part]
    message = f"expected bytes that nothing else fetches, got memory shared with '{name}'"
    refuses(OPS[op], ValueError, f"argument 'prefetch[1]': {message}", arguments)


@pytest.mark.parametrize("op", ["mla_prolog", "sfa_prolog", "o_proj"])
@pytest.mark.parametrize("reverse", [False, True])
def test_prefetch_of_adjacent_views(op, reverse):
    """Whichever comes first: they share no byte."""
    weight = torch.zeros(4096, dtype=torch.uint8)
    views = [weight[:1024], weight[1024:3000], weight[3000:]]
    arguments = good_call(op) | {"prefetch": views[::-1] if reverse else views}
    OPS[op](**arguments)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("engine", ["vector", "cube", "sdma"])
def test_the_prefetch_op_with_adjacent_views(reverse, engine):
    weight = torch.zeros(4096, dtype=torch.uint8)
    views = [weight[:1024], weight[1024:3000], weight[3000:]]
    kernels = launches(OPS["prefetch"], views[::-1] if reverse else views, engine=engine)
    assert kernels == {"vector": ["prefetch"], "cube": ["prefetch_cube"], "sdma": []}[engine]


def test_a_copy_on_write_tensor_is_no_alias():
    """Its bytes become its own before they are written."""
    arguments = good_call("mla_prolog")
    cache = torch._lazy_clone(arguments["rope_cache"])
    before = arguments["rope_cache"].clone()
    original, arguments["rope_cache"] = arguments["rope_cache"], cache
    arguments["prefetch"] = [original]
    OPS["mla_prolog"](**arguments)
    assert same_bits(original, before)
    assert not same_bits(cache, before)


# --- no memory left ---

OUT_OF_MEMORY = """
import resource
import torch
from ascend_prefetch.lab import twin
from op_calls import OPS, good_call

arguments = good_call("mla_prolog")
expected = OPS["mla_prolog"](**arguments)
refused = set()
with twin.chip("Ascend910B4"):  # fewer cores, so that the next launch asks for more
    OPS["mla_prolog"](**arguments)
_, hard = resource.getrlimit(resource.RLIMIT_AS)
for extra in range(0, 64):
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + extra * (1 << 20), hard))
    try:
        OPS["mla_prolog"](**arguments)
        break
    except (MemoryError, RuntimeError) as error:
        refused.add(type(error).__name__)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
results = OPS["mla_prolog"](**arguments)
assert all(torch.equal(a, b) for a, b in zip(results, expected))
print(sorted(refused))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its address space")
@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="the address sanitizer ends a process that runs out of memory",
)
def test_no_memory_for_the_buffers_of_the_cores():
    """An error in Python, whatever could not be had, and the next call is as good as ever."""
    process = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY],
        capture_output=True,
        text=True,
        cwd=__file__.rsplit("/", 1)[0],
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "MemoryError" in process.stdout.splitlines()[-1]
