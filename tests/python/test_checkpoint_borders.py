"""Damaged checkpoints: loading refuses them with one error, or finds them whole."""

import json
import os
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ascend_prefetch.models import ModelDimensions, load_mla_weights
from ascend_prefetch.models.checkpoint_files import CheckpointFiles
from attention_checkpoint import ODD
from test_checkpoint import (
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
        weights = load_mla_weights(directory, ODD, LAYER, 0, 1)
    except REFUSALS as error:
        assert 0 < len(str(error)) < 2000 and "\n" not in str(error)
        return None
    assert weights.w_uk.shape == (ODD.num_heads, ODD.qk_nope_head_dim, ODD.kv_lora_rank)
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


NO_FILES = [
    (os.mkfifo, "expected a file, got a FIFO"),
    (os.mkdir, "expected a file, got a directory"),
    (lambda path: path.symlink_to("/dev/zero"), "expected a file, got a device"),
    (lambda path: path.symlink_to(path), "expected a file: Too many levels of symbolic links"),
]


@pytest.mark.parametrize(("make", "text"), NO_FILES)
@pytest.mark.parametrize(
    "name", [SINGLE, INDEX, "other.safetensors", "other.safetensors.index.json"]
)
def test_what_is_no_file_is_not_waited_for(tmp_path, name, make, text):
    make(tmp_path / name)
    with pytest.raises(ValueError, match=f"{tmp_path / name}: {text}$"):
        CheckpointFiles(tmp_path)


@pytest.mark.parametrize(("make", "text"), NO_FILES)
def test_a_shard_that_is_no_file(tmp_path, make, text):
    save_sharded(tmp_path, checkpoint_tensors())
    for shard in tmp_path.glob("*.safetensors"):
        shard.unlink()
        make(shard)
    with pytest.raises(ValueError, match=f"^{tmp_path / INDEX}: tensor model.*: {text}$"):
        load_mla_weights(tmp_path, ODD, LAYER, 0, 1)


@pytest.mark.parametrize(("make", "text"), NO_FILES)
def test_a_description_or_configuration_that_is_no_file(tmp_path, make, text):
    save_single(tmp_path, checkpoint_tensors())
    path = tmp_path / "quant_model_description.json"
    make(path)
    with pytest.raises(ValueError, match=f"{path}: {text}$"):
        CheckpointFiles(tmp_path).descriptions()
    path = tmp_path / "config.json"
    make(path)
    with pytest.raises(ValueError, match=f"{path}: {text}$"):
        ModelDimensions.from_hf_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "expected JSON, got too many levels"),
        ('{"weight_map":' * 100_000, "expected JSON, got too many levels"),
        ('{"a": 1, "a": 1}', "expected JSON, got: 'a' is there twice"),
        ('{"a": ' + "1" * 5000 + "}", "expected JSON, got: Exceeds the limit"),
        ("\ufeff{}", "expected JSON, got: Unexpected UTF-8 BOM"),
    ],
)
def test_json_that_cannot_be_read(tmp_path, text, problem):
    """Of the index, the description of a quantisation, and the configuration."""
    save_single(tmp_path, checkpoint_tensors())
    files = CheckpointFiles(tmp_path)
    for name, read in (
        (INDEX, lambda: CheckpointFiles(tmp_path)),
        ("quant_model_description.json", files.descriptions),
        ("config.json", lambda: ModelDimensions.from_hf_config(tmp_path)),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError) as error:
            read()
        assert str(error.value).startswith(f"{tmp_path / name}: {problem}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shard", "problem"),
    [
        ("x" * 5000, "expected a file: File name too long"),
        ("x\0y", "expected a file: embedded null byte"),
        ("x\ud800", "expected a file: 'utf-8' codec can't encode character"),
        ("", "expected a file, got a directory"),
        (".", "expected a shard in the directory, got '.'"),
        ("..", "expected a file, got a directory"),
    ],
)
def test_names_that_no_shard_can_have(tmp_path, shard, problem):
    """A long one does not fill the error, either."""
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a.b.weight": shard}}))
    with pytest.raises(ValueError) as error:
        CheckpointFiles(tmp_path).read("a.b.weight", (1,), ["F32"])
    text = str(error.value)
    assert text.startswith(f"{tmp_path / INDEX}: tensor a.b.weight: ")
    assert problem in text
    assert len(text) < len(str(tmp_path)) + 400
    assert "\0" not in text


@pytest.mark.parametrize("directory", ["x" * 5000, "x\0y", "absent"])
def test_directories_that_cannot_be(directory):
    with pytest.raises(FileNotFoundError, match="^directory: expected a checkpoint directory, got"):
        CheckpointFiles(directory)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_whole_checkpoints_load(tmp_path, dtype):
    save_single(tmp_path, checkpoint_tensors(dtype=dtype))
    assert load(tmp_path) is not None


def test_a_name_of_two_lines_is_one_line_of_the_error(tmp_path):
    """What safetensors says of a header repeats what stands there."""
    save_single(tmp_path, checkpoint_tensors())
    path = tmp_path / SINGLE
    content = path.read_bytes()
    (header_bytes,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + header_bytes])
    header[sorted(header)[-1]]["dtype"] = "a\nb"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + header_bytes :])
    assert load(tmp_path) is None
