"""Every family that patch supports, held against transformers' own attention module.

Each module has the head sizes of its model, two heads and a hidden size of 256, and runs as its
model runs it. What is right is the same module in float32; the patched one may be no further from
it than the module itself is in bfloat16. Weights and inputs are fresh at every run: to have a
failed one again, set ASCEND_PREFETCH_SEED to the seed that it prints.

With ASCEND_PREFETCH_FULL_WIDTH set, modules have the sizes of their model's default configuration
(`make test-full-width`).
"""

import copy
import os

import pytest
import torch
from transformers import DynamicCache

import small_models as small
from ascend_prefetch.lab import reference
from ascend_prefetch.transformers import PagedLatentLayer, patch, unpatch
from ascend_prefetch.transformers.families import FAMILIES, language_model
from ascend_prefetch.transformers.latent_attention import attend, explicit_mask
from mla_cases import SEED

FULL_WIDTH = bool(os.environ.get("ASCEND_PREFETCH_FULL_WIDTH"))
REQUESTS = 3
PADDING = (0, 4, 2)  # tokens on the left of each request
STEPS = (9, 1, 1, 4, 1)  # prefill, decode, several tokens at once, decode
TOKENS = sum(STEPS)
# Selections are a matter of rounding: of them there are tests; here every token is selected.
EVERYTHING = {"index_topk": TOKENS}

# At the context's end most of the error is that of rope's tables, which the module rounds for
# itself and for the ops alike: which of the two is then nearer is a matter of chance.
SLACK = {"begin": 1.0, "end": 1.1}

families = pytest.mark.parametrize("family", small.EVERY)
# Where the tests of the whole model run, too long at full width.
reduced = pytest.mark.skipif(FULL_WIDTH, reason="of reduced width alone")


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(before if FULL_WIDTH else 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model(family):
    print(f"ASCEND_PREFETCH_SEED={SEED} {family}")
    changes = EVERYTHING if family in small.SPARSE else {}
    if FULL_WIDTH:
        return small.full_width_model(family, SEED, **changes)
    return small.small_model(family, SEED, **changes)


def random(*shape, stream=0):
    generator = torch.Generator().manual_seed(SEED + stream)
    return torch.randn(shape, generator=generator).bfloat16()


def attentions(model):
    """The attention modules that patch replaces, by the family's own description."""
    base, package, family = language_model(model)
    modules = [each for layer in base.layers for each in family.attentions(layer)]
    return [each for each in modules if hasattr(each, "kv_b_proj")], base


def outputs(module, base, hidden, start, exchange):
    """[B, T, hidden] of one attention module, some tokens after the other on one cache.

    Args:
        module: patched or not.
        base: the model that it belongs to.
        hidden: [B, T, hidden].
        start: position of the first token.
        exchange: order of the requests in the cache from the third step on, whose inputs and
            outputs then are in that order; outputs are returned in the original one.
    """
    cache = DynamicCache(config=base.config)
    seen = torch.ones(REQUESTS, 1, TOKENS, TOKENS, dtype=torch.bool).tril()
    for request, padding in enumerate(PADDING):
        seen[request, ..., :padding] = False
    positions = torch.stack([torch.arange(TOKENS) + start - padding for padding in PADDING])
    results, done = [], 0
    order = torch.arange(REQUESTS)
    for number, tokens in enumerate(STEPS):
        if number == 2:
            order = torch.tensor(exchange)
            cache.reorder_cache(order)
        step = slice(done, done + tokens)
        arguments = {
            "hidden_states": hidden[order, step],
            "attention_mask": seen[order, :, step, : step.stop],
            "position_ids": positions[order, step],
            "cache" if "cache" in small.caching(cache) else "past_key_values": cache,
        }
        rotary = getattr(base, "rotary_emb", None)
        if rotary is not None:
            arguments["position_embeddings"] = rotary(hidden, positions[order, step])
        with torch.no_grad():
            results.append(module(**arguments)[0][order.argsort()])
        done += tokens
    assert cache.get_seq_length(module.layer_idx) == TOKENS
    result = torch.cat(results, dim=1)
    # What padding computes is not used.
    return torch.cat([result[b, padding:] for b, padding in enumerate(PADDING)]), cache


def hold(model, family, where):
    """Holds a module's outputs against those of the same module unpatched and in float32."""
    modules, base = attentions(model)
    start = max(PADDING)
    if where == "end":
        start = base.config.max_position_embeddings - TOKENS + min(PADDING)
    hidden = random(REQUESTS, TOKENS, base.config.hidden_size)
    exchange = torch.randperm(REQUESTS, generator=torch.Generator().manual_seed(SEED)).tolist()
    index = SEED % len(modules)
    index = 0 if getattr(modules[index], "indexer", 1) is None else index  # takes no selection
    module = modules[index]
    own, _ = outputs(module, base, hidden, start, exchange)
    exact_base = copy.deepcopy(base).float()
    exact_module = attentions(exact_base)[0][index]
    exact, _ = outputs(exact_module, exact_base, hidden.float(), start, exchange)
    patch(model)
    ours, cache = outputs(module, base, hidden, start, exchange)
    assert type(cache.layers[module.layer_idx]) is PagedLatentLayer
    errors = [reference.relative_error(each, exact.double()) for each in (ours, own)]
    print(f"{family} {where}: relative error {errors[0]:.2e}, the module's own {errors[1]:.2e}")
    assert errors[0] <= SLACK[where] * errors[1]
    unpatch(model)
    assert torch.equal(outputs(module, base, hidden, start, exchange)[0], own)


@pytest.mark.parametrize("where", ["begin", "end"])
@families
def test_attention(model, family, where):
    """Several padded requests, prefill and decode, at the begin and the end of the context."""
    hold(model, family, where)


YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "mscale": 0.7,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 16,
}
KEYED = ("axk1", "glm4_moe_lite", "mistral4", "sarvam_mla", "youtu")
OTHERS = [
    *((family, {"rope_interleave": False}) for family in KEYED),
    *(
        (family, {"rope_parameters": YARN})
        for family in ("deepseek_v2", "glm4_moe_lite", "kimi_k25", "longcat_flash", "minicpm3")
    ),
    *(
        (family, {"q_lora_rank": None})
        for family in ("deepseek_v2", "glm4_moe_lite", "minicpm3", "mistral4", "youtu")
    ),
    ("kimi_linear", {"q_lora_rank": 192}),
]


@reduced
@pytest.mark.parametrize(
    ("family", "changes"),
    [pytest.param(*case, id=f"{case[0]}-{next(iter(case[1]))}") for case in OTHERS],
)
def test_other_configurations(family, changes):
    """The other pairing of rope, scaled rope, and queries with and without a latent."""
    if family not in small.EVERY:
        pytest.skip("a family of another release of transformers")
    print(f"ASCEND_PREFETCH_SEED={SEED} {family}")
    hold(small.small_model(family, SEED, **changes), family, "begin")


@families
def test_permuted_blocks(model, family):
    """The rows of two requests in blocks of any order, each read by the block table."""
    block = 16
    modules, base = attentions(model)
    module, tokens = modules[0], 2 * block + 5
    hidden = random(2, tokens, base.config.hidden_size, stream=1)
    positions = torch.arange(tokens).expand(2, -1)
    rotary = getattr(base, "rotary_emb", None)
    tables = None if rotary is None else rotary(hidden, positions)
    mask = torch.ones(2, 1, tokens, tokens, dtype=torch.bool).tril()

    def run(attention, states):
        options = {}
        if rotary is not None:
            made = rotary(states, positions)
            options["position_embeddings"] = made
        with torch.no_grad():
            return attention(
                hidden_states=states, attention_mask=mask, position_ids=positions, **options
            )[0]

    if module.config.model_type in small.SPARSE:
        pytest.skip("of the selection there are tests, and the rows are the same")
    own = run(module, hidden)
    exact_base = copy.deepcopy(base).float()
    rotary = getattr(exact_base, "rotary_emb", None)
    exact = run(attentions(exact_base)[0][0], hidden.float())
    patched = vars(attentions(patch(model))[0][0])["forward"]
    table = torch.randperm(8, generator=torch.Generator().manual_seed(SEED))[:6].view(2, 3)
    slots = (table[:, :, None] * block + torch.arange(block)).flatten(1)[:, :tokens]
    weights, _ = patched.weights.packed()
    width = module.kv_lora_rank + module.qk_rope_head_dim
    rows = torch.full((8, block, 1, width), torch.nan, dtype=torch.bfloat16)
    cos, sin = patched.tables(tables, hidden)
    q_nope, q_rope, *_ = patched.prolog_op(
        hidden.flatten(0, 1), cos, sin, slots.flatten(), {"kv_cache": rows}, weights, None, None
    )
    query = torch.cat([q_nope, q_rope], dim=-1).unflatten(0, (2, tokens))
    query = patched.scaled(query, positions)
    assert rows.flatten(0, 2).isnan().any(-1).sum() == 8 * block - 2 * tokens
    seen = rows.flatten(0, 2)[slots]
    latent = attend(query, seen, explicit_mask(None, tokens, seen), module.scaling)
    latent = latent[..., : module.kv_lora_rank].flatten(0, 1)
    ours = patched.o_proj_op(latent, weights).view(hidden.shape)
    errors = [reference.relative_error(each, exact.double()) for each in (ours, own)]
    assert errors[0] <= errors[1]


@reduced
@families
def test_loop_by_hand(model, family):
    """Logits of the whole model in steps; the ops run in every layer that has such attention."""
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.randint(1, 32, (REQUESTS, TOKENS), generator=generator)
    own = small.step_by_step(model, ids, list(STEPS))
    exact = small.step_by_step(copy.deepcopy(model).float(), ids, list(STEPS))
    assert patch(patch(model)) is model
    patched = [each for each in model.modules() if "forward" in vars(each)]
    assert patched == attentions(model)[0]
    ours = small.step_by_step(model, ids, list(STEPS))
    errors = [reference.relative_error(each, exact.double()) for each in (ours, own)]
    assert not torch.equal(ours, own)
    assert errors[0] <= 1.25 * errors[1]
    copied = copy.deepcopy(model)
    assert torch.equal(small.step_by_step(copied, ids, list(STEPS)), ours)
    unpatch(model)
    assert torch.equal(small.step_by_step(model, ids, list(STEPS)), own)


@reduced
@families
def test_generate(model, family):
    """With a padded prompt; the cache's rows are ours."""
    model = patch(model)
    tokens, logits = small.greedy(model, small.padded_prompts(), 3)
    assert tokens.shape == (2, 15)
    assert logits.isfinite().all()


def test_every_family_is_held():
    """FAMILIES has no family without a small model here."""
    assert set(FAMILIES) <= {*small.EVERY} | {*small.MISSING}
