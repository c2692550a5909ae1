"""What upstream changes is named in one line, and upstream runs: no hook stops a server."""

from __future__ import annotations

import ast
import importlib
import json
import logging
import re
from pathlib import Path

import pytest
import torch

import ascend_prefetch.vllm as plugin
import vllm_sites
import vllm_stand_ins as up
from ascend_prefetch.policy import PrefetchConfig, WeightPrefetchMethod
from ascend_prefetch.vllm import patch, seams
from ascend_prefetch.vllm.arguments import _read_output
from ascend_prefetch.vllm.fallback import UpstreamChanged
from ascend_prefetch.vllm.linears import read_linear
from ascend_prefetch.vllm.mla import DenseAttention
from ascend_prefetch.vllm.neighbours import FeedForward, place_of
from ascend_prefetch.vllm.signatures import Expected, difference
from ascend_prefetch.vllm.watch import Watch
from vllm_sites import backend, configure, describe, lines
from vllm_stand_ins import NAME

site = vllm_sites.site  # a fixture

RELEASES = tuple(seams.RELEASES)
ON = {"ascend_prefetch": {"enabled": True}}
ENVIRONMENT = "ASCEND_PREFETCH_SETTINGS"


def errors(caplog) -> list[str]:
    return lines(caplog, logging.ERROR)


def rewrite(module: str, pattern: str, replacement: str) -> None:
    """Changes the source of a stand-in that has not been imported yet."""
    root = importlib.import_module(module.split(".")[0]).__path__[0]
    path = Path(root, *module.split(".")[1:]).with_suffix(".py")
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count, f"{pattern} is not in {path}"
    path.write_text(text)
    importlib.invalidate_caches()


# --- settings ---


@pytest.mark.parametrize("registered", ["first", "last"])
@pytest.mark.parametrize("version", ["0.26.0rc1", "0.30.0rc2"])
def test_a_configuration_that_refuses_unknown_keys_is_not_shown_ours(site, version, registered):
    site(strict=True, vllm="0.23.0", vllm_ascend=version)
    if registered == "last":
        importlib.import_module("vllm_ascend.ascend_config")
    plugin.register()
    config = configure({**ON, "known": 5})
    assert config.checked.known == 5
    assert config.additional_config == {**ON, "known": 5}  # what other processes receive
    with pytest.raises(TypeError, match="other"):
        configure({"other": 1})


def test_a_configuration_that_cannot_be_hooked_is_given_no_key(site, caplog):
    site(strict=True, vllm="0.23.0", vllm_ascend="0.26.0rc1")
    rewrite("vllm_ascend.ascend_config", "AscendConfig", "Renamed")
    plugin.register()
    assert configure(ON).additional_config == {}
    (line,) = lines(caplog)[-1:]
    assert line == (
        "ascend_prefetch stays off: looked for vllm_ascend.ascend_config.AscendConfig, found none; "
        "vLLM Ascend runs without it"
    )


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"enable": True}, "unknown key 'enable', expected one of enabled"),
        ({"captured_kv_len": 0}, "expected a whole number from 1 to 1073741824, got 0"),
        ({"enabled": True, "release": 23}, 'expected major and minor such as "0.23", got 23'),
        (True, "expected a dict, got bool True"),
    ],
)
def test_wrong_settings_are_one_line_and_upstream_runs(site, caplog, settings, words):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    config = configure({"ascend_prefetch": settings})
    assert config.additional_config == {"ascend_prefetch": {"enabled": False}}
    assert backend().get_impl_cls() is backend().chosen
    (line,) = errors(caplog)
    assert words in line and line.endswith("; vLLM Ascend runs without it")
    with pytest.raises(ValueError, match=re.escape(words)):  # to Python it says so at once
        PrefetchConfig.from_additional_config({"ascend_prefetch": settings})


def test_a_configuration_made_before_the_plugin_is_looked_at_when_layers_are_built(site, caplog):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    configure({"ascend_prefetch": {"enable": True}})
    plugin.register()
    for _ in range(2):
        assert backend().get_impl_cls() is backend().chosen
    (line,) = errors(caplog)
    assert "unknown key 'enable'" in line


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_keys_that_contradict_each_other_are_one_line(site, caplog):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    config = configure({**ON, "weight_prefetch_config": {"enabled": False}})
    assert config.additional_config["ascend_prefetch"] == {"enabled": False}
    (line,) = errors(caplog)
    assert "contradict each other: enabled is True and False" in line


def test_the_environment_does_what_the_key_does(site, caplog, monkeypatch):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    monkeypatch.setenv(ENVIRONMENT, json.dumps({"enabled": True, "o_proj": False}))
    plugin.register()
    config = configure({"known": 1})
    assert config.additional_config == {
        "known": 1,
        "ascend_prefetch": {"enabled": True, "o_proj": False},
    }
    assert backend().get_impl_cls().settings == PrefetchConfig(enabled=True, o_proj=False)
    assert errors(caplog) == []


def test_the_environment_counts_where_vllm_has_no_such_configuration(site, monkeypatch):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    configure(None)
    monkeypatch.setenv(ENVIRONMENT, '{"enabled": true}')
    plugin.register()
    assert backend().get_impl_cls() is not backend().chosen


@pytest.mark.parametrize(
    "text, words",
    [
        ('{"enabled": false}', "enabled is True and False"),
        ("{", f"{ENVIRONMENT}: expected JSON, got: Expecting property name"),
        ('{"enable": true}', f"{ENVIRONMENT}: ascend_prefetch: unknown key 'enable'"),
    ],
)
def test_the_key_wins_over_the_environment(site, caplog, monkeypatch, text, words):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    monkeypatch.setenv(ENVIRONMENT, text)
    plugin.register()
    for _ in range(2):
        assert configure(ON).additional_config == ON
    (line,) = lines(caplog)
    assert "contradict each other, the former counts: " in line and words in line
    assert backend().get_impl_cls() is not backend().chosen


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"enable": true}', '{"enabled": true, "enabled": true}', "\udcff"]
)
def test_a_broken_environment_is_one_line(site, caplog, monkeypatch, text):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    monkeypatch.setenv(ENVIRONMENT, text)
    plugin.register()
    for _ in range(2):
        configure(None)
        assert backend().get_impl_cls() is backend().chosen
    (line,) = errors(caplog)
    assert ENVIRONMENT in line


# --- names and signatures ---


def test_a_module_that_has_moved_is_one_line(site, caplog):
    site(vllm="0.26.0", vllm_ascend="0.26.0rc1")
    root = importlib.import_module("vllm_ascend").__path__[0]
    Path(root, "memcache_comm_fence.py").unlink()
    plugin.register()
    configure(ON)
    for _ in range(2):
        for family in ("mla", "sfa"):
            assert backend(family).get_impl_cls() is backend(family).chosen
    assert errors(caplog) == [
        "ascend_prefetch stays off: looked for "
        "vllm_ascend.memcache_comm_fence.record_attention_compute_start(), found "
        "ModuleNotFoundError: No module named 'vllm_ascend.memcache_comm_fence', unlike "
        "vllm-ascend 0.26.0rc1; vLLM Ascend runs without it"
    ]


@pytest.mark.parametrize(
    "family, pattern, replacement, found",
    [
        ("mla", ", need_gather_q_kv=False", "", "forward(self, layer_name, hidden_states, "),
        ("mla", "def _forward_decode.*: pass", "def _forward_decode(self): pass", "(self),"),
        ("mla", "seq_lens_list", "lengths", "with seq_lens_list, found it without"),
        ("sfa", ", topk_indices, a", ", a", "_execute_sparse_flash_attention_process(self, "),
        ("sfa", "_compose_sfa_kv_cache", "_compose", "AttributeError: "),
    ],
)
def test_a_changed_signature_is_one_line(site, caplog, family, pattern, replacement, found):
    site(vllm="0.26.0", vllm_ascend="0.26.0rc1")
    rewrite(f"vllm_ascend.attention.{family}_v1", pattern, replacement)
    plugin.register()
    configure(ON)
    for _ in range(2):
        assert backend(family).get_impl_cls() is backend(family).chosen
    (line,) = errors(caplog)
    assert line.startswith(
        f"ascend_prefetch stays off: looked for vllm_ascend.attention.{family}_v1.Ascend"
    )
    assert found in line and line.endswith(
        ", unlike vllm-ascend 0.26.0rc1; vLLM Ascend runs without it"
    )
    other = "sfa" if family == "mla" else "mla"
    assert backend(other).get_impl_cls() is not backend(other).chosen


def test_what_it_was_written_for_is_said_at_installation(site, caplog):
    caplog.set_level(logging.INFO)
    site(vllm="0.23.0", vllm_ascend="0.23.0.post1")
    plugin.register()
    configure(ON)
    for _ in range(2):
        backend().get_impl_cls()
    (line,) = lines(caplog)
    assert line.startswith(
        "ascend_prefetch: AscendMLAImpl runs the fused ops, written for vllm-ascend 0.23.0, "
        "0.23.0.post1: forward(self, layer_name, hidden_states, kv_cache, attn_metadata, "
        "need_gather_q_kv=False, output=None), _forward_decode(self, q_nope, "
    )


def test_a_class_that_is_asked_for_otherwise_is_upstream_s(site, caplog):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    rewrite("vllm_ascend.attention.mla_v1", "lambda: Asc", "lambda **kind: Asc")
    plugin.register()
    configure(ON)
    assert backend().get_impl_cls(kind="draft") is backend().chosen
    assert errors(caplog) == [
        "ascend_prefetch stays off: AscendMLABackend.get_impl_cls: unknown argument kind; vLLM "
        "Ascend runs without it"
    ]


@pytest.mark.parametrize(
    "pattern, replacement, found",
    [
        (", max_size=0", ", max_size=0, offset=0", "(self, inputs, dependency, max_size=0, offset"),
        ("maybe_prefetch_moe_weight_pre", "maybe_fetch_moe_weight_pre", "which is not known"),
        ("weight_prefetch_config", "config", "found WeightPrefetchMethod(self, config)"),
        ("'down'", "'down_proj'", "MLP_DOWN = 'down', found 'down_proj'"),
    ],
)
def test_a_changed_policy_is_upstream_s(site, caplog, pattern, replacement, found):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    rewrite("vllm_ascend.ops.weight_prefetch", pattern, replacement)
    plugin.register()
    configure(ON)
    module = importlib.import_module("vllm_ascend.ops.weight_prefetch")
    policy = module.WeightPrefetchMethod("theirs")
    assert not isinstance(policy, WeightPrefetchMethod) and policy.config in ("theirs", None)
    (line,) = errors(caplog)
    assert found in line


def test_the_policy_of_an_unknown_release_is_its_own(site, caplog):
    site(vllm="0.23.0", vllm_ascend="0.99.0")
    plugin.register()
    configure(ON)
    module = importlib.import_module("vllm_ascend.ops.weight_prefetch")
    assert module.WeightPrefetchMethod("theirs").config == "theirs"
    assert lines(caplog, logging.WARNING) == []


def test_seams_import_nothing_but_what_is_checked_before():
    names = {
        (expected.module, expected.name.split(".")[0])
        for release in seams.RELEASES.values()
        for expected in (*release.names, *release.dense, *release.sparse, *release.policy)
    } | {(expected.module, expected.name) for expected in seams.releases.WINDOWS}
    for path in Path(seams.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vllm"):
                assert {(node.module, alias.name) for alias in node.names} <= names, path.name


def test_differences_are_told():
    here = __name__
    assert difference(Expected(here, "errors", "(caplog)")) is None
    assert difference(Expected(here, "errors", "(log)")) == (
        f"looked for {here}.errors(log), found errors(caplog)"
    )
    assert difference(Expected(here, "absent")).startswith(
        f"looked for {here}.absent, found AttributeError: "
    )
    assert difference(Expected(here, "ON", "()")).startswith(
        f"looked for {here}.ON(), found ON without a signature"
    )
    assert difference(Expected(here, "absent", absent=True)) is None
    assert difference(Expected(here, "errors", absent=True)) == (
        f"looked for a release without {here}.errors, found it"
    )


# --- releases ---


@pytest.mark.parametrize("version", ["0.1.dev100+g0123456", "0.26.1.dev3+gabc", "0.23.0+patched"])
@pytest.mark.parametrize("release", RELEASES)
def test_a_source_build_is_told_by_its_modules(site, tmp_path, release, version):
    site(vllm="0.1.dev7", vllm_ascend=release)
    next(tmp_path.glob("vllm_ascend-*.dist-info/METADATA")).write_text(
        f"Metadata-Version: 2.1\nName: vllm-ascend\nVersion: {version}\n"
    )
    plugin.register()
    configure(ON)
    assert plugin._seam().name == release


def test_a_source_build_without_modules_is_told_by_vllm(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    plugin._seam.cache_clear()
    describe(tmp_path, "vllm", "0.23.0")
    describe(tmp_path, "vllm_ascend", "0.1.dev100+g0123456")
    assert plugin._seam().name == "0.23"
    plugin._seam.cache_clear()


@pytest.mark.parametrize(
    "version, vllm, nearest",
    [
        ("0.1.dev100+g0123456", "0.26.0", "0.26.0rc1"),
        ("0.31.0", "0.31.0", "0.30.0rc2"),
        ("0.27.1rc1", "0.27.1", "0.27.1rc1"),
    ],
)
def test_a_release_like_none_is_held_against_the_nearest(
    site, tmp_path, caplog, version, vllm, nearest
):
    """One line says what differs; attention that does not differ runs all the same."""
    site(vllm=vllm, vllm_ascend=nearest)
    rewrite("vllm_ascend.attention.mla_v1", "layer_name, hidden_states, kv", "hidden_states, kv")
    next(tmp_path.glob("vllm_ascend-*.dist-info/METADATA")).write_text(
        f"Metadata-Version: 2.1\nName: vllm-ascend\nVersion: {version}\n"
    )
    plugin.register()
    configure(ON)
    for _ in range(2):
        assert backend().get_impl_cls() is backend().chosen
        assert backend("sfa").get_impl_cls() is not backend("sfa").chosen
    (line,) = errors(caplog)
    assert line.startswith(
        "ascend_prefetch stays off: looked for vllm_ascend.attention.mla_v1.AscendMLAImpl.forward("
        "self, layer_name, "
    )
    assert f", unlike vllm-ascend {nearest}; " in line


@pytest.mark.parametrize("release", ["0.23", "0.26"])
def test_the_setting_says_which_release_it_is(site, caplog, release):
    caplog.set_level(logging.INFO)
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    configure({"ascend_prefetch": {"enabled": True, "release": release}})
    found = backend("sfa").get_impl_cls()
    assert lines(caplog)[0] == f"ascend_prefetch: vllm-ascend 0.23.0 is taken for {release}, as set"
    assert (found is backend("sfa").chosen) == (release == "0.26")  # whose names are not there
    assert len(errors(caplog)) == (release == "0.26")


def test_a_release_that_is_set_and_not_known_is_one_line(site, caplog):
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    plugin.register()
    configure({"ascend_prefetch": {"enabled": True, "release": "0.99"}})
    assert backend().get_impl_cls() is backend().chosen
    assert errors(caplog) == [
        f"ascend_prefetch stays off: release: expected one of {', '.join(RELEASES)}, got '0.99'; "
        "vLLM Ascend runs without it"
    ]


# --- layers ---


def made_layer(seam):
    config = PrefetchConfig(enabled=True)
    made = patch.fused_class(up.AscendMLAImpl, "mla", config, seam)(layer_name=NAME)
    made.process_weights_after_loading(torch.bfloat16)
    return made


@pytest.fixture
def layer(fresh_plugin, seam):
    return made_layer(seam)


@pytest.mark.parametrize("gathers", [True, False])
def test_an_unknown_argument_of_forward_is_named_and_the_step_is_upstream_s(
    fresh_plugin, seam, monkeypatch, caplog, gathers
):
    seam.gathers_rows = gathers
    layer = made_layer(seam)
    given = {}

    def forward(self, *args, **kwargs):
        given.update(args=args, kwargs=kwargs)
        return args[-2]

    monkeypatch.setattr(up.AscendMLAImpl, "forward", forward)
    arguments = (NAME, torch.zeros(3, up.HIDDEN), up.new_caches(), up.decode_metadata(3))
    output = torch.zeros(3, up.HIDDEN)
    for _ in range(2):
        layer.forward(*arguments, *[False] * gathers, output, "more", dcp=2)
    assert given["args"][4:] == (*[False] * gathers, output, "more")
    assert given["kwargs"] == {"dcp": 2}
    assert errors(caplog) == [
        "ascend_prefetch: vLLM Ascend's own path is taken: mla: forward was given the unknown "
        f"argument number {7 if gathers else 6}, dcp"
    ]


def test_a_layer_without_a_name_says_so(caplog):
    with up.fresh_plugin():
        made = patch.fused_class(up.AscendMLAImpl, "mla", PrefetchConfig(), up.StandInSeam())
        made()
    assert errors(caplog) == [
        "ascend_prefetch: nothing is prefetched: attention is built without the argument layer_name"
    ]


def test_a_flag_that_is_gone_sends_the_layer_upstream(site, layer, monkeypatch, caplog):
    """Taken for false, int8 caches would be written as bfloat16."""
    site(vllm="0.23.0", vllm_ascend="0.23.0")
    seam = seams.RELEASES["0.23"].load()
    monkeypatch.setattr(type(layer), "family", DenseAttention(seam))
    monkeypatch.delattr(up.AscendMLAImpl, "fa_quant_layer")
    layer.fused_weights.read(layer)
    arguments = layer.fused_weights.arguments
    assert arguments.prolog is None and arguments.output is None
    assert errors(caplog) == [
        "ascend_prefetch: vLLM Ascend's own path is taken: FusedAscendMLAImpl has no fa_quant_layer"
    ]


@pytest.mark.parametrize("name", ["bias", "quant_method", "input_is_parallel", "tp_size"])
def test_an_attribute_of_a_linear_layer_that_is_gone_is_named(layer, name, caplog):
    owner = layer.o_proj
    del vars(owner)[name]
    with pytest.raises(UpstreamChanged, match=f"^o_proj has no {name}$"):
        _read_output(layer)


def test_a_layer_of_vllm_ascend_has_a_custom_op():
    renamed = type("AscendLinear", (up.Linear,), {"__module__": "vllm_ascend.ops.linear"})
    linear = renamed(128, 192, 1)
    read_linear("x", linear, Watch())
    del linear.custom_op
    with pytest.raises(UpstreamChanged, match="^x has no custom_op$"):
        read_linear("x", linear, Watch())


# --- what passes through L2 ---


HIDDEN, INNER = 64, 32


def text_config(**more):
    values = dict(hidden_size=HIDDEN, intermediate_size=256, n_shared_experts=1)
    return up.SimpleNamespace(**values, num_experts_per_tok=2, **more)


def vllm_config(text, experts=None, description=None):
    return up.SimpleNamespace(
        model_config=up.SimpleNamespace(hf_config=text, dtype=torch.bfloat16),
        quant_config=description and up.SimpleNamespace(quant_description=description),
        parallel_config=up.SimpleNamespace(tensor_parallel_size=1, data_parallel_size=2),
        compilation_config=up.SimpleNamespace(
            static_forward_context={"model.layers.0.mlp.experts": experts} if experts else {}
        ),
    )


def shared_experts():
    return torch.nn.Linear(HIDDEN, 3 * INNER, bias=False, dtype=torch.bfloat16)


def gate():
    return up.SimpleNamespace(weight=torch.zeros(8, HIDDEN), weight_fp32=torch.zeros(8, HIDDEN))


def routed_experts(**weights):
    weights = weights or dict(w13_weight=torch.zeros(8, 64), w2_weight=torch.zeros(8, 32))
    return up.SimpleNamespace(**weights, _shared_experts=shared_experts(), _gate=gate())


ALWAYS = 3 * HIDDEN * INNER * 2 + 8 * HIDDEN * 4  # shared experts and the gate


@pytest.mark.parametrize("runner", [False, True])
def test_experts_are_found_on_the_layer_and_on_a_runner(runner):
    found = routed_experts()
    if runner:
        weights = up.SimpleNamespace(w13_weight=found.w13_weight, w2_weight=found.w2_weight)
        shared = up.SimpleNamespace(_layer=shared_experts())
        found = up.SimpleNamespace(routed_experts=weights, _shared_experts=shared, _gate=gate())
    passes = FeedForward(vllm_config(text_config(), found), place_of(NAME))
    assert (passes.experts, passes.expert, passes.chosen) == (8, 96 * 4, 4)
    assert passes.bytes(3) == ALWAYS + 8 * 96 * 4


def test_experts_in_lists():
    """Load balancing makes a list of an expert each and deletes the tensors."""
    lists = dict(w13_weight_list=[torch.zeros(64)] * 5, w2_weight_list=[torch.zeros(32)] * 5)
    passes = FeedForward(vllm_config(text_config(), routed_experts(**lists)), place_of(NAME))
    assert (passes.experts, passes.expert, passes.dense) == (5, 96 * 4, ALWAYS)
    mega = {f"cann_mega_moe_{name}": weights for name, weights in lists.items()}
    small = dict(w13_weight=torch.zeros(5, 8), w2_weight=torch.zeros(5, 8))
    passes = FeedForward(
        vllm_config(text_config(), routed_experts(**mega, **small)), place_of(NAME)
    )
    assert (passes.experts, passes.expert) == (5, 96 * 4)  # of the two forms the larger
    few = dict(lists, w2_weight_list=[torch.zeros(32)] * 4)
    with pytest.raises(UpstreamChanged, match=r"has \[4, 5\] experts"):
        FeedForward(vllm_config(text_config(), routed_experts(**few)), place_of(NAME))


def test_a_gate_that_the_model_runs():
    found = routed_experts()
    found._gate = None
    text = text_config(n_routed_experts=8)
    assert FeedForward(vllm_config(text, found), place_of(NAME)).dense == ALWAYS
    with pytest.raises(UpstreamChanged, match="has no n_routed_experts"):
        FeedForward(vllm_config(text_config(), found), place_of(NAME))


@pytest.mark.parametrize("name", ["hidden_size", "intermediate_size"])
def test_sizes_of_a_dense_layer_that_cannot_be_read_are_no_zero(name):
    text = text_config()
    vars(text).pop(name)
    with pytest.raises(UpstreamChanged, match=f"SimpleNamespace has no {name}"):
        FeedForward(vllm_config(text), place_of(NAME))


@pytest.mark.parametrize("name", ["num_experts_per_tok", "n_shared_experts"])
def test_numbers_of_experts_that_cannot_be_read_are_no_zero(name):
    text = text_config()
    vars(text).pop(name)
    with pytest.raises(UpstreamChanged, match=f"has no {name}"):
        FeedForward(vllm_config(text, routed_experts()), place_of(NAME))


def test_shared_experts_that_are_not_found_are_no_zero():
    found = routed_experts()
    del found._shared_experts
    with pytest.raises(UpstreamChanged, match="has no _shared_experts"):
        FeedForward(vllm_config(text_config(), found), place_of(NAME))
    found._shared_experts = None  # placed among the routed ones
    passes = FeedForward(vllm_config(text_config(), found), place_of(NAME))
    assert passes.dense == 8 * HIDDEN * 4


def test_experts_whose_weights_are_gone_are_no_dense_layer():
    found = up.SimpleNamespace(_shared_experts=None, _gate=gate())
    with pytest.raises(UpstreamChanged, match="has no w13_weight"):
        FeedForward(vllm_config(text_config(), found), place_of(NAME))


def test_a_layer_that_should_have_experts_is_no_dense_layer():
    text = text_config(n_routed_experts=8, first_k_dense_replace=1)
    FeedForward(vllm_config(text), place_of(NAME))
    text.first_k_dense_replace = 0
    with pytest.raises(UpstreamChanged, match="layer 0 of model has no experts"):
        FeedForward(vllm_config(text), place_of(NAME))


@pytest.mark.parametrize(
    ("kind", "itemsize"), [("W8A8", 1), ("W4A8_DYNAMIC", 1), ("FLOAT", 2), (None, 2)]
)
def test_a_dense_layer_is_as_large_as_its_checkpoint_says(kind, itemsize):
    names = (f"model.layers.0.mlp.{part}_proj.weight" for part in ("gate", "up", "down"))
    config = vllm_config(text_config(), description=dict.fromkeys(names, kind))
    assert FeedForward(config, place_of(NAME)).dense == 3 * HIDDEN * 256 * itemsize


def test_a_weight_that_a_site_does_not_find_is_said():
    said = []
    step = object()
    layers = [torch.nn.Module()]
    from ascend_prefetch.policy import StepContext

    policy = WeightPrefetchMethod(
        PrefetchConfig(enabled=True),
        is_moe=False,
        context=lambda: StepContext(step, 4, layers, 0),
        notice=said.append,
    )
    x = torch.zeros(4, 8)
    policy.maybe_prefetch_mlp_weight_preprocess("gate_up", x, "model.layers.0.self_attn.o_proj")
    policy.maybe_prefetch_mlp_weight_preprocess("down", x)
    assert said == ["Module has no mlp.gate_up_proj.weight", "Module has no mlp.down_proj.weight"]


def test_a_replicated_layer_adds_its_bias_on_every_rank():
    from test_vllm_weights import static_layer

    linear = static_layer()
    del linear.input_size_per_partition  # as vLLM's ReplicatedLinear
    linear.tp_rank = 1
    assert read_linear("wq_b", linear, Watch()).options["quant_bias"] is not None
