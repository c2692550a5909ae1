"""Weights that change behind patch: followed, or refused by name at the next call."""

import pytest
import torch
from torch import nn

import small_models as small
from ascend_prefetch.lab import reference
from ascend_prefetch.transformers import patch, unpatch

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
PROJECTIONS = [
    "q_a_proj",
    "q_b_proj",
    "kv_a_proj_with_mqa",
    "kv_b_proj",
    "o_proj",
    "indexer.wq_b",
    "indexer.wk",
    "indexer.weights_proj",
]
PARTS = [*PROJECTIONS, "q_a_layernorm", "kv_a_layernorm", "indexer", "indexer.k_norm"]


@pytest.fixture
def model():
    return small.small_model("deepseek_v32", 0, num_hidden_layers=1)


@torch.no_grad()
def logits(model):
    return model(IDS, use_cache=False).logits.float()


class Adapter(nn.Module):
    """LoRA by hand."""

    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base
        self.weight = base.weight  # what an adapter that means well passes on
        self.down = nn.Parameter(torch.randn(rank, base.in_features).bfloat16())
        self.up = nn.Parameter(torch.randn(base.out_features, rank).bfloat16())

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


def refused(model, match):
    for _ in range(2):
        with pytest.raises((TypeError, ValueError), match=f"layer 0: .*{match}") as raised:
            logits(model)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_adapters(model, name):
    expected = logits(patch(model))
    attention = model.model.layers[0].self_attn
    base = attention.get_submodule(name)
    attention.set_submodule(name, Adapter(base))
    refused(model, f"expected {name} to be Linear, got Adapter: .* merge an adapter, or unpatch")
    logits(unpatch(model))
    attention.set_submodule(name, base)
    assert torch.equal(logits(patch(model)), expected)


@pytest.mark.parametrize("name", PARTS)
def test_hooks_and_forwards(model, name):
    expected = logits(patch(model))
    part = model.model.layers[0].self_attn.get_submodule(name)
    for register in (part.register_forward_hook, part.register_forward_pre_hook):
        handle = register(lambda *arguments: None)
        refused(model, f"expected {name} without forward hooks, got <function")
        handle.remove()
        assert torch.equal(logits(model), expected)
    part.forward = part.forward
    refused(model, f"expected {name} with the forward of its class, got one that replaces it")
    del part.forward
    assert torch.equal(logits(model), expected)


def test_parts_and_tensors_that_are_added(model):
    patch(model)
    attention = model.model.layers[0].self_attn
    attention.o_proj.bias = nn.Parameter(torch.zeros(256).bfloat16())
    refused(model, "got o_proj.bias, which the ops do not read")
    attention.o_proj.bias = None
    attention.gate = nn.Parameter(torch.ones(1))
    refused(model, "got gate, which the ops do not read")
    del attention.gate
    attention.indexer.extra = nn.Identity()
    refused(model, "got indexer.extra, a Identity that is not known")
    del attention.indexer.extra
    torch.nn.utils.parametrize.register_parametrization(attention.q_b_proj, "weight", nn.Identity())
    refused(model, "expected q_b_proj to be Linear, got ParametrizedLinear")


@pytest.mark.parametrize("name", ["q_a_proj", "kv_b_proj", "indexer.k_norm"])
@pytest.mark.parametrize("tensor", ["weight", "bias"])
def test_weights_that_are_no_parameters(model, name, tensor):
    """A copy of them would not follow what is written to them, nor would their bias be missed."""
    expected = logits(patch(model))
    part = model.model.layers[0].self_attn.get_submodule(name)
    parameter = getattr(part, tensor)
    value = torch.zeros(part.weight.shape[0]) if parameter is None else parameter.detach().clone()
    delattr(part, tensor)
    part.register_buffer(tensor, value)
    if parameter is None:
        refused(model, f"got {name}.bias, which the ops do not read")
    else:
        refused(model, f"expected {name}.{tensor} to be a parameter, got a buffer")
    delattr(part, tensor)
    setattr(part, tensor, value)
    refused(model, f"expected {name}.{tensor} to be a parameter, got a plain attribute")
    delattr(part, tensor)
    part.register_parameter(tensor, parameter)
    assert torch.equal(logits(model), expected)


class Quantised(torch.Tensor):
    """Looks like bfloat16, as weights of quantisation libraries do."""


def test_subclasses_of_tensors(model):
    patch(model)
    projection = model.model.layers[0].self_attn.q_b_proj
    weight = projection.weight
    projection.weight = nn.Parameter(weight.detach().as_subclass(Quantised))
    refused(model, "expected q_b_proj.weight to be a plain tensor, got Quantised")
    projection.weight = weight
    logits(model)


@torch.no_grad()
def test_inference_mode(model):
    """Writes to what was made in it are not counted; those in it to other tensors are."""
    expected = logits(patch(model))
    weight = model.model.layers[0].self_attn.kv_b_proj.weight
    with torch.inference_mode():
        assert torch.equal(logits(model), expected)
        weight.mul_(2)
        changed = logits(model)
        assert not torch.equal(changed, expected)
    assert reference.relative_error(changed, logits(unpatch(model)).double()) < 0.05
    patch(model)
    with torch.inference_mode():
        model.model.layers[0].self_attn.kv_b_proj.weight = nn.Parameter(weight * 2)
    match = "kv_b_proj.weight was made in inference mode, where nothing counts the writes"
    refused(model, match)
    with pytest.raises(ValueError, match=match):
        patch(unpatch(model))


def test_writes_through_data(model):
    """Nothing counts them; patching again copies the weights again."""
    expected = logits(patch(model))
    model.model.layers[0].self_attn.kv_b_proj.weight.data.mul_(2)
    changed = logits(patch(model))
    assert not torch.equal(changed, expected)
    assert reference.relative_error(changed, logits(unpatch(model)).double()) < 0.05


def test_unpatching_what_others_have_wrapped(model):
    """As accelerate's hooks do: the patched forward lives on inside of theirs."""
    attention = patch(model).model.layers[0].self_attn
    attention._old_forward = attention.forward
    attention.forward = lambda *args, **kwargs: attention._old_forward(*args, **kwargs)
    logits(model)
    with pytest.raises(TypeError, match="layer 0: the patched forward was .* kept as _old_forward"):
        unpatch(model)
    attention.forward = attention._old_forward
    del attention._old_forward
    assert "forward" not in vars(unpatch(model).model.layers[0].self_attn)
