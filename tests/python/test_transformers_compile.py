"""torch.compile(patched_model, fullgraph=True): the logits that it gives uncompiled."""

import copy

import pytest
import torch

import small_models as small
from ascend_prefetch.transformers import cache, patch

pytestmark = pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
PROMPT = 6


@pytest.fixture(autouse=True)
def fresh(fresh_compiler):
    torch._dynamo.utils.counters.clear()


def compiled(model, backend="eager"):
    """As the default backend does, "aot_eager" makes writes functional and drops dead code."""
    return torch.compile(model, fullgraph=True, backend=backend)


def tokens(count, batch=2):
    return torch.randint(1, 32, (batch, count))


@pytest.mark.parametrize("family", ["deepseek_v2", "deepseek_v3", "glm_moe_dsa", "mistral4"])
def test_prefill_and_decode(family):
    """In the family that shares selections the second layer has that of the first."""
    layers = 2 if family == "glm_moe_dsa" else 1
    model = patch(small.small_model(family, 0, num_hidden_layers=layers, first_k_dense_replace=2))
    input_ids, steps = tokens(PROMPT + 4), [PROMPT, *[1] * 4]
    expected = small.step_by_step(model, input_ids, steps)
    assert torch.equal(small.step_by_step(compiled(model, "aot_eager"), input_ids, steps), expected)
    # No more than the unpatched model has: the prompt, one step, and steps of any length.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3


def small_v3():
    return small.small_model("deepseek_v3", 0, num_hidden_layers=1)


def test_long_decode(monkeypatch):
    """The cache grows four times on the way: the second growth's graph is that of all others."""
    monkeypatch.setattr(cache, "BLOCK_SIZE", 16)
    model = patch(small_v3())
    input_ids, steps = tokens(140), [13, *[1] * 127]
    expected = small.step_by_step(model, input_ids, steps)
    assert torch.equal(small.step_by_step(compiled(model), input_ids, steps), expected)
    # torch.compile gives up at 8.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 6


@torch.no_grad()
def test_changed_weights():
    """Refused by a graph that was traced before; what is traced after a change has the new ones."""
    model = patch(small_v3())
    input_ids = tokens(PROMPT)
    weight = model.model.layers[0].self_attn.kv_b_proj.weight
    weight.mul_(2)  # after patch, and before the graph
    graph = compiled(model, "aot_eager")
    before = graph(input_ids, use_cache=False).logits
    assert torch.equal(before, model(input_ids, use_cache=False).logits)
    weight.mul_(2)
    message = "layer 0: its weights have changed since torch.compile traced the model: call torch"
    with pytest.raises(RuntimeError, match=message):
        graph(input_ids, use_cache=False)
    torch.compiler.reset()
    after = graph(input_ids, use_cache=False).logits
    assert not torch.equal(after, before)
    assert torch.equal(after, model(input_ids, use_cache=False).logits)
    model.model.layers[0].self_attn.o_proj.register_forward_hook(lambda *arguments: None)
    with pytest.raises(TypeError, match="layer 0: expected o_proj without forward hooks"):
        graph(input_ids, use_cache=False)


@torch.no_grad()
def test_copies_are_compiled_apart():
    model = patch(small_v3())
    input_ids = tokens(PROMPT)
    expected = compiled(model)(input_ids, use_cache=False).logits
    copied = copy.deepcopy(model)
    copied.model.layers[0].self_attn.kv_b_proj.weight.mul_(2)
    changed = compiled(copied)(input_ids, use_cache=False).logits
    assert torch.equal(changed, copied(input_ids, use_cache=False).logits)
    assert not torch.equal(changed, expected)
    assert torch.equal(compiled(model)(input_ids, use_cache=False).logits, expected)
