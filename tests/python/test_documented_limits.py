"""The limits that ascend_prefetch.ops documents are those of the ops: the number itself is taken,
one step beyond is refused. Meta tensors, which the ops check alike."""

import re

import pytest
import torch

from ascend_prefetch import ops
from mla_cases import SEED

ROPE = 64


def zeros(*shape, dtype=torch.bfloat16):
    return torch.zeros(shape, dtype=dtype, device="meta")


def mla(
    tokens=2, hidden=64, q_lora=64, kv_lora=64, nope=16, heads=1, rows=8, int8=False, regions=0
):
    linear = zeros(heads * (nope + ROPE), q_lora)
    quant = {}
    if int8:
        linear = zeros(*reversed(linear.shape), dtype=torch.int8)
        quant["q_b_dequant_scale"] = zeros(linear.shape[1], dtype=torch.float32)
    return torch.ops.ascend_prefetch.mla_prolog, {
        "hidden_states": zeros(tokens, hidden),
        "qkv_a_weight": zeros(q_lora + kv_lora + ROPE, hidden),
        "q_a_norm_weight": zeros(q_lora),
        "q_b_weight": linear,
        "w_uk": zeros(heads, nope, kv_lora),
        "kv_a_norm_weight": zeros(kv_lora),
        "cos": zeros(tokens, ROPE),
        "sin": zeros(tokens, ROPE),
        "slot_mapping": zeros(tokens, dtype=torch.int64),
        "kv_cache": zeros(4, rows, 1, kv_lora),
        "rope_cache": zeros(4, rows, 1, ROPE),
        "prefetch": [zeros(64) for _ in range(regions)],
        **quant,
    }


def sfa(dim=128, indexer_heads=16):
    _, arguments = mla()
    return torch.ops.ascend_prefetch.sfa_prolog, {
        **arguments,
        "indexer_cache": zeros(4, 8, 1, dim),
        "indexer_wq_b": zeros(indexer_heads * dim, 64),
        "indexer_wk": zeros(dim, 64),
        "indexer_k_norm_weight": zeros(dim),
        "indexer_k_norm_bias": zeros(dim),
        "indexer_weights_proj": zeros(indexer_heads, 64),
    }


def o_proj(tokens=2, columns=64, hidden=64, kv_lora=0):
    op = torch.ops.ascend_prefetch.o_proj
    if not kv_lora:
        return op, {
            "attn_output": zeros(tokens, columns),
            "o_proj_weight": zeros(hidden, columns),
        }
    # Rows of 3 heads.
    return op, {
        "attn_output": zeros(tokens, 3, kv_lora),
        "w_uv": zeros(3, kv_lora, 16),
        "o_proj_weight": zeros(hidden, 48),
    }


def prefetch(weights):
    return torch.ops.ascend_prefetch.prefetch, {"weights": [zeros(64) for _ in range(weights)]}


MODULE, MLA, SFA, O_PROJ, PREFETCH = (
    " ".join((thing.__doc__ or "").split())
    for thing in (ops, ops.mla_prolog, ops.sfa_prolog, ops.o_proj, ops.prefetch)
)
# Where a number stands, and the call of so many, with its steps beyond.
LARGEST = {
    "tokens": (MODULE, r"T counts tokens \(1 to ([\d,]+)\)", lambda n: mla(tokens=n), 1),
    "tokens of o_proj": (MODULE, r"tokens \(1 to ([\d,]+)\)", lambda n: o_proj(tokens=n), 1),
    "rows of a block": (MODULE, r"of 1 to ([\d,]+) rows", lambda n: mla(rows=n), 1),
    "prefetch": (MODULE, r"holds up to ([\d,]+) contiguous", lambda n: mla(regions=n), 1),
    "q_lora": (MLA, r"q_lora is a multiple of 64, at most ([\d,]+)", lambda n: mla(q_lora=n), 64),
    "kv_lora": (MLA, r"; kv_lora is a multiple of 64, at most (\d+)", lambda n: mla(kv_lora=n), 64),
    "nope": (
        MLA,
        r"of 64 and at most ([\d,]+) with an int8 weight",
        lambda n: mla(nope=n, int8=True),
        64,
    ),
    "indexer": (SFA, r"a multiple of 64 from 128 to ([\d,]+)", lambda n: sfa(dim=n), 64),
    "weights": (PREFETCH, r"weights: 1 to ([\d,]+) contiguous", prefetch, 1),
}


def number(text, pattern):
    found = re.findall(pattern, text)
    assert len(found) == 1, f"documented {len(found)} times: {pattern}"
    return int(found[0].replace(",", ""))


def accepts(call):
    op, arguments = call
    op(**arguments)


def refuses(call):
    op, arguments = call
    with pytest.raises(ValueError, match="expected .*, got "):
        op(**arguments)


@pytest.mark.parametrize("name", LARGEST)
def test_the_most(name):
    text, pattern, call, step = LARGEST[name]
    most = number(text, pattern)
    accepts(call(most))
    refuses(call(most + step))


@pytest.mark.parametrize("name", ["tokens", "tokens of o_proj", "rows of a block", "weights"])
def test_the_least(name):
    call = LARGEST[name][2]
    accepts(call(1))
    refuses(call(0))


def test_the_least_indexer():
    least = number(SFA, r"a multiple of 64 from (\d+) to")
    accepts(sfa(dim=least))
    refuses(sfa(dim=least - 64))


@pytest.mark.parametrize(
    ("call", "width"),
    [
        (lambda n: mla(hidden=16 * n), 16),
        (lambda n: mla(heads=n), 16 + ROPE),
        (lambda n: sfa(indexer_heads=16 * n), 16 * 128),
        (lambda n: o_proj(hidden=16 * n), 16),
        (lambda n: o_proj(columns=16 * n), 16),
    ],
    ids=["hidden", "q_b", "wq_b", "o_proj out", "o_proj in"],
)
def test_rows_and_columns_of_weights(call, width):
    most = number(MODULE, r"No weight has more than ([\d,]+) rows or columns") // width
    accepts(call(most))
    refuses(call(most + 1))


def test_rows_of_attention():
    most = number(O_PROJ, r"Rows are a multiple of 16 elements, at most ([\d,]+)") // (3 * 16)
    accepts(o_proj(kv_lora=16 * most))
    refuses(o_proj(kv_lora=16 * (most + 1)))


def test_larger_blocks_viewed_as_smaller_ones():
    """As documented: the same slots name the same rows."""
    generator = torch.Generator().manual_seed(SEED)
    op, shapes = mla(tokens=5, rows=2176)
    arguments = {
        name: torch.empty(value.shape, dtype=value.dtype).normal_(generator=generator)
        for name, value in shapes.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    slots = torch.tensor([0, 543, 544, 4 * 2176 - 1, 2176])
    caches = {}
    for rows in (544, 64):
        caches[rows] = [torch.full_like(arguments[n], 7.0) for n in ("kv_cache", "rope_cache")]
        kv_cache, rope_cache = (cache.view(-1, rows, 1, 64) for cache in caches[rows])
        op(
            **{**arguments, "slot_mapping": slots, "kv_cache": kv_cache, "rope_cache": rope_cache},
        )
    for one, other in zip(caches[544], caches[64], strict=True):
        assert torch.equal(one, other)
        written = (one.view(-1, 64) != 7.0).any(1).nonzero().flatten()
        assert written.tolist() == sorted(slots.tolist())
