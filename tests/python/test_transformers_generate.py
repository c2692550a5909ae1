"""Patched models of transformers generate the tokens that they generate unpatched.

The models are small, random, and written in the real format; their seeds are among 300 the ones
with the widest margins between the best logit and the next, and between the last token selected
and the next. With narrower ones bfloat16 decides, in which the unpatched model itself is 1 to 2 %
off float32.
"""

import copy

import pytest
import torch
from transformers import DynamicCache

import ascend_prefetch.transformers as patched_models
import small_models as small
from ascend_prefetch.lab import reference
from ascend_prefetch.transformers import PagedLatentLayer, patch, unpatch

SEEDS = {"deepseek_v3": 163, "deepseek_v32": 241, "glm_moe_dsa": 190}
PROMPT = 12
NEW = 8

families = pytest.mark.parametrize("family", small.FAMILIES)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    for family, seed in SEEDS.items():
        small.save_small_model(family, directory / family, seed)
    return directory


@pytest.fixture
def model(checkpoints, family):
    return small.load_model(checkpoints / family)


def margins(logits):
    best, second = logits.topk(2).values.unbind(-1)
    return best - second


def unpadded(tokens):
    # Without a mask, generate would take generated zeros for padding.
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


@families
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_greedy(model, checkpoints, family, attention):
    """Prefill and decode, one prompt of the batch padded on the left."""
    model.set_attn_implementation(attention)
    inputs = small.padded_prompts(PROMPT)
    tokens, logits = small.greedy(model, inputs, NEW)
    assert patch(model) is model
    patched_tokens, patched_logits = small.greedy(model, inputs, NEW)
    exact_tokens, exact = small.greedy(
        small.load_model(checkpoints / family, torch.float32), inputs, NEW
    )
    assert tokens.shape == (2, PROMPT + NEW)
    assert torch.equal(tokens, exact_tokens)
    assert torch.equal(patched_tokens, tokens)
    # As close to float32 as the unpatched model is.
    error = reference.relative_error(patched_logits, exact)
    assert error <= 1.25 * reference.relative_error(logits, exact)
    # No luck: no logit is off by as much as the best one leads.
    assert (patched_logits - exact).abs().max() < margins(exact).min()
    unpatch(model)
    again, logits_again = small.greedy(model, inputs, NEW)
    assert torch.equal(again, tokens)
    assert torch.equal(logits_again, logits)


YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "mscale": 0.7,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 16,
}


NO_QUERY_LATENT = {"q_lora_rank": None}
HALVES = {"rope_interleave": False}


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("deepseek_v3", NO_QUERY_LATENT),
        # The other families have no such key, and rotate neighbours whatever it says.
        *[(family, HALVES) for family in small.FAMILIES],
        *[(family, {"rope_parameters": YARN}) for family in small.FAMILIES],
        *[(family, {"rms_norm_eps": 1e-2}) for family in small.FAMILIES],
        ("glm_moe_dsa", {"indexer_types": ["full", "shared", "shared"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
@torch.no_grad()
def test_other_configurations(family, changes):
    """Logits of one forward pass, as close to float32 as the unpatched model's are.

    Every token is selected: which one is no question of rounding. Of selections there are tests.
    """
    inputs = {**small.padded_prompts(24), "use_cache": False}
    seen = inputs["attention_mask"].bool()
    if family in small.SPARSE:
        changes = {**changes, "index_topk": 24}
    model = small.small_model(family, 0, **changes)
    exact = copy.deepcopy(model).float()(**inputs).logits[seen]
    error = reference.relative_error(model(**inputs).logits[seen], exact.double())
    patched = patch(model)(**inputs).logits[seen]
    assert reference.relative_error(patched, exact.double()) <= 1.25 * error


@families
def test_float16(checkpoints, family):
    model = small.load_model(checkpoints / family, torch.float16)
    inputs = small.padded_prompts(PROMPT)
    tokens, logits = small.greedy(model, inputs, NEW)
    patched_tokens, patched_logits = small.greedy(patch(model), inputs, NEW)
    assert torch.equal(patched_tokens, tokens)
    assert reference.relative_error(patched_logits, logits.double()) < 5e-3


@families
def test_several_calls(model, family):
    """Generating on from a cache, a few tokens at a time, and from scratch again."""
    tokens = small.padded_prompts(PROMPT)["input_ids"][:1]
    patch(model)
    prompt = unpadded(tokens)
    whole, _ = small.greedy(model, prompt, NEW)
    cache = DynamicCache(config=model.config)
    for new in (3, 1, NEW - 4):
        tokens, _ = small.greedy(model, unpadded(tokens), new, **small.caching(cache))
    assert torch.equal(tokens, whole)
    assert [type(layer) for layer in cache.layers] == [PagedLatentLayer] * 3
    assert cache.get_seq_length() == PROMPT + NEW - 1
    without_cache, _ = small.greedy(model, prompt, NEW, use_cache=False)
    assert torch.equal(without_cache, whole)


@families
def test_loop_by_hand(model, checkpoints, family):
    """No positions and no mask are passed; tables then have a batch of 1."""
    input_ids = small.padded_prompts(PROMPT)["input_ids"][:1].repeat(3, 1)
    input_ids[1:] = input_ids[1:].flip(1)
    steps = [5, 1, 1, 3, 1, 1]
    logits = small.step_by_step(model, input_ids, steps)
    exact = small.step_by_step(
        small.load_model(checkpoints / family, torch.float32), input_ids, steps
    )
    patched = small.step_by_step(patch(model), input_ids, steps)
    error = reference.relative_error(patched, exact.double())
    assert error <= 1.25 * reference.relative_error(logits, exact.double())


@families
def test_beams(model, family):
    """Beam search reorders and repeats the sequences of the cache."""
    inputs = unpadded(small.padded_prompts(PROMPT)["input_ids"][:1])
    options = {"num_beams": 3, "max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    with torch.no_grad():
        expected = model.generate(**inputs, **options)
        patch(model)
        assert torch.equal(model.generate(**inputs, **options), expected)


def test_prompt_lookup(checkpoints, monkeypatch):
    """Candidates that are turned down are cropped from the cache."""
    model = small.load_model(checkpoints / "deepseek_v3", torch.float16)
    # A prompt that repeats itself, for there to be candidates; and with wide margins behind it.
    inputs = unpadded(small.padded_prompts(PROMPT, seed=14)["input_ids"][:1].repeat(1, 2))
    expected, logits = small.greedy(model, inputs, NEW)
    assert margins(logits).min() > 0.1
    cropped = []

    def crop(self, tokens, original=PagedLatentLayer.crop):
        cropped.append(tokens)
        original(self, tokens)

    monkeypatch.setattr(PagedLatentLayer, "crop", crop)
    options = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    tokens = patch(model).generate(**inputs, **options, prompt_lookup_num_tokens=3)
    assert torch.equal(tokens, expected)
    assert min(cropped) < 0


@families
def test_patching_twice_and_copies(model, family):
    inputs = small.padded_prompts(PROMPT)
    tokens, logits = small.greedy(patch(patch(model)), inputs, 2)
    copied = copy.deepcopy(model)
    assert torch.equal(small.greedy(copied, inputs, 2)[1], logits)
    # The copy has weights of its own.
    for parameter in copied.model.layers[0].self_attn.parameters():
        parameter.data.zero_()
    assert not torch.equal(small.greedy(copied, inputs, 2)[1], logits)
    assert torch.equal(small.greedy(model, inputs, 2)[1], logits)
    assert set(unpatch(unpatch(model)).state_dict()) == set(copied.state_dict())


def test_changed_weights_are_packed_again(checkpoints):
    """In place, replaced, and loaded from another model."""
    model = patch(small.load_model(checkpoints / "deepseek_v3"))
    other = small.small_model("deepseek_v3", seed=1)
    inputs = small.padded_prompts(PROMPT)
    small.greedy(model, inputs, 1)
    model.load_state_dict(other.state_dict())
    expected = small.greedy(patch(other), inputs, 2)[1]
    assert torch.equal(small.greedy(model, inputs, 2)[1], expected)
    projection = model.model.layers[1].self_attn.kv_b_proj
    projection.weight = torch.nn.Parameter(projection.weight * 2)
    changed = small.greedy(model, inputs, 2)[1]
    assert not torch.equal(changed, expected)
    with torch.no_grad():
        other.model.layers[1].self_attn.kv_b_proj.weight.mul_(2)
    assert torch.equal(small.greedy(other, inputs, 2)[1], changed)
    projection.weight.data.mul_(0.5)  # which leaves no trace
    assert torch.equal(small.greedy(patch(model), inputs, 2)[1], expected)


def test_long_prompts_go_in_several_calls(checkpoints, monkeypatch):
    model = patch(small.load_model(checkpoints / "deepseek_v32"))
    inputs = small.padded_prompts(PROMPT)
    expected = small.greedy(model, inputs, 2)[1]
    monkeypatch.setattr(patched_models.attention.ops, "MAX_TOKENS", 7)
    assert torch.equal(small.greedy(model, inputs, 2)[1], expected)


def test_what_is_prefetched(checkpoints, monkeypatch):
    """o_proj in the prolog, the next layer's qkv_a in o_proj, with what passes through L2."""
    model = patch(small.load_model(checkpoints / "deepseek_v3"))
    calls = []
    ops = patched_models.attention.ops

    def recorded(name):
        op = getattr(ops, name)

        def record(*args, **kwargs):
            calls.append((name, kwargs.get("prefetch"), kwargs.get("prefetch_passing_bytes")))
            return op(*args, **kwargs)

        return record

    for name in ("mla_prolog", "o_proj"):
        monkeypatch.setattr(ops, name, recorded(name))
    with torch.no_grad():
        model(input_ids=torch.ones(2, 5, dtype=torch.int64))
    layers = model.model.layers
    assert [name for name, *_ in calls] == ["mla_prolog", "o_proj"] * 3
    for index, (_, prefetch, passing) in enumerate(calls[::2]):
        assert [t.data_ptr() for t in prefetch] == [
            layers[index].self_attn.o_proj.weight.data_ptr()
        ]
        assert passing == [2 * 5 * (512 + 64) * 2]
    for index, (_, prefetch, passing) in enumerate(calls[1::2]):
        if index == 2:
            assert prefetch is None
            continue
        following = layers[index + 1].self_attn
        qkv_a = torch.cat([following.q_a_proj.weight, following.kv_a_proj_with_mqa.weight])
        assert torch.equal(prefetch[0], qkv_a)
        assert passing == [sum(p.nbytes for p in layers[index].mlp.parameters())]
