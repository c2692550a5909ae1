"""What mla_prolog prefetches, accounted from the traces of the twin."""

import json
import random
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from ascend_prefetch import planning
from ascend_prefetch.lab import twin
from ascend_prefetch.models import get_model
from mla_cases import ROPE, SEED, WEIGHTS, MlaCase, MlaInputs, model_case, model_ranks
from prefetch_launch import CHUNK, check_regions_are_taken_in_order
from traces import (
    ALL_PIPES,
    CROSS_SET,
    CROSS_WAIT,
    HEADER,
    LOAD,
    MTE2,
    RECORD,
    RECORD_FIELDS,
    SET_FLAG,
    TENSOR,
    WAIT_FLAG,
    Trace,
)

OWN = ["q_b_weight", "w_uk"]
CHIPS = ["Ascend910B3", "Ascend910_9391"]
# Distinct ones only: half the heads of deepseek-v3 on a rank are a rank of kimi-k2.
RANKS = list(
    {model_case(*rank, tokens=1): rank for rank in model_ranks((1, 2, 4, 5, 8, 10, 16))}.values()
)


def zero_arguments(case):
    """Arguments of the op, all zero: a trace does not depend on values."""

    def weight(name, rows, columns):
        shape = (columns // 16, rows, 16) if name in case.nz else (rows, columns)
        return torch.zeros(*((case.heads,) if name == "w_uk" else ()), *shape, dtype=case.dtype)

    def dense(*shape, dtype=case.dtype):
        return torch.zeros(shape, dtype=dtype)

    return {
        "hidden_states": dense(case.tokens, case.hidden),
        "qkv_a_weight": weight("qkv_a_weight", case.q_lora + case.kv_lora + ROPE, case.hidden),
        "q_a_norm_weight": dense(case.q_lora),
        "q_b_weight": weight("q_b_weight", case.heads * (case.nope + ROPE), case.q_lora),
        "w_uk": weight("w_uk", case.nope, case.kv_lora),
        "kv_a_norm_weight": dense(case.kv_lora),
        "cos": dense(case.tokens, ROPE, dtype=torch.float32),
        "sin": dense(case.tokens, ROPE, dtype=torch.float32),
        "slot_mapping": torch.arange(case.tokens),
        "kv_cache": dense(case.tokens, 1, 1, case.kv_lora),
        "rope_cache": dense(case.tokens, 1, 1, ROPE),
    }


def trace_of(arguments, **options):
    """The trace of one launch."""
    with twin.tracing() as traces:
        torch.ops.ascend_prefetch.mla_prolog(**arguments, **options)
    (trace,) = traces
    return trace


def account(trace, names):
    """The account of the tensors together, which has to balance."""
    result = twin.account_prefetch(trace, names)
    assert result["planned"] == result["landed"] + result["pending"] + result["unused"]
    assert all(result[key] >= 0 for key in result)
    return result


def o_proj_of(name, tp):
    dims = get_model(name)
    return torch.zeros(
        dims.hidden_size, dims.heads_per_rank(tp) * dims.v_head_dim, dtype=torch.bfloat16
    )


# --- models ---


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=["nd", "nz"])
@pytest.mark.parametrize(("name", "tp"), RANKS)
def test_models(name, tp, nz, chip):
    """What the planner decides is loaded, once, and nothing else; here nobody reads o_proj."""
    o_proj = o_proj_of(name, tp)
    for tokens in (1, 16, 64):
        arguments = zero_arguments(model_case(name, tp, tokens, nz=nz))
        with twin.chip(chip), planning.logging_plans() as plans:
            trace = trace_of(arguments, prefetch=[o_proj])
        (plan,) = plans
        result = account(trace, ["prefetch[0]"])
        assert result["unused"] == result["duplicated"] == result["landed"] == 0
        assert result["pending"] == sum(decision.bytes for decision in plan.decisions)
        assert result["pending"] <= o_proj.nbytes
        assert account(trace, OWN)["planned"] == 0


@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=["nd", "nz"])
def test_small_ranks_leave_time(nz):
    """At TP16 everything behind fused_qkv_a is in L1 before q_c is there."""
    arguments = zero_arguments(model_case("deepseek-v3", 16, 16, nz=nz))
    planned = account(trace_of(arguments, prefetch=[o_proj_of("deepseek-v3", 16)]), ["prefetch[0]"])
    assert 400_000 < planned["pending"] < 4_000_000
    arguments = zero_arguments(model_case("deepseek-v3", 1, 16, nz=nz))
    planned = account(trace_of(arguments, prefetch=[o_proj_of("deepseek-v3", 16)]), ["prefetch[0]"])
    assert planned["planned"] == 0


def test_nothing_that_attention_would_evict():
    arguments = zero_arguments(model_case("deepseek-v3", 16, 16))
    o_proj = o_proj_of("deepseek-v3", 16)
    for passing, some in ((0, True), (75_000_000, True), (141_000_000, False), (10**12, False)):
        trace = trace_of(arguments, prefetch=[o_proj], prefetch_passing_bytes=[passing])
        assert (account(trace, ["prefetch[0]"])["planned"] > 0) == some


# --- the byte budget ---


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=["nd", "nz"])
@pytest.mark.parametrize(
    "case",
    [
        model_case("deepseek-v3", 16, 16),
        model_case("glm-4-moe-lite", 4, 1),
        MlaCase(tokens=49, hidden=336, q_lora=192, kv_lora=320, nope=48, heads=5),
    ],
    ids=["deepseek-v3", "glm-4-moe-lite", "odd"],
)
def test_budget(case, nz, chip):
    arguments = zero_arguments(replace(case, nz=nz))
    region = torch.zeros(16 << 20, dtype=torch.uint8)
    budgets = [0, 1, CHUNK - 1, CHUNK, 25 * CHUNK - 1, 25 * CHUNK, 1_000_000, 10_000_000]
    with twin.chip(chip):
        for budget in budgets:
            trace = trace_of(arguments, prefetch=[region], prefetch_bytes=budget)
            result = account(trace, [*OWN, "prefetch[0]"])
            chunks = budget // CHUNK * CHUNK  # the region alone could take them all
            assert result["planned"] == chunks
            assert result["unused"] == result["duplicated"] == 0
            without = trace_of(arguments, prefetch_bytes=budget)
            assert account(without, OWN)["planned"] == 0
        unlimited = trace_of(arguments, prefetch=[region], prefetch_bytes=(1 << 63) - 1)
        assert account(unlimited, ["prefetch[0]"])["planned"] == region.nbytes


@pytest.mark.parametrize("nz", [(), WEIGHTS], ids=["nd", "nz"])
def test_nothing_is_prefetched_without_a_budget(nz):
    arguments = zero_arguments(model_case("deepseek-v3", 16, 1, nz=nz))
    trace = trace_of(arguments, prefetch=[o_proj_of("deepseek-v3", 16)], prefetch_bytes=0)
    result = account(trace, [*OWN, "prefetch[0]"])
    assert result == dict.fromkeys(["planned", "landed", "pending", "unused", "duplicated"], 0)


@pytest.mark.parametrize("prefetch_bytes", [None, *range(0, 2_000_001, 125_000), 1 << 40])
def test_regions_are_taken_in_order(prefetch_bytes):
    """A region gets bytes only when the one before it is whole, up to its last 32-byte block."""
    arguments = zero_arguments(model_case("glm-4-moe-lite", 10, 3))

    def account_of(regions):
        trace = trace_of(arguments, prefetch=regions, prefetch_bytes=prefetch_bytes)
        return lambda name: account(trace, [name])

    check_regions_are_taken_in_order(account_of, prefetch_bytes)


# --- the schedule ---


def warming_loads(trace, name):
    """(GM offset, bytes, core) of every load of a tensor by a vector core."""
    return [
        (offset, block_bytes * blocks, core)
        for core in range(trace.aic_count, trace.core_count)
        for op, _, tensor, _, offset, _, block_bytes, blocks in trace.records(core)
        if op == LOAD and trace.tensors.get(tensor) == name
    ]


@pytest.mark.parametrize("chip", CHIPS)
def test_regions_are_loaded_in_chunks_striped_over_the_vector_cores(chip):
    arguments = zero_arguments(model_case("glm-4-moe-lite", 10, 3))
    regions = [torch.zeros(size, dtype=torch.uint8) for size in (90 * CHUNK, 5 * CHUNK + 4096)]
    with twin.chip(chip):
        trace = Trace(trace_of(arguments, prefetch=regions, prefetch_bytes=1 << 40))
    for index, region in enumerate(regions):
        loads = warming_loads(trace, f"prefetch[{index}]")
        starts = range(0, region.nbytes, CHUNK)
        assert sorted(offset for offset, _, _ in loads) == list(starts)
        for offset, size, _ in loads:
            assert size == min(CHUNK, region.nbytes - offset)
        cores = [core for _, _, core in loads]
        # Two windows: a core may take one chunk more than its share in each.
        share = len(loads) / (trace.core_count - trace.aic_count)
        assert max(cores.count(core) for core in cores) < share + 2


@pytest.mark.parametrize("prefetch_bytes", [None, 1 << 20])
@pytest.mark.parametrize("tp", [1, 16])
def test_regions_wait_for_the_weight_stream(tp, prefetch_bytes):
    """Vector cores load nothing of a region before the last weight of their group has arrived."""
    arguments = zero_arguments(model_case("deepseek-v3", tp, 16))
    regions = [torch.zeros(4 << 20, dtype=torch.uint8)]
    trace = Trace(trace_of(arguments, prefetch=regions, prefetch_bytes=prefetch_bytes))
    if not warming_loads(trace, "prefetch[0]"):
        assert tp == 1 and prefetch_bytes is None
        return
    weights = {"qkv_a_weight", "q_b_weight", "w_uk"}
    for core in range(trace.core_count):
        records = list(trace.records(core))
        if core < trace.aic_count:
            loads = [i for i, r in enumerate(records) if trace.tensors.get(r[2]) in weights]
            (done,) = (
                i
                for i, r in enumerate(records)
                if r[0] == CROSS_SET and r[1] == MTE2 and i > loads[-1]
            )
            assert done > loads[-1]
        else:
            waits = [i for i, r in enumerate(records) if r[0] == CROSS_WAIT]
            loads = [i for i, r in enumerate(records) if trace.tensors.get(r[2]) == "prefetch[0]"]
            assert not loads or any(wait < loads[0] for wait in waits)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("tokens", [1, 49])
def test_two_runs_trace_the_same(tokens, dtype, chip):
    """Whatever the values and the addresses, which only the tensor table holds."""
    case = MlaCase(tokens, hidden=336, q_lora=832, kv_lora=320, nope=48, heads=11, dtype=dtype)
    first, second = MlaInputs(case, seed=1), MlaInputs(case, seed=2)
    second.arguments["slot_mapping"] = first.arguments["slot_mapping"]
    traces = []
    regions = []  # kept, so that the second run's region lies elsewhere
    for inputs in (first, second):
        kv_cache, rope_cache = inputs.poisoned_caches()
        caches = {"kv_cache": kv_cache.tensor, "rope_cache": rope_cache.tensor}
        regions.append(torch.zeros(1 << 20, dtype=torch.uint8))
        with twin.chip(chip):
            traces.append(trace_of({**inputs.arguments, **caches}, prefetch=regions[-1:]))
    assert traces[0] != traces[1]
    assert Trace(traces[0]).without_addresses() == Trace(traces[1]).without_addresses()


# --- damaged traces ---


@pytest.fixture(scope="module")
def small_trace():
    case = MlaCase(tokens=1, hidden=16, q_lora=64, kv_lora=64, nope=16, heads=1)
    return trace_of(zero_arguments(case))


def with_header(trace, **fields):
    names = ["magic", "version", "core_count", "aic_count", "tensor_count", "site_count", "records"]
    values = dict(zip(names, HEADER.unpack_from(trace), strict=True)) | fields
    return HEADER.pack(*values.values()) + trace[HEADER.size :]


def test_a_truncated_trace_is_refused(small_trace):
    size = len(small_trace)
    lengths = {0, 1, HEADER.size - 1, HEADER.size, size // 2, size - 1}
    lengths |= set(range(HEADER.size, size, size // 100))
    for length in sorted(lengths):
        with pytest.raises(ValueError, match=f"^trace: .*{length} bytes|^trace: ends inside"):
            twin.account_prefetch(small_trace[:length], OWN)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"magic": 0}, r"not a trace \(wrong magic\)"),
        ({"version": 0}, "version 0, this build reads 1"),
        ({"version": 7}, "version 7, this build reads 1"),
        ({"aic_count": 1000}, "more AICs than cores"),
        ({"core_count": 71}, "the core table does not add up"),
        ({"core_count": 1 << 31}, "its header promises more than its .* bytes hold"),
        ({"tensor_count": 1 << 31}, "its header promises more than its .* bytes hold"),
        ({"records": 1 << 60}, "its header promises more than its .* bytes hold"),
        ({"records": 1}, "the core table does not add up"),
        ({"site_count": 1 << 31}, "ends inside its sites"),
        ({"site_count": 0}, "bytes follow its end"),
    ],
)
def test_a_wrong_header_is_refused(small_trace, fields, message):
    with pytest.raises(ValueError, match=f"^trace: {message}"):
        twin.account_prefetch(with_header(small_trace, **fields), OWN)


def errors_of_damaged(trace, patches, directory):
    """What account_prefetch says to a trace with each of the patches, "" where it finds no fault.

    Patches are (place, bytes). The calls run in a process of their own: should one of them kill it,
    the result ends there.
    """
    (directory / "trace").write_bytes(trace)
    (directory / "patches").write_text(
        json.dumps([(place, list(content)) for place, content in patches])
    )
    script = f"""
import json, pathlib
from ascend_prefetch import planning
from ascend_prefetch.lab import twin
directory = pathlib.Path({str(directory)!r})
trace = (directory / "trace").read_bytes()
for place, content in json.loads((directory / "patches").read_text()):
    damaged = trace[:place] + bytes(content) + trace[place + len(content):]
    try:
        twin.account_prefetch(damaged, {OWN!r})
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    else:
        print(flush=True)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return run.stdout.split("\n")[:-1]


def test_a_changed_bit_does_no_harm(small_trace, tmp_path):
    """A damaged trace is accounted or refused; nothing else may happen."""
    generator = random.Random(SEED)
    print(f"ASCEND_PREFETCH_SEED={SEED}")
    changes = [(generator.randrange(len(small_trace)), generator.randrange(8)) for _ in range(2000)]
    # The pipe of every record, which indexes tables.
    parts = Trace(small_trace)
    for place in range(parts.first_record, parts.texts, RECORD.size):
        changes += [(place + 1, bit) for bit in (0, 2, 7)]
    patches = [(place, bytes([small_trace[place] ^ 1 << bit])) for place, bit in changes]
    errors = errors_of_damaged(small_trace, patches, tmp_path)
    for change, error in zip(changes, errors, strict=False):
        assert error == "" or error.startswith("ValueError "), (change, error)
    assert len(errors) == len(changes), f"died of {changes[len(errors)]}"


def patch_record(trace, operation, tensor_name=None, **fields):
    """The patch that changes fields of the first record of an operation (on a tensor)."""
    parts = Trace(trace)
    names = ["op", "pipe", "tensor", "site", "offset", "stride", "block_bytes", "blocks"]
    for place in range(parts.first_record, parts.texts, RECORD.size):
        values = dict(zip(names, RECORD.unpack_from(trace, place), strict=True))
        if values["op"] == operation and parts.tensors.get(values["tensor"]) == tensor_name:
            return place, RECORD.pack(*(values | fields).values())[:RECORD_FIELDS]
    raise LookupError(f"no record of operation {operation} on {tensor_name}")


def test_a_damaged_record_is_refused(small_trace, tmp_path):
    """Records that would index past a table."""
    past_end = "a record reaches past the end of 'q_b_weight'$"
    size = 80 * 64 * 2  # of q_b_weight, in bytes
    ranges = [
        {"offset": size},
        {"offset": (1 << 64) - 32},
        {"blocks": (1 << 32) - 1, "stride": 32},
        # Modulo 2^64 the third block lies on the first.
        {"stride": 1 << 63, "blocks": 3},
    ]
    cases = [(patch_record(small_trace, LOAD, "q_b_weight", **r), past_end) for r in ranges]
    unknown = "a record names a site or tensor that is not in it"
    for fields in ({"tensor": 15}, {"site": 1 << 31}):
        cases.append((patch_record(small_trace, LOAD, "q_b_weight", **fields), unknown))
    for operation in (SET_FLAG, WAIT_FLAG, CROSS_SET):
        for pipe in (ALL_PIPES, ALL_PIPES + 1, 255):
            patch = patch_record(small_trace, operation, pipe=pipe)
            cases.append((patch, "a record .* pipe"))
    errors = errors_of_damaged(small_trace, [patch for patch, _ in cases], tmp_path)
    for case, (error, (_, message)) in enumerate(zip(errors, cases, strict=False)):
        assert re.match(f"ValueError trace: {message}", error), case
    assert len(errors) == len(cases), f"died where expected: {cases[len(errors)][1]}"


def test_a_tensor_larger_than_any_memory_is_refused(small_trace):
    parts, damaged = Trace(small_trace), bytearray(small_trace)
    index = next(index for index, name in parts.tensors.items() if name == "q_b_weight")
    place = parts.tensor_table + index * TENSOR.size
    address, _, writable, reserved = TENSOR.unpack_from(damaged, place)
    TENSOR.pack_into(damaged, place, address, 1 << 60, writable, reserved)
    with pytest.raises(ValueError, match="^trace: .*q_b_weight"):
        twin.account_prefetch(bytes(damaged), OWN)


def test_bytes_behind_a_trace_are_refused(small_trace):
    with pytest.raises(ValueError, match="^trace: bytes follow its end$"):
        twin.account_prefetch(small_trace + b"x", OWN)


def test_an_unknown_tensor_is_refused(small_trace):
    message = "^account_prefetch: the trace has no tensor 'o_proj'$"
    with pytest.raises(ValueError, match=message):
        twin.account_prefetch(small_trace, [*OWN, "o_proj"])
