"""Model types: read right from a configuration, or refused by name.

Right is what transformers' own attention modules compute, in float64.
"""

import dataclasses
import importlib
import re

import pytest
import torch
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoConfig

import transformers_mla as hf
from ascend_prefetch.lab import reference
from ascend_prefetch.models import (
    MODEL_TYPES,
    ModelDimensions,
    ModelType,
    load_mla_weights,
)
from ascend_prefetch.shown import shown
from mla_cases import SEED

TOKENS = 5
POSITIONS = torch.arange(TOKENS) * 37
SIZES = {
    "hidden_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 6,
    "v_head_dim": 14,
    # transformers' latent norms have this epsilon whatever the configuration says.
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
SPARSE = {"index_topk": 64, "index_n_heads": 3, "index_head_dim": 8}
ALIKE = {"kimi_k2": "deepseek_v3", "longcat_flash_ngram": "longcat_flash"}
# A configuration of its own from transformers 5.24 on.
if "sarvam_mla" not in CONFIG_MAPPING:
    ALIKE["sarvam_mla"] = "deepseek_v3"
KEYED = ("axk1", "deepseek_v3", "glm4_moe_lite", "mistral4", "sarvam_mla", "youtu")
# Positions to 256, of which the queries of those from 100 on grow.
SCALED_ROPE = {
    "rope_type": "default",
    "rope_theta": 10000.0,
    "llama_4_scaling_beta": 0.5,
    "original_max_position_embeddings": 50,
    "partial_rotary_factor": 6 / 16,
}


@dataclasses.dataclass
class Case:
    """One model type with changes to its configuration."""

    model_type: str
    changes: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        return "-".join([self.model_type, *self.changes])


CASES = [
    *(Case(name) for name in MODEL_TYPES),
    *(Case(name, {"rope_interleave": False}) for name in KEYED),
    *(Case(name, {"q_lora_rank": None}) for name in ("deepseek_v2", "deepseek_v3", "minicpm3")),
    Case("kimi_linear", {"q_lora_rank": None}),
    Case("minicpm3", {"v_head_dim": None}),
]


def configuration(model_type, **changes):
    """transformers' configuration class of the type, or of the one whose attention it has."""
    name = ALIKE.get(model_type, model_type)
    sizes = SIZES | (SPARSE if name in ("deepseek_v32", "glm_moe_dsa") else {}) | changes
    if name == "mistral4":
        sizes["rope_parameters"] = SCALED_ROPE
    if name == "longcat_flash":
        sizes["head_dim"] = sizes["qk_rope_head_dim"]
    return AutoConfig.for_model(name, attn_implementation="eager", **sizes)


def attention_module(config):
    name = {"sarvam_mla": "deepseek_v3"}.get(config.model_type, config.model_type)
    package = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    classes = [
        value
        for key, value in vars(package).items()
        if re.fullmatch(r"\w+(?<!Delta)(Attention|MLA)", key) and issubclass(value, torch.nn.Module)
    ]
    assert len(classes) == 1
    module = classes[0](config, 0).double()
    hf.randomise(module, SEED)
    return module


def expected_output(module, x, cos, sin):
    """What transformers computes, whichever way its module takes rope's tables."""
    mask = x.new_full((TOKENS, TOKENS), float("-inf")).triu(1)[None, None]
    options = {"position_embeddings": (cos[None], sin[None])}
    if module.config.model_type == "deepseek_v2":
        half = cos.shape[1] // 2
        options["position_embeddings"] = torch.complex(cos[None, :, :half], sin[None, :, :half])
    if module.config.model_type == "kimi_linear":
        options = {}
    if module.config.model_type == "mistral4":
        options["position_ids"] = POSITIONS[None]
    with torch.no_grad():
        output = module(hidden_states=x[None], attention_mask=mask, **options)
    return output[0][0]


def our_output(weights, dims, x, cos, sin, scale):
    """What the ops compute, with what ModelDimensions leaves to their caller."""
    if not dims.use_rope:
        cos, sin = torch.ones_like(cos), torch.zeros_like(sin)
    prolog = reference.mla_prolog(
        x, weights.qkv_a, weights.q_a_norm, weights.q_b, weights.w_uk, weights.kv_a_norm, cos, sin,
        eps=dims.rms_norm_eps, rope_interleaved=dims.rope_interleaved,
    )  # fmt: skip
    growth = torch.ones(TOKENS, 1, 1, dtype=torch.float64)
    if (scaling := dims.query_scaling) is not None:
        periods = (POSITIONS // scaling.original_positions).double()
        growth = (1 + scaling.beta * periods.log1p())[:, None, None]
    latent = reference.attention(
        prolog.q_nope * growth,
        prolog.q_rope * growth,
        prolog.kv_c,
        prolog.k_rope,
        scale=scale,
        causal=True,
    )
    return reference.o_proj(latent, weights.o_proj, w_uv=weights.w_uv)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_attention_of_transformers(tmp_path, case):
    config = configuration(case.model_type, **case.changes)
    told = config.to_dict() | {"model_type": case.model_type}
    dims = ModelDimensions.from_hf_config(told)
    module = attention_module(config)
    prefix = "model.layers.0.self_attn." + ("0." if dims.attentions_per_layer > 1 else "")
    tensors = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    weights = load_mla_weights(tmp_path, dims, 0, 0, 1)

    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(TOKENS, 48, generator=generator, dtype=torch.float64)
    cos, sin = reference.rope_tables(POSITIONS, 6, dtype=torch.float64)
    expected = expected_output(module, x, cos, sin)
    output = our_output(weights, dims, x, cos, sin, module.scaling)
    assert reference.relative_error(output, expected) < 1e-6
    # Rope the other way round is far off: the test would see it.
    if not dims.use_rope:
        return
    other = dataclasses.replace(dims, rope_interleaved=not dims.rope_interleaved)
    assert reference.relative_error(our_output(weights, other, x, cos, sin, 0.25), expected) > 0.01


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_default_configurations(tmp_path, name):
    """All keys that transformers writes are accepted, the sizes of published models with them."""
    config = AutoConfig.for_model(ALIKE.get(name, name))
    config.save_pretrained(tmp_path)
    dims = ModelDimensions.from_hf_config(tmp_path, name)
    assert dims == dataclasses.replace(
        ModelDimensions.from_hf_config(config.to_dict(), name), source=dims.source
    )
    assert (dims.query_scaling is None) == (name != "mistral4")
    assert dims.use_rope == (name != "kimi_linear")
    assert (dims.indexer is None) == (name not in ("deepseek_v32", "glm_moe_dsa"))
    assert dims.v_head_dim == (64 if name == "minicpm3" else config.v_head_dim)


def plain(model_type="deepseek_v3", **changes):
    """A configuration as a file has it, without transformers' class."""
    return {**SIZES, "model_type": model_type, **changes}


def refuses(message, config, *arguments):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ModelDimensions.from_hf_config(config, *arguments)


def test_unknown_types():
    refuses("configuration: key 'model_type' is missing", SIZES)
    unknown = "configuration: model_type 'llama' is unknown: expected one of axk1, deepseek_v2, "
    refuses(unknown, plain("llama"))
    with pytest.raises(ValueError, match="pass model_type='deepseek_v3', for example, else a Mod"):
        ModelDimensions.from_hf_config(plain("llama"))
    refuses("configuration: model_type ['a'] is unknown", plain(["a"]))
    refuses("model_type: expected a ModelType or one of axk1, ", plain("llama"), "mystery")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("axk2", "q_b_proj reads two latents, and a gate multiplies the values"),
        ("bailing_hybrid", "a gate (g_proj) multiplies the heads before o_proj"),
        ("hy_v4", "a gate (gate_proj) multiplies the values, and the indexer rotates its last"),
    ],
)
def test_types_that_the_ops_cannot_express(name, reason):
    message = f"configuration: key 'model_type' is '{name}': not what the ops compute: {reason}"
    refuses(message, AutoConfig.for_model(name).to_dict())
    with pytest.raises(ValueError, match="; expected one of axk1, .*: run this model's attention"):
        ModelDimensions.from_hf_config({"model_type": name})


@pytest.mark.parametrize("name", ["dots3_note", "glm5_next"])
def test_nested_language_models_that_the_ops_cannot_express(name):
    message = f"configuration: text_config: key 'model_type' is '{name}_text': not what the ops"
    refuses(message, AutoConfig.for_model(name).to_dict())


@pytest.mark.parametrize("told", ["kimi_k2", "deepseek_v3", None])
def test_the_language_model_of_several_parts(told):
    """As Kimi-K2.5 is published, and as transformers writes it."""
    config = AutoConfig.for_model("kimi_k25").to_dict()
    vision = {"hidden_size": 1152, "num_attention_heads": 16}
    whole = config | {"vision_config": vision, "text_config": plain(told)}
    dims = ModelDimensions.from_hf_config(whole)
    assert (dims.name, dims.source) == (told or "deepseek_v3", "configuration: text_config")
    assert dims == dataclasses.replace(
        ModelDimensions.from_hf_config(plain(dims.name)), source=dims.source
    )
    refuses(
        "configuration: text_config: key 'q_lora_rank': expected a positive integer, got 0",
        whole | {"text_config": plain(q_lora_rank=0)},
    )
    # A part that is no object is nothing to read; the other keys then are not those of a model.
    refuses("configuration: model_type 'kimi_k25' is unknown", whole | {"text_config": [1]})


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        (None, "key 'rope_parameters' is missing: expected one, whose llama_4_scaling_beta"),
        ({"llama_4_scaling_beta": -1.0}, "key 'rope_parameters.llama_4_scaling_beta': expected a"),
        ({"llama_4_scaling_beta": "x"}, "key 'rope_parameters.llama_4_scaling_beta': expected a"),
        ({"original_max_position_embeddings": 0}, "key 'rope_parameters.original_max_position_em"),
        ({"partial_rotary_factor": 0.5}, "key 'rope_parameters.partial_rotary_factor' is 0.5: not"),
    ],
)
def test_queries_that_grow_are_said_in_full(rope, message):
    told = None if rope is None else SCALED_ROPE | rope
    refuses(f"configuration: {message}", plain("mistral4", rope_parameters=told))


def test_queries_that_do_not_grow():
    for beta in (None, 0, 0.0):
        told = plain("mistral4", rope_parameters=SCALED_ROPE | {"llama_4_scaling_beta": beta})
        assert ModelDimensions.from_hf_config(told).query_scaling is None


def test_a_rope_that_the_code_does_not_have():
    message = "configuration: key 'mla_use_nope': expected true, as the code of this model type"
    refuses(message, plain("kimi_linear", mla_use_nope=False))
    dims = ModelDimensions.from_hf_config(plain("kimi_linear", mla_use_nope=True))
    assert not dims.use_rope


BIASES = "the ops' projections have no biases"
GATE = "the ops have no gate of the attention's output"
UNKNOWN = "not understood, and it may change what attention computes; where it does not, pass as"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("attention_bias", True, BIASES),
        ("qkv_bias", True, BIASES),
        ("use_bias", True, BIASES),
        ("use_output_gate", True, GATE),
        ("attn_output_gate", True, UNKNOWN),
        ("gate", True, GATE),
        ("use_gate", True, GATE),
        ("gated", True, UNKNOWN),
        ("gating_type", "per_head", UNKNOWN),
        ("use_k_norm", True, UNKNOWN),
        ("use_head_norm", True, UNKNOWN),
        ("v_norm", "rms", UNKNOWN),
        ("k_layernorm", True, UNKNOWN),
        ("o_proj_bias", True, UNKNOWN),
        ("use_key_bias", True, UNKNOWN),
        ("value_gate", True, UNKNOWN),
        ("heads_bias", True, UNKNOWN),
        ("use_qk_norm", True, "the ops have no norm of the heads' queries and keys"),
        ("mla_use_nope", True, "the ops rotate, and this model does not"),
        ("mla_scale_q_lora", True, UNKNOWN),
        ("no_rope_layers", [0, 1], UNKNOWN),
        ("partial_rotary_factor", 0.5, UNKNOWN),
        ("clip_qkv", 8.0, UNKNOWN),
        ("attn_config", {"gate": True}, UNKNOWN),
    ],
)
def test_keys_that_change_the_mathematics(key, value, reason):
    message = f"configuration: key {key!r} is {value!r}: {reason}"
    refuses(message, plain(**{key: value}))
    # Said by hand.
    vouched = dataclasses.replace(MODEL_TYPES["deepseek_v3"], understood=frozenset({key}))
    dims = ModelDimensions.from_hf_config(plain(**{key: value}), vouched)
    assert dims == ModelDimensions.from_hf_config(plain())
    for off in (None, False, [], {}):
        assert ModelDimensions.from_hf_config(plain(**{key: off})) == dims


@pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
def test_rope_parameters(name):
    """Tables and softmax scale are the caller's; what the ops would have to do is refused."""
    dims = ModelDimensions.from_hf_config(plain())
    yarn = {"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0}
    assert ModelDimensions.from_hf_config(plain(**{name: yarn})) == dims
    whole = yarn | {"partial_rotary_factor": 1.0}
    assert ModelDimensions.from_hf_config(plain(**{name: whole})) == dims
    message = f"configuration: key '{name}.llama_4_scaling_beta' is 0.1: the ops do not scale"
    refuses(message, plain(**{name: yarn | {"llama_4_scaling_beta": 0.1}}))
    message = f"configuration: key '{name}.partial_rotary_factor' is 0.5: not understood"
    refuses(message, plain(**{name: yarn | {"partial_rotary_factor": 0.5}}))


def test_harmless_keys():
    harmless = {
        "attention_dropout": 0.1,
        "attention_method": "MLA",
        "attn_implementation": "eager",
        "head_dim": 576,
        "gate_experts": True,
        "grouped_moe_norm_scale": 2,
        "lm_head_bias": True,
        "mlp_gate_bias": True,
        "moe_gate_bias": True,
        "norm_top_k": True,
        "router_gate_type": "sigmoid",
        "shared_expert_gate": True,
        "hidden_act": "silu",
        "kv_cache_dtype": "int8",
        "moe_router_enable_expert_bias": True,
        "partial_rotary_factor": 1.0,
        "q_head_dim": 16,
        "qk_head_dim": 16,
        "router_bias": True,
        "sliding_window": 4096,
        "some_new_key": {"a": 1},
        "top_k": 50,
        "use_mla": True,
    }
    expected = ModelDimensions.from_hf_config(plain())
    assert ModelDimensions.from_hf_config(plain(**harmless)) == expected


@pytest.mark.parametrize("key", ["qk_head_dim", "q_head_dim"])
def test_head_sizes_that_contradict(key):
    message = f"configuration: key '{key}': expected 16, qk_nope_head_dim and qk_rope_head_dim"
    refuses(message, plain(**{key: 24}))


@pytest.mark.parametrize("key", ["qk_head_dim", "q_head_dim"])
@pytest.mark.parametrize("value", ["16", 16.0, False])
def test_head_sizes_that_are_no_integers(key, value):
    message = f"configuration: key '{key}': expected an integer, got {value!r}"
    refuses(message, plain(**{key: value}))


def test_use_mla():
    dims = ModelDimensions.from_hf_config(plain())
    for yes in (None, True, 1):
        assert ModelDimensions.from_hf_config(plain(use_mla=yes)) == dims
    for no in (False, 0, "true", 2, []):
        refuses("configuration: key 'use_mla': expected true, as the ops", plain(use_mla=no))
    vouched = dataclasses.replace(MODEL_TYPES["deepseek_v3"], understood=frozenset({"use_mla"}))
    assert ModelDimensions.from_hf_config(plain(use_mla=False), vouched) == dims


@pytest.mark.parametrize("key", ["mla_scale_q_lora", "mla_scale_kv_lora"])
@pytest.mark.parametrize("value", ["false", 0.5, 1, []])
def test_switches_are_booleans(key, value):
    message = f"configuration: key '{key}': expected a boolean, got {value!r}"
    refuses(message, plain("longcat_flash", **{key: value}))


def test_keys_are_strings():
    refuses("configuration: key 5: expected a string", {**plain(), 5: True})


# Keys of published files beside those of SIZES that transformers' classes do not all write.
EXPERTS = {
    "aux_loss_alpha": 0.001, "ep_size": 1, "first_k_dense_replace": 3,
    "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8,
    "n_routed_experts": 256, "n_shared_experts": 1,
    "norm_topk_prob": True, "num_experts_per_tok": 8, "num_nextn_predict_layers": 1,
    "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "seq_aux": True, "topk_group": 4,
    "topk_method": "noaux_tc", "pretraining_tp": 1, "attention_bias": False,
    "attention_dropout": 0.0, "hidden_act": "silu", "use_cache": True, "initializer_range": 0.02,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
}  # fmt: skip
LONGCAT = {
    "attention_method": "MLA", "expert_ffn_hidden_size": 2048, "ffn_hidden_size": 12288,
    "mla_scale_kv_lora": True, "mla_scale_q_lora": True, "moe_topk": 12, "n_routed_experts": 512,
    "num_layers": 28, "rope_theta": 1e7, "routed_scaling_factor": 6.0, "router_bias": False,
    "zero_expert_num": 256, "zero_expert_type": "identity", "attention_bias": False,
}  # fmt: skip
YARN = {"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0, "beta_fast": 32}


# Keys as configurations of DeepSeek-V3, R1 and V3.2, GLM-5, Kimi-K2 and LongCat-Flash have them: no
# copies of published files.
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("deepseek_v3", EXPERTS | {"rope_scaling": YARN, "rope_theta": 10000}),
        ("deepseek_v32", EXPERTS | SPARSE | {"rope_scaling": YARN, "rope_theta": 10000}),
        ("kimi_k2", EXPERTS | {"rope_scaling": YARN, "rope_theta": 50000.0}),
        (
            "glm_moe_dsa",
            EXPERTS
            | SPARSE
            | {"head_dim": 64, "qk_head_dim": 16, "indexer_rope_interleave": True}
            | {"rope_interleave": True},
        ),
        ("longcat_flash", LONGCAT),
    ],
)
def test_keys_of_published_files(name, keys):
    expected = ModelDimensions.from_hf_config(
        plain(name, **(SPARSE if "index_topk" in keys else {}))
    )
    assert ModelDimensions.from_hf_config(plain(name, **keys)) == expected


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *(("longcat_flash", "q_lora_rank", value) for value in ("1536", 0, False, 1.5, 10**5000)),
        *(("longcat_flash", "hidden_size", value) for value in ("7168", 10**5000, 2**63, None)),
        *(("longcat_flash", "kv_lora_rank", value) for value in ("512", 0)),
        *(("minicpm3", "num_attention_heads", value) for value in (0, "4", -4, True)),
        ("minicpm3", "hidden_size", 48.0),
        ("deepseek_v3", "v_head_dim", "128"),
        ("deepseek_v3", "qk_nope_head_dim", 10**5000),
    ],
    ids=shown,
)
def test_sizes_are_checked_before_they_are_used(name, key, value):
    config = plain(name, **{key: value})
    if name == "minicpm3":
        del config["v_head_dim"]
    refuses(f"configuration: key '{key}': expected a positive integer, got ", config)


def test_value_heads_that_do_not_divide():
    config = plain("minicpm3", hidden_size=7168, num_attention_heads=100, v_head_dim=None)
    refuses("configuration: key 'hidden_size': expected a multiple of the 100 num_att", config)
    config |= {"num_attention_heads": 112}
    assert ModelDimensions.from_hf_config(config).v_head_dim == 64


@pytest.mark.parametrize("eps", [float("inf"), float("nan"), 10**5000, "1e-6"], ids=shown)
def test_epsilons_are_finite(eps):
    refuses("rms_norm_eps: expected a positive float, got ", plain(rms_norm_eps=eps))


def test_rope_keys_that_contradict():
    for name in ("deepseek_v2", "kimi_k2", "longcat_flash"):
        message = "configuration: key 'rope_interleave': expected True, as the code of this model"
        refuses(message, plain(name, rope_interleave=False))
        assert ModelDimensions.from_hf_config(plain(name, rope_interleave=True)).rope_interleaved
    message = "configuration: key 'rope_interleave': expected False, as the code of this model"
    refuses(message, plain("minicpm3", rope_interleave=True))
    refuses(
        "configuration: key 'rope_interleave': expected a boolean, got 'no'",
        plain(rope_interleave="no"),
    )


def test_an_indexer_of_a_model_without():
    message = "configuration: key 'index_topk' is 64: this model type has no indexer; pass model_"
    refuses(message, plain(**SPARSE))
    dims = ModelDimensions.from_hf_config(plain(**SPARSE), "deepseek_v32")
    assert dims.name == "deepseek_v3" and dims.indexer.num_heads == 3


def test_said_by_hand():
    config = plain("my_model", layer_norm_eps=1e-5)
    like = ModelDimensions.from_hf_config(config, "longcat_flash")
    assert (like.name, like.q_lora_scale, like.attentions_per_layer) == ("my_model", 2**0.5, 2)
    form = ModelType("my_model.py", rope_interleaved=False, eps_key="layer_norm_eps")
    dims = ModelDimensions.from_hf_config(config, form)
    assert (dims.rope_interleaved, dims.rms_norm_eps, dims.q_lora_scale) == (False, 1e-5, 1.0)
    del config["model_type"]
    assert ModelDimensions.from_hf_config(config, form).name == "unnamed"
    # By hand or not, a key that changes what is computed stays refused.
    refuses(f"configuration: key 'attention_bias' is True: {BIASES}",
            config | {"attention_bias": True}, form)  # fmt: skip
