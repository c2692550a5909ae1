"""Damaged checkpoints: loading refuses them with one error, or finds them whole."""

import json
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ascend_prefetch.models import load_mla_weights
from test_checkpoint import (
    DIMS,
    INDEX,
    LAYER,
    SINGLE,
    checkpoint_tensors,
    save_sharded,
    save_single,
)

REFUSALS = (ValueError, FileNotFoundError)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=10), values, max_size=3)
    ),
    max_leaves=6,
)
damage = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def load(directory):
    """Refused in one line, or loaded as finite numbers of the right shapes."""
    try:
        weights = load_mla_weights(directory, DIMS, LAYER, 0, 1)
    except REFUSALS as error:
        assert 0 < len(str(error)) < 2000 and "\n" not in str(error)
        return None
    assert weights.w_uk.shape == (DIMS.num_heads, DIMS.qk_nope_head_dim, DIMS.kv_lora_rank)
    return weights


@damage
@given(data=st.data())
def test_bytes_of_the_header(tmp_path, data):
    save_single(tmp_path, checkpoint_tensors())
    path = tmp_path / SINGLE
    content = bytearray(path.read_bytes())
    (header_bytes,) = struct.unpack_from("<Q", content)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 7 + header_bytes))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(content)
    load(tmp_path)


@damage
@given(data=st.data())
def test_entries_of_the_header(tmp_path, data):
    save_single(tmp_path, checkpoint_tensors())
    path = tmp_path / SINGLE
    content = path.read_bytes()
    (header_bytes,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + header_bytes])
    name = data.draw(st.sampled_from(sorted(header)))
    field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", "all"]))
    if field == "all" or not isinstance(header[name], dict):
        header[name] = data.draw(JSON)
    else:
        sizes = st.lists(st.integers(-1, 2**40), max_size=4)
        header[name][field] = data.draw(JSON | sizes | st.sampled_from(["F8_E4M3", "F64", "I8"]))
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + header_bytes :])
    load(tmp_path)


@damage
@given(index=JSON, whole=st.booleans(), entry=JSON)
def test_the_index(tmp_path, index, whole, entry):
    save_sharded(tmp_path, checkpoint_tensors())
    path = tmp_path / INDEX
    content = json.loads(path.read_text())
    if whole:
        content = index
    else:
        name = sorted(content["weight_map"])[0]
        content["weight_map"][name] = entry
    path.write_text(json.dumps(content))
    load(tmp_path)
    # The next example overwrites the files.


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_whole_checkpoints_load(tmp_path, dtype):
    save_single(tmp_path, checkpoint_tensors(dtype=dtype))
    assert load(tmp_path) is not None
