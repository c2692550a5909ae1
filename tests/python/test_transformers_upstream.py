"""Another transformers than the one that was written for: refused by name, never swallowed."""

import functools
import re

import pytest
import torch
import transformers
from transformers import DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek_v3

import small_models as small
from ascend_prefetch.transformers import patch
from ascend_prefetch.transformers.families import FAMILIES
from ascend_prefetch.transformers.signatures import (
    CACHE_NAMES,
    WITHOUT_EFFECT,
    configuration_keys,
    rotations,
)

IDS = torch.tensor([[3, 1, 4, 1, 5]])
HERE = f"transformers {re.escape(transformers.__version__)}; .* written for transformers 5.23 and"


@pytest.fixture
def model():
    return small.small_model("deepseek_v3", 0, num_hidden_layers=1)


def refused(model, match):
    with pytest.raises(TypeError, match=match) as raised:
        patch(model)
    assert "\n" not in str(raised.value)
    assert all("forward" not in vars(module) for module in model.modules())


def takes(*names):
    """A forward with these parameters."""
    scope = {}
    exec(f"def forward(self, {', '.join(names)}): pass", scope)
    return scope["forward"]


def test_says_what_it_was_written_for(model, caplog):
    caplog.set_level("INFO", "ascend_prefetch.transformers")
    patch(model)
    here = f"ForCausalLM: the ops are in 1 layers of transformers {transformers.__version__}"
    assert f"{here}; they were put in for transformers 5.23 and 5.24, and another" in caplog.text


KNOWN = ("hidden_states", "position_embeddings", "attention_mask")


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ((*KNOWN, "kv=None", "**kwargs"), "parameter kv is not known"),
        ((*KNOWN, "cache=None", "gate=None", "**kwargs"), "parameter gate is not known"),
        ((*KNOWN, "cache=None", "*rest"), "parameter rest is not known"),
        ((*KNOWN, "**kwargs"), "expected parameters .* and past_key_values or cache, got"),
        (("attention_mask", *KNOWN[:2], "cache=None"), "expected parameters hidden_states"),
    ],
)
def test_signatures_of_attention(model, monkeypatch, parameters, match):
    monkeypatch.setattr(deepseek_v3.DeepseekV3Attention, "forward", takes(*parameters))
    refused(model, f"DeepseekV3Attention.forward: {match}.*{HERE}")


@pytest.mark.parametrize("name", CACHE_NAMES)
@torch.no_grad()
def test_either_name_of_the_cache(model, name, monkeypatch):
    """Of whichever release this is; wrapped, as a decorator for deprecated names does."""
    written = takes(*KNOWN, f"{name}=None", "**kwargs")
    wrapped = functools.wraps(written)(lambda *args, **kwargs: None)
    monkeypatch.setattr(deepseek_v3.DeepseekV3Attention, "forward", wrapped)
    attention = patch(model).model.layers[0].self_attn
    hidden, table = torch.zeros(1, 4, 256).bfloat16(), torch.zeros(1, 4, 64).bfloat16()
    cache = DynamicCache(config=model.config)
    attention(hidden, (table, table), **{name: cache})
    assert cache.get_seq_length() == 4
    with pytest.raises(TypeError, match="layer 0: got both past_key_values and cache"):
        attention(hidden, (table, table), **dict.fromkeys(CACHE_NAMES, cache))


def passes_more(self, hidden_states, **kwargs):
    hidden_states, _ = self.self_attn(hidden_states, gate=None, **kwargs)


def passes_by_position(self, hidden_states, attention_mask, **kwargs):
    hidden_states, _ = self.self_attn(hidden_states, attention_mask, **kwargs)


def takes_more(self, hidden_states, **kwargs):
    hidden_states, _, _ = self.self_attn(hidden_states, **kwargs)


def calls_another(self, hidden_states, **kwargs):
    hidden_states, _ = self.mixer(hidden_states, **kwargs)


@pytest.mark.parametrize(
    ("forward", "match"),
    [
        (passes_more, "passes gate, which"),
        (passes_by_position, "passes 2 arguments by position, expected hidden_states alone"),
        (takes_more, "expected to take 2 results .* takes 3"),
        (calls_another, "expected its forward to assign what .* returns, found no such call"),
    ],
)
def test_calls_of_the_decoder_layer(model, monkeypatch, forward, match):
    monkeypatch.setattr(deepseek_v3.DeepseekV3DecoderLayer, "forward", forward)
    refused(model, f"DeepseekV3DecoderLayer: {match}.*{HERE}")


class ReadsMore(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.size = config.hidden_size

    def forward(self, x):
        if self.config.gated:
            x = some_rope(x) * getattr(self.config, "gate_scale", 1)
        return self.other.config_of_another_kind + x


def some_rope(x):
    return x


def test_what_code_reads():
    assert configuration_keys(ReadsMore) == {"hidden_size", "gated", "gate_scale"}
    assert rotations(ReadsMore) == {"some_rope"}
    # Made at run time, as in a frozen application: without source.
    assert configuration_keys(type("Frozen", (), {})) is None


@pytest.mark.parametrize("name", ["rope_interleave", "v_head_dim"])
def test_keys_of_the_configuration(model, monkeypatch, name):
    """A key that nobody knew when the family was written down."""
    family = FAMILIES["deepseek_v3"]
    monkeypatch.setitem(FAMILIES, "deepseek_v3", family._replace(keys=family.keys - {name}))
    refused(
        model,
        f"DeepseekV3Attention: reads {name} of the configuration.*{HERE}".replace(
            "written", "put in"
        ),
    )


def test_another_rope(model, monkeypatch):
    rotations = frozenset({"apply_rotary_pos_emb"})
    known = FAMILIES["deepseek_v3"]._replace(rotations=rotations)
    monkeypatch.setitem(FAMILIES, "deepseek_v3", known)
    refused(model, "expected rope by apply_rotary_pos_emb, found apply_rotary_pos_emb, apply_rot")


@pytest.mark.parametrize(
    ("layer", "name", "value", "match"),
    [
        (CacheLayerMixin, "compact", lambda self: None, "CacheLayerMixin: compact is not known"),
        (DynamicLayer, "is_compact", True, "DynamicLayer: is_compact is not known"),
        (
            DynamicLayer,
            "crop",
            lambda self, length: None,
            r"DynamicLayer.crop: expected \(tokens_to_remove\), got \(length\)",
        ),
    ],
)
def test_cache_layers(model, monkeypatch, layer, name, value, match):
    monkeypatch.setattr(layer, name, value, raising=False)
    refused(model, f"{match}.*{HERE}")


@torch.no_grad()
def test_arguments_of_a_call(model):
    """Those without effect have none on the unpatched model either."""
    arguments = {
        name: torch.ones(1)
        for name in WITHOUT_EFFECT
        if name not in ("position_ids", "use_cache", "output_hidden_states", "output_router_logits")
    }
    unpatched = model(IDS, **arguments).logits
    assert torch.equal(unpatched, model(IDS).logits)
    patch(model)
    assert torch.equal(model(IDS, **arguments).logits, model(IDS).logits)
    outputs = model(IDS, output_hidden_states=True, output_attentions=False, is_causal=True)
    assert len(outputs.hidden_states) == 2
    with pytest.raises(TypeError, match="layer 0: got an argument that is not known, softcap"):
        model(IDS, softcap=None)
    with pytest.raises(TypeError, match="layer 0: expected is_causal True, got False"):
        model(IDS, is_causal=False)
    hidden, table = torch.zeros(1, 4, 256).bfloat16(), torch.zeros(1, 4, 64).bfloat16()
    with pytest.raises(TypeError, match="layer 0: got prev_topk_indices, of which its model has"):
        model.model.layers[0].self_attn(hidden, (table, table), prev_topk_indices=table)


@torch.no_grad()
def test_attention_weights(model):
    message = "layer 0: expected output_attentions False, got True: the ops keep no attention"
    patch(model)
    with pytest.raises(TypeError, match=message):
        model(IDS, output_attentions=True)
    with pytest.raises(TypeError, match=message):
        model.generate(IDS, max_new_tokens=1, output_attentions=True, return_dict_in_generate=True)
    model.set_attn_implementation("eager")
    model.config.output_attentions = True
    with pytest.raises(TypeError, match=message):
        model(IDS)


@torch.no_grad()
def test_attention_that_is_not_causal(model):
    model.config.is_causal = False
    with pytest.raises(ValueError, match="expected is_causal True, got False"):
        patch(model)


@torch.no_grad()
def test_attention_implementation_of_a_call(model):
    patch(model).config._attn_implementation = "flex_attention"
    attention = model.model.layers[0].self_attn
    hidden, table = torch.zeros(1, 4, 256).bfloat16(), torch.zeros(1, 4, 64).bfloat16()
    with pytest.raises(TypeError, match="layer 0: expected attention implementation eager or sdpa"):
        attention(hidden, (table, table))
