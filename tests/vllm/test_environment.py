"""The environment is what it claims to be."""

import pytest
import torch

import environment
from double import AbsentError


def test_upstream_is_real_and_torch_is_the_projects_own():
    version = environment.start()
    import vllm
    import vllm_ascend
    from vllm_ascend.attention.mla_v1 import AscendMLAImpl

    assert version in vllm_ascend.__path__[0]
    assert "releases" in vllm.__file__
    assert AscendMLAImpl.__module__ == "vllm_ascend.attention.mla_v1"
    assert torch.__version__.startswith("2.13.0")


def test_what_the_double_lacks_is_named():
    environment.start()
    import torch_npu

    with pytest.raises(AbsentError, match="torch_npu.npu_gru is not in the"):
        torch_npu.npu_gru(torch.zeros(1))
    with pytest.raises(AttributeError, match="mla_preprocess"):
        torch.ops._C_ascend.mla_preprocess(torch.zeros(1))
