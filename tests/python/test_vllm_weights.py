"""vLLM Ascend's linear layers as arguments of the ops, and what makes the plugin read them anew."""

from __future__ import annotations

import pytest
import torch

import ascend_prefetch
import vllm_stand_ins as up
from ascend_prefetch import backend
from ascend_prefetch.vllm.arguments import _ask_op
from ascend_prefetch.vllm.fallback import Unsupported
from ascend_prefetch.vllm.linears import read_linear, scale_with_reciprocal
from ascend_prefetch.vllm.neighbours import place_of
from ascend_prefetch.vllm.watch import Watch

IN, OUT = 128, 192


def quantised(method):
    """A layer after upstream's process_weights_after_loading."""
    generator = torch.Generator().manual_seed(3)
    layer = up.Linear(IN, OUT, 1)
    weight = torch.randint(-127, 128, (IN, OUT), generator=generator).to(torch.int8)
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    layer.quant_method = type("Method", (), {"quant_method": method})()
    return layer, torch.rand(OUT, generator=generator) / 1000 + 0.001


def static_layer(scale: float = 0.0371):
    layer, scales = quantised(up.AscendW8A8LinearMethod())
    input_scale = torch.tensor([scale], dtype=torch.bfloat16)
    layer.aclnn_input_scale_reciprocal = 1 / input_scale.repeat(IN)
    layer.aclnn_input_offset = torch.tensor([3], dtype=torch.int8).repeat(IN).bfloat16()
    layer.deq_scale = torch.nn.Parameter(scales * input_scale.float(), requires_grad=False)
    layer.quant_bias = torch.nn.Parameter(torch.arange(OUT, dtype=torch.int32) * 100, False)
    return layer


def activations():
    return torch.randn(5, IN, generator=torch.Generator().manual_seed(4)).bfloat16()


def op_result(layer, watch=None):
    arguments = read_linear("o_proj", layer, watch or Watch())
    return ascend_prefetch.o_proj(activations(), arguments.weight, **arguments.options)


def test_a_static_layer_computes_what_upstream_s_does_bit_by_bit():
    layer = static_layer()
    x = activations().float() * layer.aclnn_input_scale_reciprocal[0].float() + 3
    q = x.round().clamp(-128, 127)
    sums = q.double() @ layer.weight.double() + layer.quant_bias
    assert torch.equal(op_result(layer), (sums.float() * layer.deq_scale).bfloat16())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_dynamic_layer_computes_what_upstream_s_does_bit_by_bit(dtype):
    layer, scales = quantised(up.AscendW8A8DynamicLinearMethod())
    layer.weight_scale = torch.nn.Parameter(scales.bfloat16().to(dtype), requires_grad=False)
    x = activations().float()
    absmax = x.abs().amax(-1, keepdim=True)
    # A number over a tensor would be rounded twice.
    q = (x * torch.full_like(absmax, 127).div(absmax)).round()
    result = (q.double() @ layer.weight.double()).float() * layer.weight_scale.float()
    wanted = (result * (absmax / 127)).bfloat16()
    torch.testing.assert_close(op_result(layer), wanted, rtol=2**-8, atol=0)


def test_reciprocals_of_bfloat16_are_kept_or_one_unit_away():
    reciprocals = torch.arange(0x3F80, 0x4000, dtype=torch.int16).view(torch.bfloat16)
    kept = torch.cat([scale_with_reciprocal(r.view(1)) for r in reciprocals]).reciprocal()
    away = (kept.view(torch.int32) - reciprocals.float().view(torch.int32)).abs()
    assert away.max() == 1 and (away == 0).sum() == 102


def test_only_the_first_rank_of_a_row_parallel_layer_adds_the_bias():
    layer = static_layer()
    layer.input_size, layer.tp_rank = 2 * IN, 1
    assert "quant_bias" not in read_linear("o_proj", layer, Watch()).options
    layer.tp_rank = 0
    assert read_linear("o_proj", layer, Watch()).options["quant_bias"] is not None


def test_options_carry_the_prefix():
    options = read_linear("q_b_proj", static_layer(), Watch(), "q_b_").options
    assert set(options) == {
        "q_b_dequant_scale",
        "q_b_input_scale",
        "q_b_input_offset",
        "q_b_quant_bias",
    }


class AscendW4A8LinearMethod:
    """Named as one that the ops do not know."""


def test_what_the_ops_do_not_know_says_so():
    layer = up.Linear(IN, OUT, 1)
    layer.quant_method = AscendW4A8LinearMethod()
    with pytest.raises(Unsupported, match="^x is quantised by AscendW4A8LinearMethod$"):
        read_linear("x", layer, Watch())
    layer = up.Linear(IN, OUT, 1)
    layer.bias = torch.zeros(OUT)
    with pytest.raises(Unsupported, match="^x has a bias$"):
        read_linear("x", layer, Watch())
    with pytest.raises(Unsupported, match="^there is no x$"):
        read_linear("x", None, Watch())


def test_scales_that_are_gone_or_changed_are_noticed():
    layer, watch = static_layer(), Watch()
    read_linear("o_proj", layer, watch)
    assert watch.unchanged()
    layer.quant_bias.data.add_(1)  # used as it is
    assert watch.unchanged()
    layer.aclnn_input_offset.add_(1)  # copied
    assert not watch.unchanged()
    layer.deq_scale = None
    with pytest.raises(Unsupported, match="^upstream freed deq_scale of o_proj for its own"):
        read_linear("o_proj", layer, Watch())


def test_places_tell_a_model_from_its_draft():
    place = place_of("model.layers.60.self_attn.attn")
    assert place == ("model", 60, "self_attn.attn")
    assert place_of("model.layers.61.mtp_block.self_attn.attn") == (
        "model",
        61,
        "mtp_block.self_attn.attn",
    )
    assert place_of("model.layers.3.self_attn.0.attn") is None  # two attentions in a layer
    assert place_of("attn") is None and place_of(None) is None


def test_a_build_without_the_device_says_so(monkeypatch):
    monkeypatch.setattr(backend, "_npu", backend.Backend(False, "this build has no device library"))
    with pytest.raises(Unsupported, match="no backend for privateuseone: this build has no device"):
        _ask_op("o_proj", torch.device("privateuseone"), {})
