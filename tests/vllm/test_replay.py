"""Upstream's replay of a full graph asks its backend for the class, without a configuration."""

import pytest

import environment
import models
from layers import Layers


@pytest.mark.parametrize("enabled", [False, True])
def test_the_class_is_there_without_a_configuration(enabled):
    environment.start()
    from vllm.config import get_current_vllm_config
    from vllm_ascend.attention.mla_v1 import AscendMLABackend, AscendMLAImpl

    additional = {"ascend_prefetch": {"enabled": enabled}}
    (impl,) = Layers(models.DEEPSEEK_V3, "bf16", additional=additional).impls
    assert type(impl).__name__ == ("FusedAscendMLAImpl" if enabled else "AscendMLAImpl")
    with pytest.raises(AssertionError, match="Current vLLM config is not set"):
        get_current_vllm_config()
    replayed = AscendMLABackend.get_impl_cls()
    assert replayed is AscendMLAImpl
    # All that the replay calls.
    assert type(impl).update_graph_params is replayed.update_graph_params
