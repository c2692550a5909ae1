"""demo: a layer's attention part as one sequence, checked, and what its prefetches saved."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ascend_prefetch.lab import cli, reference
from ascend_prefetch.lab.bench import BenchConfig
from ascend_prefetch.lab.bench.cached_requests import cached_requests
from ascend_prefetch.lab.bench.layer import LayerConfig, model_layer
from ascend_prefetch.lab.bench.layer_run import PREFETCHED, run_layer
from ascend_prefetch.lab.cli import demo
from ascend_prefetch.lab.timing import LEVELS
from ascend_prefetch.lab.timing.sequence import CmoPrefetch, Reader, TracedKernel, account_prefetch
from ascend_prefetch.models import get_model
from mla_cases import SEED

ROOT = Path(__file__).resolve().parents[2]
SMALL = LayerConfig("deepseek-v2-lite", tp=8, batch=3, kv_len=130)
ARGUMENTS = ["--model", "deepseek-v2-lite", "--tp", "8", "--batch", "3", "--kv-len", "130"]


def run(path, *arguments):
    return cli.main(["demo", *ARGUMENTS, "--out", str(path), *arguments])


@pytest.fixture(scope="module")
def small():
    return run_layer(SMALL)


def test_the_account_adds_up_and_is_what_the_planner_asked_for(small):
    account = small.account()
    assert account["landed"] == sum(
        decision.bytes for plan in small.plans for decision in plan.decisions
    )
    assert account["planned"] == account["landed"] > 0
    assert account["pending"] == account["unused"] == account["duplicated"] == 0


def test_what_landed_is_not_read_from_hbm_again(small):
    """The timing model counts hits line by line, and apart from the account."""
    with_it = small.result()["kernels"]
    without = run_layer(SMALL, prefetch=False).result()["kernels"]
    assert [row["kernel"] for row in with_it] == ["mla_prolog_bf16", "attention", "o_proj_bf16"]
    landed = small.account()["landed"]
    assert without[2]["hbm_read"] - with_it[2]["hbm_read"] == landed
    assert with_it[2]["l2_hit"] - without[2]["l2_hit"] == landed
    assert with_it[0]["hbm_read"] - without[0]["hbm_read"] == landed


def test_saved_is_the_difference_of_the_two_sequences(small):
    result = small.result()
    modelled, kernels = result["modelled_us"], result["kernels"]
    for level in LEVELS:
        saved = modelled["fused_no_prefetch"][level] - modelled["in_kernel"][level]
        assert result["saved_us"][level] == saved
        for form in ("in_kernel", "fused_no_prefetch"):
            parts = sum(row[f"{form}_us"][level] for row in kernels)
            assert modelled[form][level] == pytest.approx(parts)
    assert modelled["in_kernel"]["nominal"] == small.timeline("nominal").end


@pytest.mark.parametrize(
    "config",
    [SMALL, LayerConfig("deepseek-v3", tp=16, batch=16, kv_len=1024)],
    ids=lambda config: config.model,
)
def test_times_are_those_of_layer(config):
    """layer has the second of two layers, where L2 holds what the first one left."""
    ran, modelled = run_layer(config).result(), model_layer(config)
    for level in LEVELS:
        for form in ("in_kernel", "fused_no_prefetch"):
            expected = modelled["modelled_us"][form][level]
            assert ran["modelled_us"][form][level] == pytest.approx(expected, rel=5e-3)
        expected = modelled["prefetch"]["in_kernel"]["saved_us"][level]
        assert ran["saved_us"][level] == pytest.approx(expected, abs=0.05)


def test_the_next_prolog_follows_where_o_proj_prefetches_for_it():
    config = LayerConfig(
        "deepseek-v3", tp=16, batch=2, kv_len=100, quant="w8a8", weights="nz", moe_bytes=1 << 20
    )
    ran = run_layer(config)
    assert all(check["ok"] for check in ran.checks.values())
    names = [row["kernel"] for row in ran.result()["kernels"]]
    assert names == [
        "mla_prolog_bf16_w8a8",
        "attention",
        "o_proj_bf16_w8a8",
        "experts",
        "mla_prolog_bf16_w8a8",
    ]
    for_o_proj, for_qkv_a = (
        sum(decision.bytes for decision in plan.decisions) for plan in ran.plans
    )
    assert for_o_proj > 0 and for_qkv_a > 0
    assert ran.account()["landed"] == for_o_proj + for_qkv_a
    # Without it the bytes for it are pending.
    ends_with_o_proj = account_prefetch(ran.steps[:3], PREFETCHED)
    assert ends_with_o_proj["landed"] == for_o_proj
    assert ends_with_o_proj["pending"] == for_qkv_a


def test_what_passes_between_two_kernels_evicts_what_was_prefetched(small):
    prolog, _, o_proj = small.steps
    assert isinstance(prolog, TracedKernel)
    planned = small.account()["planned"]
    for passing, landed in ((100 << 20, planned), (200 << 20, 0)):
        steps = [prolog, Reader("somebody", 1 << 50, passing), o_proj]
        account = account_prefetch(steps, PREFETCHED)
        assert account["planned"] == planned
        assert account["landed"] == landed
        assert account["unused"] == planned - landed


def test_no_trace_orders_the_copy_engine(small):
    steps = [*small.steps, CmoPrefetch(1 << 40, 4096)]
    with pytest.raises(ValueError, match="expected kernels and readers, got a CmoPrefetch"):
        account_prefetch(steps, PREFETCHED)
    with pytest.raises(ValueError, match="account_prefetch: expected the trace of a launch"):
        account_prefetch([Reader("somebody", 1 << 50, 4096)], PREFETCHED)


def test_sparse_attention_reads_what_its_indexer_selects():
    config = LayerConfig("deepseek-v3.2", tp=64, batch=2, kv_len=2200)
    ran = run_layer(config)
    assert all(check["ok"] for check in ran.checks.values())
    assert set(ran.checks) == {"sfa_prolog", "o_proj"}
    names = [row["kernel"] for row in ran.result()["kernels"]]
    assert names[:4] == ["sfa_prolog_bf16", "indexer", "attention", "o_proj_bf16"]


def test_attention_is_softmax_over_the_rows_of_each_request():
    generator = torch.Generator().manual_seed(SEED)
    dims = get_model("deepseek-v2-lite")
    requests = cached_requests(BenchConfig("deepseek-v2-lite", tp=8, tokens=3), dims, 257)
    caches = [requests.inputs.kv_cache, requests.inputs.rope_cache]
    for cache in caches:
        assert cache.written().isnan().all()
        new = torch.randn(cache.written().shape, generator=generator).to(torch.bfloat16)
        cache.tensor.flatten(0, 2)[cache.slots] = new
        assert cache.others_untouched()
    assert len(set(requests.slots.flatten().tolist())) == 3 * 257
    q_nope = torch.randn((3, 2, dims.kv_lora_rank), generator=generator).to(torch.bfloat16)
    q_rope = torch.randn((3, 2, 64), generator=generator).to(torch.bfloat16)
    output = requests.attention(q_nope, q_rope)
    keys = torch.cat([cache.tensor.flatten(0, 2)[requests.slots] for cache in caches], dim=-1)
    expected = F.scaled_dot_product_attention(
        torch.cat([q_nope, q_rope], dim=-1).double(),
        keys.double(),
        keys[..., : dims.kv_lora_rank].double(),
        scale=192**-0.5,
    )
    assert output.dtype == torch.bfloat16
    assert reference.relative_error(output, expected) < 4e-3
    caches[0].tensor.flatten(0, 2)[requests.slots[1, 5]] += 1
    assert not caches[0].others_untouched()


def test_select_top_k():
    generator = torch.Generator().manual_seed(SEED)
    q, weights, keys = (
        torch.randn(shape, generator=generator) for shape in ((2, 3, 8), (2, 3), (7, 8))
    )
    selected = reference.select_top_k(q, weights, keys, 4)
    for token in range(2):
        scores = []
        for row in keys.double():
            heads = zip(weights[token].double(), q[token].double(), strict=True)
            scores.append(sum(float(w) * max(0.0, float(head @ row)) for w, head in heads))
        best = sorted(range(7), key=lambda position: -scores[position])[:4]
        # Scores of which no head sees anything are all 0.
        assert [scores[i] for i in selected[token]] == pytest.approx([scores[i] for i in best])
    assert reference.select_top_k(q, weights, keys, 9).shape == (2, 7)
    with pytest.raises(ValueError, match="weights: expected shape"):
        reference.select_top_k(q, weights[:1], keys, 4)


def test_prints_and_writes_what_it_found(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = tmp_path / "t.json"
    assert run(path, "--json", "-") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["timeline"] == str(path) and result["picture"] is None
    assert list(tmp_path.iterdir()) == [path]
    content = json.loads(path.read_text())
    assert "modelled, not measured" in content["otherData"]["title"]
    kernels = [event for event in content["traceEvents"] if event.get("cat") == "kernel"]
    assert [event["name"] for event in kernels] == [row["kernel"] for row in result["kernels"]]
    prefetched = sum(
        event["args"]["bytes"] for event in content["traceEvents"] if event.get("cat") == "prefetch"
    )
    assert prefetched == result["prefetch"]["planned"]


def test_draws_a_picture_where_it_can(tmp_path, capsys):
    assert run(tmp_path / "t.json") == 0
    printed = capsys.readouterr().out
    assert f"picture: {tmp_path / 't.png'}" in printed
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_fails_where_nothing_lands(tmp_path, capsys):
    assert run(tmp_path / "t.json", "--no-prefetch") == 1
    printed = capsys.readouterr().out
    assert "FAILED: nothing was in L2 when its reader came" in printed
    assert "0.00 MB = landed 0.00 + pending 0.00 + unused 0.00; duplicated 0.00" in printed
    assert "saved 0.00 us (0.00 at the low constants, 0.00 at the high ones)" in printed


def test_fails_where_an_output_is_wrong(small):
    result = small.result()
    assert demo.VERB.passed(result)
    for op in result["check"]:
        wrong = {**result["check"], op: {**result["check"][op], "ok": False}}
        assert not demo.VERB.passed({**result, "check": wrong})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--out", "t.png"], "out: expected a name that ends in .json, got 't.png'"),
        (["--out", "nowhere/t.json"], "out: there is no directory 'nowhere'"),
        (["--moe-bytes", str(2**33)], "moe-bytes: expected 0 to 4294967296 bytes that experts"),
        (["--tp", "3"], "tp: expected a positive divisor of the 128 heads of deepseek-v3, got 3"),
        (["--soc", "Ascend910B4-1"], "HBM"),
    ],
)
def test_refuses_in_one_line(tmp_path, capsys, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ascend_prefetch demo: ") and error.count("\n") == 1
    assert text in error
    assert not list(tmp_path.iterdir())


@pytest.mark.large
def test_readme_shows_what_make_run_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```text\n(mla_prolog.*?)```", readme, re.DOTALL)[1]
    recipe = re.search(
        r"^run: .*\n\t\$\(BIN\)/python -m ascend_prefetch (.*)$",
        (ROOT / "Makefile").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert cli.main(recipe[1].split()) == 0
    # The last digits of errors are those of torch's random numbers on this host.
    digits = re.compile(r"\d\.\d\de-03")
    assert digits.sub("", capsys.readouterr().out) == digits.sub("", shown)
