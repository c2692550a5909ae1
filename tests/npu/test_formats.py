"""Weights that torch_npu stores in FRACTAL_NZ are read as such, whatever their shape says."""

import pytest
import torch

from ascend_prefetch.lab import npu as npus
from ascend_prefetch.lab.bench.measured import placed
from mla_cases import same_bits
from o_proj_cases import OProjCase, OProjInputs
from w8a8_cases import DYNAMIC, STATIC

pytestmark = pytest.mark.npu

FRACTAL_NZ = 29
NZ = ("o_proj_weight", "w_uv")


@pytest.mark.parametrize("quant", [None, STATIC, DYNAMIC], ids=["bf16", "static", "dynamic"])
def test_a_cast_weight_gives_the_bits_of_a_packed_one(npu, quant):
    case = OProjCase(17, hidden=256, heads=3, kv_lora=128, value=64, quant=quant)
    row_major = OProjInputs(case)
    packed = OProjInputs(OProjCase(**{**vars(case), "nz": NZ}))
    device = torch.device("npu")
    expected = torch.ops.ascend_prefetch.o_proj(**placed(packed.arguments, device))
    arguments = placed(row_major.arguments, device)
    for name in NZ:
        arguments[name] = npus.require().npu_format_cast(arguments[name], FRACTAL_NZ)
    output = torch.ops.ascend_prefetch.o_proj(**arguments)
    assert same_bits(output.cpu(), expected.cpu())
