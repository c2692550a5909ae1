"""Linear layers of both kinds as the ops take them."""

import pytest
import torch

from ascend_prefetch.linear import (
    W8A8Linear,
    linear_shape,
    linear_to_nz,
    quant_arguments,
    stored_weight,
)
from ascend_prefetch.packing import nz_to_nd, pack_dequant_scale

OUT, IN = 64, 96
WEIGHT = torch.arange(OUT * IN).remainder(32).bfloat16().view(OUT, IN)
DYNAMIC = W8A8Linear(
    torch.arange(IN * OUT).remainder(251).sub(125).char().view(IN, OUT), torch.rand(OUT)
)
STATIC = W8A8Linear(
    DYNAMIC.weight,
    DYNAMIC.dequant_scale,
    input_scale=torch.ones(1),
    input_offset=torch.ones(1),
    quant_bias=torch.arange(OUT).int(),
)


@pytest.mark.parametrize("layer", [WEIGHT, DYNAMIC, STATIC], ids=["bf16", "dynamic", "static"])
def test_forms(layer):
    assert linear_shape(layer) == (OUT, IN)
    packed = linear_to_nz(layer)
    shape = (IN // 16, OUT, 16) if layer is WEIGHT else (OUT // 32, IN, 32)
    assert stored_weight(packed).shape == shape
    assert torch.equal(nz_to_nd(stored_weight(packed)), stored_weight(layer))
    arguments = quant_arguments(layer)
    assert quant_arguments(packed).keys() == arguments.keys()
    for name, tensor in quant_arguments(packed).items():
        assert tensor is arguments[name]


def test_arguments_of_an_op():
    assert quant_arguments(WEIGHT, "q_b_") == {}
    assert set(quant_arguments(DYNAMIC)) == {"dequant_scale"}
    names = {"dequant_scale", "input_scale", "input_offset", "quant_bias"}
    assert set(quant_arguments(STATIC)) == names
    assert set(quant_arguments(STATIC, "q_b_")) == {f"q_b_{name}" for name in names}
    assert DYNAMIC.nbytes == OUT * IN + 4 * OUT
    assert STATIC.nbytes == OUT * IN + 8 * OUT + 8


def test_float_weight_undoes_the_scales():
    weight = torch.tensor([[1, -2], [3, 4], [0, 127]], dtype=torch.int8)
    expected = [[0.5, 1.5, 0.0], [-4.0, 8.0, 254.0]]
    assert W8A8Linear(weight, torch.tensor([0.5, 2.0])).float_weight().tolist() == expected
    scale = pack_dequant_scale(torch.tensor([0.125, 0.5]))
    static = W8A8Linear(weight, scale, input_scale=torch.tensor([0.25]))
    assert static.float_weight().tolist() == expected
