"""The settings: defaults, the old key, and one line for everything that is wrong."""

import contextlib
import copy
import dataclasses
import io
import pickle
import re
import warnings
from pathlib import Path

import pytest

from ascend_prefetch.policy import PrefetchConfig

DEFAULTS = {
    "attn": {"qkv": 1.0, "o": 1.0},
    "moe": {"gate_up": 0.8},
    "mlp": {"gate_up": 1.0, "down": 1.0},
}


def read(settings):
    return PrefetchConfig.from_additional_config({"ascend_prefetch": settings})


@pytest.mark.parametrize("additional_config", [None, {}, {"another": 1}, {"ascend_prefetch": {}}])
def test_defaults(additional_config):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = PrefetchConfig.from_additional_config(additional_config)
    assert config == PrefetchConfig()
    assert config.enabled is False
    assert (config.prolog, config.o_proj, config.next_layer) == (True, True, True)
    assert config.prefetch_ratio == DEFAULTS


def test_everything_set():
    ratios = {
        "attn": {"qkv": 0.5, "o": 0},
        "moe": {"gate_up": 1},
        "mlp": {"gate_up": 0.25, "down": 0.75},
    }
    settings = {"enabled": True, "prefetch_ratio": ratios}
    settings |= {"prolog": False, "o_proj": False, "next_layer": False, "captured_kv_len": 9}
    config = read(settings)
    assert config.captured_kv_len == 9
    assert config.enabled is True
    assert (config.prolog, config.o_proj, config.next_layer) == (False, False, False)
    assert config.prefetch_ratio == ratios


@pytest.mark.parametrize("module", ["attn", "moe", "mlp"])
def test_missing_or_empty_module_has_its_default(module):
    given = {name: dict.fromkeys(ratios, 0.5) for name, ratios in DEFAULTS.items()}
    without = {name: ratios for name, ratios in given.items() if name != module}
    expected = {**given, module: DEFAULTS[module]}
    assert read({"prefetch_ratio": without}).prefetch_ratio == expected
    assert read({"prefetch_ratio": {**given, module: {}}}).prefetch_ratio == expected


def test_missing_weight_has_its_default():
    ratios = read({"prefetch_ratio": {"mlp": {"gate_up": 0}}}).prefetch_ratio
    assert ratios["mlp"] == {"gate_up": 0.0, "down": 1.0}


def test_cannot_be_changed_and_shares_nothing():
    given = {"attn": {"qkv": 0.5}}
    config = read({"prefetch_ratio": given})
    given["attn"]["qkv"] = 0.1
    assert config.prefetch_ratio["attn"]["qkv"] == 0.5
    assert PrefetchConfig().prefetch_ratio == DEFAULTS
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.enabled = True


def test_goes_to_other_processes():
    config = read({"enabled": True, "prefetch_ratio": {"attn": {"o": 0.5}}})
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config


# --- the old key ---


def test_old_key():
    old = {"enabled": True, "prefetch_ratio": {"moe": {"gate_up": 0.5}}}
    message = "'weight_prefetch_config' is deprecated, use 'ascend_prefetch' with the same content"
    with pytest.warns(DeprecationWarning, match=message):
        config = PrefetchConfig.from_additional_config({"weight_prefetch_config": old})
    assert config == read(old)


def test_both_keys_that_agree():
    old = {"enabled": True}
    new = {"enabled": True, "prefetch_ratio": DEFAULTS, "next_layer": False}
    with pytest.warns(DeprecationWarning):
        config = PrefetchConfig.from_additional_config(
            {"weight_prefetch_config": old, "ascend_prefetch": new}
        )
    assert config == read(new)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ({"enabled": True}, {}, "enabled is False and True"),
        ({}, {"enabled": True}, "enabled is True and False"),
        (
            {"prefetch_ratio": {"moe": {"gate_up": 0.5}}},
            {},
            "prefetch_ratio.moe.gate_up is 0.8 and 0.5",
        ),
    ],
)
def test_both_keys_that_contradict(old, new, what):
    with pytest.raises(ValueError) as raised:
        PrefetchConfig.from_additional_config(
            {"weight_prefetch_config": old, "ascend_prefetch": new}
        )
    assert str(raised.value) == (
        "additional_config: 'ascend_prefetch' and 'weight_prefetch_config' contradict each other: "
        f"{what}; keep 'ascend_prefetch' only"
    )


# --- errors ---


def refuses(additional_config, message):
    with pytest.raises(ValueError) as raised:
        PrefetchConfig.from_additional_config(additional_config)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"enable": True},
            "ascend_prefetch: unknown key 'enable', expected one of enabled, prolog, o_proj, "
            "next_layer, windows, ab, prefetch_ratio, captured_kv_len, release, window_lengths",
        ),
        (
            {"windows": "no"},
            "ascend_prefetch.windows: expected true or false, got 'no'",
        ),
        (
            {"window_lengths": 3},
            "ascend_prefetch.window_lengths: expected the path of a file, got 3",
        ),
        (
            {"release": "0.23.0"},
            "ascend_prefetch.release: expected major and minor such as \"0.23\", got '0.23.0'",
        ),
        (
            {"release": 0.23},
            'ascend_prefetch.release: expected major and minor such as "0.23", got 0.23',
        ),
        (
            {"captured_kv_len": 0},
            "ascend_prefetch.captured_kv_len: expected a whole number from 1 to 1073741824, got 0",
        ),
        (
            {"captured_kv_len": 2**64},
            f"ascend_prefetch.captured_kv_len: expected a whole number from 1 to {2**30}, "
            "got 18446744073709551616",
        ),
        (
            {"captured_kv_len": True},
            f"ascend_prefetch.captured_kv_len: expected a whole number from 1 to {2**30}, got True",
        ),
        (
            {"prefetch_ratio": {"ffn": {}}},
            "ascend_prefetch.prefetch_ratio: unknown key 'ffn', expected one of attn, moe, mlp",
        ),
        (
            {"prefetch_ratio": {"attn": {"q_b": 1.0}}},
            "ascend_prefetch.prefetch_ratio.attn: unknown key 'q_b', expected one of qkv, o",
        ),
        ({"enabled": "true"}, "ascend_prefetch.enabled: expected true or false, got 'true'"),
        ({"o_proj": 1}, "ascend_prefetch.o_proj: expected true or false, got 1"),
        ([], "ascend_prefetch: expected a dict, got list []"),
        (None, "ascend_prefetch: expected a dict, got NoneType None"),
        (
            {"prefetch_ratio": 0.5},
            "ascend_prefetch.prefetch_ratio: expected a dict, got float 0.5",
        ),
        (
            {"prefetch_ratio": {"moe": 0.5}},
            "ascend_prefetch.prefetch_ratio.moe: expected a dict, got float 0.5",
        ),
    ],
)
def test_errors(settings, message):
    refuses({"ascend_prefetch": settings}, message)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (-0.001, "-0.001"),
        (1.001, "1.001"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (10**400, "1" + "0" * 79 + "...0"),
        pytest.param(10**5000, "a number of thousands of digits", id="5001 digits"),
        ("0.5", "'0.5'"),
        (True, "True"),
        (None, "None"),
    ],
)
@pytest.mark.parametrize("key", ["ascend_prefetch", "weight_prefetch_config"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ratio_out_of_range(key, ratio, text):
    settings = {"prefetch_ratio": {"mlp": {"down": ratio}}}
    message = f"{key}.prefetch_ratio.mlp.down: expected a number from 0 to 1, got {text}"
    refuses({key: settings}, message)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_old_key_knows_no_switches():
    message = (
        "weight_prefetch_config: unknown key 'next_layer', expected one of enabled, prefetch_ratio"
    )
    refuses({"weight_prefetch_config": {"next_layer": True}}, message)


def test_additional_config_is_no_dict():
    refuses("{}", "additional_config: expected a dict, got str '{}'")


def test_made_directly():
    message = "ascend_prefetch.prefetch_ratio.attn.qkv: expected a number from 0 to 1, got 2"
    with pytest.raises(ValueError, match=message):
        PrefetchConfig(prefetch_ratio={"attn": {"qkv": 2}})
    with pytest.raises(ValueError, match="ascend_prefetch.enabled: expected true or false, got 1"):
        PrefetchConfig(enabled=1)


# --- docs/policy.md ---


def test_the_table_of_settings_is_complete():
    text = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([\w.]+) \|", text, re.MULTILINE))
    config = PrefetchConfig()
    names = [field.name for field in dataclasses.fields(config) if field.name != "prefetch_ratio"]
    expected = {name: str(getattr(config, name)).lower() for name in names}
    for module, ratios in config.prefetch_ratio.items():
        expected |= {f"prefetch_ratio.{module}.{name}": str(r) for name, r in ratios.items()}
    assert rows == expected


def test_the_example_prints_what_the_page_says():
    text = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    code, output = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == output
