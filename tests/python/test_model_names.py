"""Models by name on the command line: presets, releases of their sizes, and a model's own files."""

import json

import pytest
from transformers import AutoConfig

from ascend_prefetch.lab import cli
from ascend_prefetch.models import (
    ALIASES,
    FEED_FORWARDS,
    MODELS,
    ExpertDimensions,
    FeedForwardDimensions,
    ModelDimensions,
    get_experts,
    get_feed_forward,
    get_model,
    model_name,
)
from ascend_prefetch.shown import shown

# Sizes that the ops take, and that are modelled in seconds.
SMALL = {
    "model_type": "deepseek_v3",
    "hidden_size": 512,
    "num_attention_heads": 4,
    "q_lora_rank": 192,
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 64,
    "v_head_dim": 64,
    "rms_norm_eps": 1e-6,
}
FEED_FORWARD = {
    "num_hidden_layers": 4,
    "first_k_dense_replace": 1,
    "intermediate_size": 1024,
    "n_routed_experts": 16,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
    "n_shared_experts": 1,
}


def write(directory, **changes):
    text = json.dumps({**SMALL, **changes})
    (directory / "config.json").write_text(text, encoding="utf-8")
    return directory


def run_json(capsys, *arguments):
    assert cli.main([*map(str, arguments), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    """The one line that a verb says of bad input, without its name."""
    try:
        status = cli.main(list(map(str, arguments)))
    except SystemExit as stop:
        status = stop.code
    lines = capsys.readouterr().err.splitlines()
    assert (status, len(lines)) == (2, 1)
    return lines[0].partition(": ")[2]


# --- names ---


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("R1", "deepseek-v3"),
        ("v3.1", "deepseek-v3"),
        ("DeepSeek-R1-0528", "deepseek-v3"),
        ("deepseek-ai/DeepSeek-V3.1-Terminus", "deepseek-v3"),
        ("V3.2-Exp", "deepseek-v3.2"),
        ("moonshotai/Kimi-K2.5", "kimi-k2"),
        ("kimi-k2.6", "kimi-k2"),
        ("GLM-4.7-Flash", "glm-4-moe-lite"),
        ("GLM-5.1", "glm-5"),
        ("zai-org/GLM-5.2", "glm-5"),
        ("LongCat-Flash-Lite", "longcat-flash-lite"),
        ("DeepSeek-V2.5", "deepseek-v2"),
        ("v2", "deepseek-v2"),
    ],
)
def test_releases(name, preset):
    assert model_name(name) == preset
    assert get_model(name) is MODELS[preset]
    assert get_feed_forward(name) is FEED_FORWARDS[preset]


def test_every_preset_goes_by_its_own_name():
    assert set(ALIASES.values()) == set(MODELS)
    for name in MODELS:
        assert ALIASES[name] == model_name(name) == name


@pytest.mark.parametrize("name", ["", "deepseek-v9", "a/b/R1", "zai-org/", "/no/such/file"])
def test_no_model(name):
    message = "^model: expected a config.json, a directory that has one, or one of deepseek-v3, "
    with pytest.raises(ValueError, match=f"{message}.*, got {name!r}$"):
        get_model(name)


def test_a_path_that_looks_like_a_release(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deepseek-ai").mkdir()
    (tmp_path / "deepseek-ai" / "DeepSeek-V3.1").mkdir()
    write(tmp_path / "deepseek-ai" / "DeepSeek-V3.1")
    assert get_model("deepseek-ai/DeepSeek-V3.1").hidden_size == 512
    assert get_model("DeepSeek-V3.1") is MODELS["deepseek-v3"]


def test_a_model_by_its_files(tmp_path):
    write(tmp_path, **FEED_FORWARD)
    for path in (tmp_path, tmp_path / "config.json"):
        dims = get_model(str(path))
        assert dims == ModelDimensions.from_hf_config(tmp_path)
        assert dims.source == str(tmp_path / "config.json")
        assert get_experts(str(path)) == ExpertDimensions(16, 2, 256, 1)
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="expected a config.json in it, found none$"):
        get_model(str(tmp_path))


# --- feed-forward dimensions ---


@pytest.mark.parametrize(
    ("model_type", "preset"),
    [
        ("deepseek_v3", "deepseek-v3"),
        ("deepseek_v32", "deepseek-v3.2"),
        ("glm_moe_dsa", "glm-5"),
        ("glm4_moe_lite", "glm-4-moe-lite"),
        ("longcat_flash", "longcat-flash"),
    ],
)
def test_the_defaults_of_transformers_are_the_presets(model_type, preset):
    found = FeedForwardDimensions.from_hf_config(AutoConfig.for_model(model_type).to_dict())
    expected = FEED_FORWARDS[preset]
    names = ("layers", "dense_layers", "intermediate_size", "experts", "no_experts")
    assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [
        ("axk1", (61, 1, 18432, ExpertDimensions(192, 8, 2048, 1))),
        ("kimi_linear", (27, 1, 9216, ExpertDimensions(256, 8, 1024, 1))),
        ("mistral4", (36, 0, 12288, ExpertDimensions(128, 4, 2048, 1))),
        ("sarvam_mla", (32, 1, 16384, ExpertDimensions(128, 8, 2048, 1))),
        ("youtu", (32, 32, 6144, None)),
        ("minicpm3", (62, 62, 6400, None)),
        # No number of experts that a token chooses among the class's defaults.
        ("deepseek_v2", (32, 0, 11008, None)),
    ],
)
def test_keys_of_every_family(model_type, expected):
    config = AutoConfig.for_model(model_type).to_dict()
    found = FeedForwardDimensions.from_hf_config(config)
    assert (found.layers, found.dense_layers, found.intermediate_size, found.experts) == expected


def test_what_a_configuration_does_not_say():
    found = FeedForwardDimensions.from_hf_config(SMALL)
    assert (found.layers, found.intermediate_size, found.experts) == (None, None, None)
    nested = FeedForwardDimensions.from_hf_config({"text_config": {**SMALL, **FEED_FORWARD}})
    assert (nested.layers, nested.source) == (4, "configuration: text_config")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_hidden_layers", 0, "key 'num_hidden_layers': expected a positive integer, got 0"),
        ("intermediate_size", "9", "key 'intermediate_size': expected a positive integer, got '9'"),
        ("n_routed_experts", 10**5000, "key 'n_routed_experts': expected a positive integer, got"),
        ("num_experts_per_tok", 17, "experts that a token chooses: expected at most the 16 of a"),
        ("first_k_dense_replace", -1, "key 'first_k_dense_replace': expected an integer of 0 or"),
        ("n_shared_experts", True, "key 'n_shared_experts': expected an integer of 0 or more"),
        ("mlp_layer_types", ["x"], "key 'mlp_layer_types': expected a list of 'dense' and 'spar"),
    ],
    ids=shown,
)
def test_sizes_out_of_range(key, value, message):
    with pytest.raises(ValueError, match=f"^configuration: {message}"):
        FeedForwardDimensions.from_hf_config({**SMALL, **FEED_FORWARD, key: value})


# --- the command line ---


@pytest.mark.parametrize("op", ["mla_prolog", "o_proj", "prefetch"])
def test_bench_takes_a_models_files(capsys, tmp_path, op):
    write(tmp_path)
    result = run_json(capsys, "bench", op, "--model", tmp_path, "--tp", 2, "--tokens", 3)
    assert result["check"]["ok"] and result["model"] == str(tmp_path)


def test_bench_without_rope(capsys, tmp_path):
    write(tmp_path, model_type="kimi_linear", q_lora_rank=None)
    result = run_json(capsys, "bench", "mla_prolog", "--model", tmp_path, "--tokens", 3)
    assert result["check"]["ok"]


def test_layer_takes_dense_and_experts_from_the_files(capsys, tmp_path):
    path = write(tmp_path, **FEED_FORWARD) / "config.json"
    chosen = ["layer", "--model", path, "--batch", 2, "--kv-len", 128]
    dense = {part["name"]: part for part in run_json(capsys, *chosen)["parts"]}
    # 16-bit weights: gate and up together, and down.
    assert dense["gate_up"]["hbm_bytes"] == 2 * 2 * 512 * 1024
    assert dense["down"]["hbm_bytes"] == 2 * 512 * 1024
    result = run_json(capsys, *chosen, "--kind", "moe")
    parts = {part["name"]: part for part in result["parts"]}
    assert parts["gate"]["hbm_bytes"] == 2 * 512 * 16
    assert parts["shared_down"]["hbm_bytes"] == 2 * 512 * 256
    expected = 16 * (1 - (1 - 2 / 16) ** 2) * 3 * 512 * 256 * 2
    assert result["expert_bytes"] == pytest.approx(expected, abs=1)
    assert result["memory"]["fits"]


def test_layer_without_feed_forward_keys(capsys, tmp_path):
    write(tmp_path)
    chosen = ["layer", "--model", tmp_path, "--batch", 2, "--kv-len", 128]
    result = run_json(capsys, *chosen)
    assert not {"gate_up", "down"} & {part["name"] for part in result["parts"]}
    assert result["left_out"] == ["gate_up", "down"]
    assert cli.main(list(map(str, chosen))) == 0
    printed = capsys.readouterr().out
    assert (
        "left out, as the model's configuration does not state its size: gate_up, down" in printed
    )
    message = f"kind: expected dense for {tmp_path}, whose configuration names no experts, got moe"
    assert refused(capsys, *chosen, "--kind", "moe") == message


def test_timeline_and_sweep_take_a_models_files(capsys, tmp_path):
    write(tmp_path)
    out = tmp_path / "t.json"
    result = run_json(capsys, "timeline", "o_proj", "--model", tmp_path, "--out", out)
    assert result["model"] == str(tmp_path)
    table = tmp_path / "sweep.csv"
    axes = ["--tp", "1", "--tokens", "1", "--kv-len", "16", "--moe-bytes", "0"]
    chosen = ["sweep", "--models", f"{tmp_path},R1", "--out", table, "--soc", "Ascend910_9391"]
    assert run_json(capsys, *chosen, *axes, "--processes", "1")["rows"] == 2
    assert f"{tmp_path},1,1," in table.read_text()


def test_bench_names_what_the_ops_lack(capsys, tmp_path):
    write(tmp_path, model_type="minicpm3", qk_rope_head_dim=32)
    message = refused(capsys, "bench", "mla_prolog", "--model", tmp_path)
    assert message == (
        f"{tmp_path}/config.json: key 'qk_rope_head_dim' of minicpm3: expected 64, the size of the "
        "ops' rope part, got 32: no op takes this model"
    )
    write(tmp_path, model_type="hy_v4")
    message = refused(capsys, "bench", "mla_prolog", "--model", tmp_path)
    assert message.startswith(f"{tmp_path}/config.json: key 'model_type' is 'hy_v4': not what the")


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads", "index_n_heads"])
def test_sizes_that_no_host_holds(capsys, tmp_path, key):
    sparse = {"index_n_heads": 16, "index_head_dim": 128, "index_topk": 64}
    write(tmp_path, model_type="deepseek_v32", **(sparse | {key: 2**40}))
    for verb in (["bench", "sfa_prolog"], ["layer"]):
        message = refused(capsys, *verb, "--model", tmp_path)
        assert message.startswith(
            f"{tmp_path}/config.json: expected attention weights of at most 8589934592 bytes on a "
        )


@pytest.mark.parametrize(
    ("key", "kind"), [("intermediate_size", "dense"), ("n_shared_experts", "moe")]
)
def test_feed_forward_sizes_that_take_hours(capsys, tmp_path, key, kind):
    write(tmp_path, **(FEED_FORWARD | {key: 2**31 - 1}))
    message = refused(capsys, "layer", "--model", tmp_path, "--kind", kind)
    assert message.startswith("model: expected a feed-forward network of at most 4294967296 bytes")


def test_arguments_that_are_no_model(capsys, tmp_path):
    message = refused(capsys, "bench", "mla_prolog", "--model", "gpt")
    assert message.startswith("model: expected a config.json, a directory that has one")
    assert message.endswith("got 'gpt'")
    message = refused(capsys, "sweep", "--models", "R1,gpt", "--out", tmp_path / "s.csv")
    assert message.endswith("got 'gpt'")
    assert refused(capsys, "layer", "--model", tmp_path).endswith("a config.json in it, found none")
    (tmp_path / "config.json").write_text("{")
    assert "config.json: expected JSON, got" in refused(capsys, "layer", "--model", tmp_path)


def test_no_output_replaces_the_configuration(capsys, tmp_path):
    path = write(tmp_path) / "config.json"
    for model in (tmp_path, path):
        message = refused(capsys, "bench", "o_proj", "--model", model, "--json", path)
        assert message.startswith("json: expected another file than that of an input")
