"""Two and four ranks over gloo against one: prologs, caches and the all-reduced o_proj output."""

import shutil
from dataclasses import replace

import pytest
import torch

import tensor_parallel as tp
from ascend_prefetch.lab import reference
from ascend_prefetch.models import (
    IndexerDimensions,
    ModelDimensions,
    load_indexer_weights,
    load_mla_weights,
)
from attention_checkpoint import save_attention
from mla_cases import check_output, same_bits

# Ranks have 6 and 3 heads; no size but the rope's is a power of two.
DIMS = ModelDimensions(
    name="small",
    hidden_size=336,
    num_heads=12,
    q_lora_rank=192,
    kv_lora_rank=320,
    qk_nope_head_dim=80,
    qk_rope_head_dim=64,
    v_head_dim=48,
    rms_norm_eps=1e-6,
    rope_interleaved=True,
    source="made up",
)
# int8 layers have multiples of 64 on both sides.
INT8_DIMS = replace(DIMS, hidden_size=320, qk_nope_head_dim=64, v_head_dim=64)
INDEXER = IndexerDimensions(num_heads=16, head_dim=128, top_k=4, rope_interleaved=False)
CASES = {
    f"{op}-{quant}": (replace(dims, indexer=INDEXER if op == "sfa" else None), 19)
    for quant, dims in (("none", DIMS), ("w8a8", INT8_DIMS), ("w8a8_dynamic", INT8_DIMS))
    for op in ("mla", "sfa")
}
REPLICATED = ("q_c", "q_nope_scale", "indexer_q", "indexer_weights")

cases = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    for seed, (name, (dims, _)) in enumerate(CASES.items()):
        (directory / name).mkdir()
        save_attention(directory / name, dims, name.partition("-")[2], seed)
    return directory


@pytest.fixture(scope="module", params=[2, 4], ids="tp{}".format)
def group(request, checkpoints, tmp_path_factory):
    """The number of ranks and the results of all of them by case."""
    directory = tmp_path_factory.mktemp("group") / "run"
    shutil.copytree(checkpoints, directory)
    tp.run_group(request.param, directory, CASES)
    ranks = range(request.param)
    return request.param, {
        name: [tp.AttentionResult(**torch.load(directory / name / f"rank-{r}.pt")) for r in ranks]
        for name in CASES
    }


@pytest.fixture(scope="module")
def unsharded(checkpoints):
    return {name: tp.attention(checkpoints / name, *case) for name, case in CASES.items()}


@cases
def test_prolog(case, group, unsharded):
    """Bit for bit: heads are columns of q_b, and no column's sum depends on another's."""
    size, results = group
    whole, ranks = unsharded[case], results[case]
    assert len(ranks) == size
    for name, expected in whole.prolog.items():
        if name in REPLICATED:
            for rank in ranks:
                assert same_bits(rank.prolog[name], expected), name
        else:
            actual = torch.cat([rank.prolog[name] for rank in ranks], dim=1)
            assert same_bits(actual, expected), name
    for name, expected in whole.caches.items():
        for rank in ranks:
            assert same_bits(rank.caches[name], expected), name
    assert same_bits(torch.cat([rank.latent for rank in ranks], dim=1), whole.latent)


@cases
def test_output(case, group, unsharded, checkpoints):
    """Partial sums, each rounded to bf16, and their sum against float64."""
    size, results = group
    dims, _ = CASES[case]
    shards = [load_mla_weights(checkpoints / case, dims, 0, r, size) for r in range(size)]
    expected = []
    for rank, weights in zip(results[case], shards, strict=True):
        expected.append(reference.o_proj(rank.latent, weights.o_proj, w_uv=weights.w_uv))
        check_output("partial", rank.partial, expected[-1])
        assert same_bits(rank.output, results[case][0].output)
    check_output("output", results[case][0].output, sum(expected))
    if case.endswith("dynamic"):
        return  # A token has one scale per rank, and other int8 values than unsharded.
    whole = unsharded[case]
    weights = load_mla_weights(checkpoints / case, dims, 0, 0, 1)
    exact = reference.o_proj(whole.latent, weights.o_proj, w_uv=weights.w_uv)
    check_output("output", results[case][0].output, exact)
    check_output("unsharded", whole.output, exact)


@cases
def test_unsharded_prolog(case, unsharded, checkpoints):
    """What the ranks are held against is itself right, behind the op's own latent."""
    dims, tokens = CASES[case]
    weights = load_mla_weights(checkpoints / case, dims, 0, 0, 1)
    cos, sin = reference.rope_tables(torch.arange(tokens), dims.qk_rope_head_dim)
    arguments = {
        **weights.prolog_layers(),
        "hidden_states": tp.hidden_states(dims, tokens),
        "cos": cos,
        "sin": sin,
        "eps": dims.rms_norm_eps,
        "q_c": unsharded[case].prolog["q_c"],
    }
    slots = torch.arange(tokens)
    caches = {
        name: cache.flatten(0, 2).flip(0)[slots] for name, cache in unsharded[case].caches.items()
    }
    if dims.indexer is None:
        mla = reference.mla_prolog(**arguments)
    else:
        indexer = load_indexer_weights(checkpoints / case, dims, 0)
        mla, keys = reference.sfa_prolog(
            **arguments,
            **indexer.layers(),
            indexer_rope_interleaved=dims.indexer.rope_interleaved,
        )
        check_output("indexer_cache", caches["indexer_cache"], keys.k)
        check_output("indexer_q", unsharded[case].prolog["indexer_q"], keys.q)
        check_output("indexer_weights", unsharded[case].prolog["indexer_weights"], keys.weights)
    for name in ("q_nope", "q_rope", "q_c"):
        check_output(name, unsharded[case].prolog[name], getattr(mla, name))
    check_output("kv_cache", caches["kv_cache"], mla.kv_c)
    check_output("rope_cache", caches["rope_cache"], mla.k_rope)
