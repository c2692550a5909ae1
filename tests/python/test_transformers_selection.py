"""The selection of sparse attention, patched and unpatched, and the attention behind it."""

import pytest
import torch

import small_models as small
from ascend_prefetch.lab import reference
from ascend_prefetch.transformers import patch
from ascend_prefetch.transformers.latent_attention import (
    attend,
    explicit_mask,
    select_top_k,
    sparse_mask,
)

# The indexer's queries, keys and weights are rounded to bfloat16 a few times on either side.
NOISE = 2e-2


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", small.SPARSE)
@pytest.mark.parametrize("seed", range(3))
def test_selection(family, seed):
    """Every token selected by one side alone scores as much as the last one, but for noise."""
    model = small.small_model(family, seed, num_hidden_layers=1, indexer_types=["full"])
    attention = model.model.layers[0].self_attn
    tokens = 3 * small.TOP_K
    hidden = random(2, tokens, 256, seed=seed).bfloat16()
    tables = model.model.rotary_emb(hidden, torch.arange(tokens).expand(2, -1))
    mask = torch.ones(2, 1, tokens, tokens, dtype=torch.bool).tril()
    mask[1, :, :, :5] = False  # padding on the left

    def selection(module, states):
        position_embeddings = tuple(table.to(states.dtype) for table in tables)
        latent = module.q_a_layernorm(module.q_a_proj(states))
        return module.indexer(states, latent, position_embeddings, mask[:, 0], None)

    chosen = {}

    def keep(*arguments):
        chosen["scores"] = select_top_k(*arguments)
        return chosen["scores"]

    with torch.no_grad():
        expected = selection(attention, hidden)
        patch(model)
        patched = attention.forward
        with pytest.MonkeyPatch.context() as context:
            context.setattr("ascend_prefetch.transformers.attention.select_top_k", keep)
            patched(hidden, tables, mask)
        scores = exact_scores(attention.float(), hidden.float(), tables)
    scores = scores.masked_fill(~mask[:, 0], -torch.inf)
    differing = 0
    for batch in range(2):
        for row in range(small.TOP_K + 5, tokens):
            seen = scores[batch, row][mask[batch, 0, row]]
            last = seen.topk(small.TOP_K).values[-1]
            ours, theirs = (set(s[batch, row].tolist()) for s in (chosen["scores"], expected))
            assert len(ours) == small.TOP_K
            for token in ours ^ theirs:
                differing += 1
                assert (scores[batch, row, token] - last).abs() <= NOISE * seen.std()
    assert differing < 0.02 * tokens * 2 * small.TOP_K


def exact_scores(attention, hidden, tables):
    """[B, S, L] of the indexer in float32 on the same bfloat16 weights, before the mask."""
    indexer = attention.indexer
    latent = attention.q_a_layernorm(attention.q_a_proj(hidden))
    query = indexer.wq_b(latent).unflatten(-1, (indexer.n_heads, indexer.head_dim))
    keys = indexer.k_norm(indexer.wk(hidden))
    interleaved = type(attention).__name__.startswith("Glm")

    def rotate(x):
        cos, sin = (table[0] for table in tables)
        turned = [reference.rope(row[..., :64], cos, sin, interleaved) for row in x]
        return torch.cat([torch.stack(turned), x[..., 64:].double()], dim=-1)

    products = torch.einsum("bshd,bld->bshl", rotate(query), rotate(keys)).relu()
    return torch.einsum("bsh,bshl->bsl", indexer.weights_proj(hidden).double(), products)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32], ids=["bool", "float"])
def test_hidden_tokens_stay_hidden(dtype):
    """Fewer tokens are seen than selected: the rest of the selection is masked."""
    query, keys = random(1, 2, 4, 8), random(1, 6, 8, seed=1)
    mask = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)[None, None]
    given = mask
    if dtype != torch.bool:
        given = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(dtype).min)
    selected = select_top_k(query, torch.ones(1, 2, 4), keys, given, 4)
    assert selected.shape == (1, 2, 4)
    assert set(selected[0, 0, :2].tolist()) == {0, 1}
    assert set(selected[0, 1, :3].tolist()) == {0, 1, 2}
    sparse = sparse_mask(given, selected, 6)
    assert torch.equal(sparse if dtype == torch.bool else sparse == 0, mask)


def test_attention_against_float64():
    tokens, length, heads = 5, 9, 3
    query, rows = random(1, tokens, heads, 48), random(1, length, 48, seed=1)
    mask = explicit_mask(None, tokens, rows)
    output = attend(query, rows, mask, scale=0.2)[..., :32]
    expected = reference.attention(
        query[0, ..., :32], query[0, ..., 32:], rows[0, :, :32], rows[0, :, 32:], 0.2, causal=True
    )
    assert reference.relative_error(output[0], expected) < 1e-6


def test_rows_that_see_nothing_are_finite():
    """Padding: what its tokens compute is not used, but NaN would spread through the cache."""
    mask = torch.tensor([[False, False], [False, True]])[None, None]
    output = attend(random(1, 2, 2, 8), random(1, 2, 8, seed=1), mask, scale=1.0)
    assert output.isfinite().all()
