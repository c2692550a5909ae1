"""The longest rows that the vector cores of the W8A8 prologs take."""

from dataclasses import dataclass

import pytest
import torch

from ascend_prefetch.lab import reference
from ascend_prefetch.linear import W8A8Linear, quant_arguments, stored_weight
from mla_cases import BOUNDS, ROPE, SEED, check_output, one_thread, poisoned_memory

pytestmark = pytest.mark.usefixtures("device")


@dataclass(frozen=True)
class Limits:
    """Sizes of one call of sfa_prolog whose linear layers are all W8A8. Sizes count elements."""

    hidden: int = 64
    q_lora: int = 64
    kv_lora: int = 64
    nope: int = 64
    heads: int = 1
    indexer_dim: int = 0  # of 16 heads; 0: no indexer
    static: bool = False


def case_id(case: Limits) -> str:
    form = "static" if case.static else "dynamic"
    return f"{case.hidden}-{case.q_lora}-{case.kv_lora}-{case.nope}x{case.heads}-{form}"


@one_thread()
def run(case: Limits, tokens: int = 2) -> None:
    """Runs the op and holds its results against float64, those behind q_c given the op's own."""
    print(f"ASCEND_PREFETCH_SEED={SEED} {case}")
    generator = torch.Generator().manual_seed(SEED)
    dtype = torch.bfloat16

    def normal(*shape: int, std: float = 1.0, mean: float = 0.0) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype).normal_(mean, std, generator=generator)

    def layer(out: int, size: int) -> W8A8Linear:
        weight = torch.randint(-128, 128, (size, out), generator=generator, dtype=torch.int8)
        scale = torch.empty(out).uniform_(0.5, 2.0, generator=generator) / (74 * size**0.5)
        if not case.static:
            return W8A8Linear(weight, scale)
        input_scale, offset = torch.tensor([1 / 30]), torch.tensor([3.0])
        return W8A8Linear(weight, scale * input_scale, input_scale, offset)

    heads = 16
    layers = {
        "qkv_a": layer(case.q_lora + case.kv_lora + ROPE, case.hidden),
        "q_b": layer(case.heads * (case.nope + ROPE), case.q_lora),
    }
    if case.indexer_dim:
        layers["indexer_wq_b"] = layer(heads * case.indexer_dim, case.q_lora)
    plain = {
        "hidden_states": normal(tokens, case.hidden),
        "q_a_norm_weight": normal(case.q_lora, mean=1.0, std=0.25),
        "w_uk": normal(case.heads, case.nope, case.kv_lora, std=case.nope**-0.5),
        "kv_a_norm_weight": normal(case.kv_lora, mean=1.0, std=0.25),
        "cos": torch.randn(tokens, ROPE, generator=generator),
        "sin": torch.randn(tokens, ROPE, generator=generator),
    }
    if case.indexer_dim:
        plain |= {
            "indexer_wk": normal(case.indexer_dim, case.hidden, std=case.hidden**-0.5),
            "indexer_k_norm_weight": normal(case.indexer_dim, mean=1.0, std=0.25),
            "indexer_k_norm_bias": normal(case.indexer_dim),
            "indexer_weights_proj": normal(heads, case.hidden, std=case.hidden**-0.5),
        }
    names = {"qkv_a": "qkv_a_weight", "q_b": "q_b_weight", "indexer_wq_b": "indexer_wq_b"}
    arguments = dict(plain)
    for prefix, quantised in layers.items():
        arguments[names[prefix]] = stored_weight(quantised)
        arguments |= quant_arguments(quantised, f"{prefix}_")
    widths = {"kv_cache": case.kv_lora, "rope_cache": ROPE}
    if case.indexer_dim:
        widths["indexer_cache"] = case.indexer_dim
    caches = {
        name: torch.full((1, tokens, 1, width), torch.nan, dtype=dtype)
        for name, width in widths.items()
    }
    with poisoned_memory():
        q_nope, q_rope, q_c, _, indexer_q, indexer_weights = torch.ops.ascend_prefetch.sfa_prolog(
            **arguments, **caches, slot_mapping=torch.arange(tokens)
        )
    mla, indexer = reference.sfa_prolog(
        **plain,
        **{names[prefix]: quantised for prefix, quantised in layers.items()},
        eps=1e-6,
        q_c=q_c,
    )
    written = {name: cache.flatten(0, 2) for name, cache in caches.items()}
    check_output("q_nope", q_nope, mla.q_nope)
    check_output("q_rope", q_rope, mla.q_rope)
    check_output("q_c", q_c, mla.q_c)
    check_output("kv_cache", written["kv_cache"], mla.kv_c)
    check_output("rope_cache", written["rope_cache"], mla.k_rope)
    if indexer is not None:
        check_output("indexer_q", indexer_q, indexer.q)
        check_output("indexer_cache", written["indexer_cache"], indexer.k)
        error = reference.relative_error(indexer_weights, indexer.weights)
        assert error <= BOUNDS[torch.float16], f"indexer_weights: relative error {error:.2e}"


@pytest.mark.parametrize(
    "case",
    [
        # Every block of a vector core as wide as it gets.
        Limits(q_lora=4096, kv_lora=4096, heads=16, indexer_dim=512),
        Limits(q_lora=4096, kv_lora=64, heads=16),
        Limits(q_lora=64, kv_lora=4096, heads=16),
        # One head in a step, which is as wide as the longest latent with its rope.
        Limits(nope=4096),
        Limits(nope=960, heads=3),
        # Rows of hidden states that go through in pieces, of which there are at most 64.
        Limits(hidden=4160, kv_lora=4096),
        Limits(hidden=4160, kv_lora=4096, indexer_dim=512),
        Limits(hidden=8256),
        Limits(hidden=65472),
        Limits(hidden=65472, static=True),
    ],
    ids=case_id,
)
def test_longest_rows(case):
    run(case)


def test_int8_q_b_with_longer_heads_is_refused():
    with pytest.raises(ValueError, match="'w_uk': expected a nope size .* up to 4096 .* got 4160"):
        run(Limits(nope=4160))
