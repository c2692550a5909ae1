"""mla_prolog and o_proj at the size of DeepSeek-V3, held against transformers' own attention.

The checkpoint is transformers', loaded with this package's loader. Attention itself, over the
caches that mla_prolog wrote, is the float64 reference.
"""

import pytest
import torch

import transformers_mla as hf
from ascend_prefetch.lab import reference
from ascend_prefetch.models import get_model, load_mla_weights
from ascend_prefetch.packing import nd_to_nz
from mla_cases import poisoned_memory

pytestmark = pytest.mark.usefixtures("device")

DIMS = get_model("deepseek-v3")
TOKENS = 19
BLOCK_SIZE = 16
# Measured: 4e-3 at most, the rounding of queries, caches, values and the result to bf16.
BOUND = 1e-2


@pytest.fixture(scope="module")
def hidden_states():
    generator = torch.Generator().manual_seed(11)
    return torch.randn(TOKENS, DIMS.hidden_size, generator=generator).bfloat16()


@pytest.fixture(scope="module")
def expected(deepseek_v3_checkpoint, hidden_states):
    """The attention output of transformers, in float32 on the same bf16 weights and inputs."""
    module = hf.load_attention(deepseek_v3_checkpoint, torch.float32)
    cos, sin = hf.position_embeddings(module.config, TOKENS, torch.float32)
    return hf.attention_output(module, hidden_states.float(), cos, sin)


def attention_output(weights, hidden_states, rows, packed):
    """One rank's share of the output, its caches filled by the op in calls of `rows` tokens."""
    pack = nd_to_nz if packed else lambda weight: weight
    cos, sin = reference.rope_tables(torch.arange(TOKENS), DIMS.qk_rope_head_dim)
    # Slots in reverse order: row t of the sequence is wherever the slot mapping says.
    blocks = TOKENS // BLOCK_SIZE + 1
    slots = blocks * BLOCK_SIZE - 1 - torch.arange(TOKENS)
    shape = (blocks, BLOCK_SIZE, 1)
    kv_cache = torch.full((*shape, DIMS.kv_lora_rank), torch.nan, dtype=torch.bfloat16)
    rope_cache = torch.full((*shape, DIMS.qk_rope_head_dim), torch.nan, dtype=torch.bfloat16)
    latents = []
    for start in range(0, TOKENS, rows):
        step = slice(start, min(start + rows, TOKENS))
        with poisoned_memory():
            q_nope, q_rope, *_ = torch.ops.ascend_prefetch.mla_prolog(
                hidden_states[step],
                pack(weights.qkv_a),
                weights.q_a_norm,
                pack(weights.q_b),
                pack(weights.w_uk),
                weights.kv_a_norm,
                cos[step],
                sin[step],
                slots[step],
                kv_cache,
                rope_cache,
                q_a_norm_bias=weights.q_a_norm_bias,
                kv_a_norm_bias=weights.kv_a_norm_bias,
                eps=DIMS.rms_norm_eps,
                rope_interleaved=DIMS.rope_interleaved,
                prefetch=[weights.o_proj],
            )
        seen = slots[: step.stop]
        latents.append(
            reference.attention(
                q_nope,
                q_rope,
                kv_cache.flatten(0, 2)[seen],
                rope_cache.flatten(0, 2)[seen],
                scale=DIMS.qk_head_dim**-0.5,
                causal=True,
            )
        )
    latent = torch.cat(latents).bfloat16()
    with poisoned_memory():
        return torch.ops.ascend_prefetch.o_proj(
            latent, pack(weights.o_proj), w_uv=pack(weights.w_uv)
        )


@pytest.mark.parametrize(
    ("rows", "packed"), [(TOKENS, False), (7, True)], ids=["at-once", "in-steps-nz"]
)
def test_attention_output(deepseek_v3_checkpoint, hidden_states, expected, rows, packed):
    """The whole sequence in one call, and a few tokens at a time with weights in FRACTAL_NZ."""
    weights = load_mla_weights(deepseek_v3_checkpoint, DIMS, layer=0, tp_rank=0, tp_size=1)
    output = attention_output(weights, hidden_states, rows, packed)
    assert reference.relative_error(output, expected) <= BOUND


def test_ranks_add_up(deepseek_v3_checkpoint, hidden_states, expected):
    """Four tensor-parallel ranks, each with its slice of the checkpoint."""
    output = torch.zeros(TOKENS, DIMS.hidden_size, dtype=torch.float64)
    for rank in range(4):
        weights = load_mla_weights(deepseek_v3_checkpoint, DIMS, 0, tp_rank=rank, tp_size=4)
        output += attention_output(weights, hidden_states, TOKENS, packed=False)
    assert reference.relative_error(output, expected) <= BOUND


class OpAttention(torch.nn.Module):
    """Stands in for a layer's self_attn: its projections are the ops."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, hidden_states, **kwargs):
        outputs = [attention_output(self.weights, row, TOKENS, False) for row in hidden_states]
        return torch.stack(outputs), None


def test_one_layer_model(deepseek_v3_checkpoint):
    """The whole model - embedding, norms, residuals, MLP, head - with its attention replaced."""
    generator = torch.Generator().manual_seed(5)
    embeddings = torch.randn(1, TOKENS, DIMS.hidden_size, generator=generator).bfloat16()
    exact = hf.load_model(deepseek_v3_checkpoint, torch.float32)
    rounded = hf.load_model(deepseek_v3_checkpoint, torch.bfloat16)
    weights = load_mla_weights(deepseek_v3_checkpoint, DIMS, layer=0, tp_rank=0, tp_size=1)
    with torch.no_grad():
        expected = exact(inputs_embeds=embeddings.float()).logits
        before = rounded(inputs_embeds=embeddings).logits
        rounded.model.layers[0].self_attn = OpAttention(weights)
        after = rounded(inputs_embeds=embeddings).logits
    # As close to float32 as transformers' own bf16 attention is, and within the bound.
    assert reference.relative_error(after, expected) <= BOUND
    assert reference.relative_error(after, expected) <= 1.5 * reference.relative_error(
        before, expected
    )
