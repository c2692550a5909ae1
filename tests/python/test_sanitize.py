"""The twin as a sanitizer: the command, its modes, and the page that describes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ascend_prefetch import _lab
from ascend_prefetch.lab import cli, sanitize, twin

ROOT = Path(__file__).resolve().parents[2]
CODES = [code for code, _ in _lab.error_codes()]


@pytest.fixture(scope="module")
def report():
    return sanitize.sanitize_report()


def test_every_check_finds_its_broken_kernel_and_not_the_corrected_one(report):
    assert [check["code"] for check in report["checks"]] == CODES
    for check in report["checks"]:
        assert check["pairs"], check["code"]
        for pair in check["pairs"]:
            assert pair["broken_detected"], (check["code"], pair)
            assert pair["fixed_clean"], (check["code"], pair)
        assert (check["broken_detected"], check["fixed_clean"]) == (True, True)


def test_a_report_names_code_line_and_kernel(report):
    pairs = {pair["name"]: pair for check in report["checks"] for pair in check["pairs"]}
    pair = pairs["a vector instruction reads what a load may not have brought yet"]
    file, line = pair["line"].split(":")
    assert file == "csrc/twin/checks/pipes.cpp"
    assert (ROOT / file).read_text().splitlines()[int(line) - 1].strip() == (
        "Muls(to, ub, 2.0F, kCount);"
    )
    site = f"csrc/twin/checks/pipes.cpp:{line}"
    first, *accesses = pair["report"].splitlines()
    assert first.startswith("twin: pipe-race: Muls on V reads bytes [0, 256) of UB; nothing orders")
    assert first.endswith(f"[kernel pipe-race, AIV 0, {site}]")
    assert accesses[0] == f"  AIV 0, V: Muls at {site} reads bytes [0, 256) of UB"
    assert pair["fixed_report"] == ""
    # It is the example of the page, but for its lines in the source.
    page = (ROOT / "docs" / "sanitizer.md").read_text()
    assert without_lines(pair["report"]) in without_lines(page)


def without_lines(text):
    return re.sub(r"(\.cpp):\d+", r"\1", text)


def test_all_ops_are_clean_in_full_mode(report):
    assert report["unclean_ops"] == {}
    assert report["clean_ops"] == [case.name for case in sanitize.CASES]
    assert {re.match(r"\w+", name)[0] for name in report["clean_ops"]} == {
        "mla_prolog", "sfa_prolog", "o_proj", "prefetch",
    }  # fmt: skip


# --- the command ---

CASES = [case for case in sanitize.CASES if case.name in ("o_proj", "prefetch")]


@pytest.fixture
def few_ops(monkeypatch):
    """The other tests have run them all."""
    monkeypatch.setattr(sanitize.report, "clean_ops", _few_ops)


def _few_ops(progress):
    return sanitize.clean_ops(CASES, progress=progress)


def test_sanitize_prints_the_contract(capsys, few_ops):
    assert cli.main(["sanitize", "--json", "-"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert set(result) == {"checks", "clean_ops", "unclean_ops", "buffers"}
    for check in result["checks"]:
        assert set(check) == {"code", "summary", "broken_detected", "fixed_clean", "pairs"}
    assert result["clean_ops"] == ["o_proj", "prefetch"]
    kernels = result["buffers"]
    assert set(kernels) == {"o_proj_bf16", "prefetch"}
    for buffers in kernels.values():
        assert all(0 <= usage["peak"] <= usage["capacity"] for usage in buffers.values())
        assert buffers["UB"]["capacity"] == 188160
    assert kernels["o_proj_bf16"]["L0C"]["peak"] > 0 == kernels["prefetch"]["L0C"]["peak"]
    assert re.fullmatch(
        r"\[1/2\] o_proj: clean, \d+\.\d s\n\[2/2\] prefetch: clean, \d+\.\d s\n", printed.err
    )


def test_sanitize_prints_a_table(capsys, few_ops):
    assert cli.main(["sanitize"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["code", "kernels", "broken", "corrected"]
    rows = [line.split() for line in lines[1 : 1 + len(CODES)]]
    assert [row[0] for row in rows] == CODES
    assert all(row[2:] == ["detected", "clean"] for row in rows)
    pairs = sum(int(row[1]) for row in rows)
    rest = lines[1 + len(CODES) :]
    assert re.fullmatch(r"peak use of o_proj_bf16: L1 \d+ of 511.75 KiB, .*", rest[2])
    assert re.fullmatch(r"peak use of prefetch: UB \d+ of 183.75 KiB", rest[3])
    assert rest[:2] + rest[4:] == [
        "clean in full mode: o_proj",
        "clean in full mode: prefetch",
        f"{len(CODES)} checks with {pairs} pairs of kernels; 2 runs of ops clean, 0 not",
    ]


PAIR = {
    "code": "deadlock",
    "name": "who waits",
    "line": "a.cpp:3",
    "broken_detected": True,
    "fixed_clean": True,
    "report": "twin: deadlock",
    "fixed_report": "",
}


@pytest.mark.parametrize(
    ("change", "row", "line"),
    [
        ({"broken_detected": False}, "MISSED    clean", "  MISSED: who waits at a.cpp:3: twin: de"),
        (
            {"fixed_clean": False, "fixed_report": "twin: capacity"},
            "detected  REPORTED",
            "  REPORTED: corrected form of: who waits: twin: capacity",
        ),
    ],
)
def test_one_pair_that_is_wrong_fails(capsys, few_ops, monkeypatch, change, row, line):
    good = [PAIR | {"code": code} for code in CODES]
    monkeypatch.setattr(_lab, "run_checks", lambda: [dict(p) for p in [*good, PAIR | change]])
    assert cli.main(["sanitize"]) == 1
    printed = capsys.readouterr().out
    assert re.search(rf"^deadlock +2  {row}$", printed, re.MULTILINE)
    assert line in printed


def test_a_code_without_a_pair_fails(capsys, few_ops, monkeypatch):
    monkeypatch.setattr(_lab, "run_checks", lambda: [PAIR | {"code": code} for code in CODES[1:]])
    assert cli.main(["sanitize"]) == 1
    first = capsys.readouterr().out.splitlines()[1]
    assert first.split() == [CODES[0], "0", "MISSED", "REPORTED"]


def test_an_op_that_is_not_clean_fails(capsys, monkeypatch):
    def run():
        place = ("kernel", "AIV 0", "a.cpp", 3)
        raise twin.TwinError("twin: pipe-race: a\nb", "pipe-race", *place, "a", [], "")

    case = sanitize.SanitizeCase("an op", run, ())
    monkeypatch.setattr(
        sanitize.report, "clean_ops", lambda progress: sanitize.clean_ops([case], progress)
    )
    assert cli.main(["sanitize", "--json", "-"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["clean_ops"] == []
    assert result["unclean_ops"] == {"an op": "twin: pipe-race: a"}


# --- modes ---

MODE_ERROR = "expected off, memory or full, got 'fully'"


@pytest.mark.parametrize("mode", ["off", "memory", "full"])
def test_a_mode_lasts_as_long_as_its_block(mode):
    before = _lab.sanitize_mode()
    with twin.sanitizing(mode):
        assert _lab.sanitize_mode() == mode
    assert _lab.sanitize_mode() == before


def test_an_unknown_mode_is_refused():
    before = _lab.sanitize_mode()
    with pytest.raises(ValueError) as refusal, twin.sanitizing("fully"):
        pass
    assert str(refusal.value) == f"sanitize: {MODE_ERROR}"
    assert _lab.sanitize_mode() == before


# Without a barrier of the vector pipe mla_prolog is not clean, which full mode alone finds.
RUN = """
import sys
from ascend_prefetch import _lab
from ascend_prefetch.lab import sanitize, twin
case = sanitize.CASES[0]
_lab.start_call_log()
case.run()
calls = [call for call in _lab.take_call_log()[0] if call[0] == "PipeBarrier<V>"]
def run():
    found = set()
    for call in calls[:5]:
        _lab.set_mutation([call])
        try:
            case.run()
        except twin.TwinError as error:
            found.add(error.code)
    _lab.set_mutation([])
    print(_lab.sanitize_mode(), *found)
run()
for mode in sys.argv[1:]:
    with twin.sanitizing(mode):
        run()
"""


def run_python(environment, *arguments):
    variables = {k: v for k, v in os.environ.items() if k != "ASCEND_PREFETCH_SANITIZE"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=variables | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, "off"),
        ({"ASCEND_PREFETCH_SANITIZE": "memory"}, "memory"),
        ({"ASCEND_PREFETCH_SANITIZE": "full"}, "full missing-barrier"),
    ],
)
def test_the_environment_sets_the_mode_and_the_argument_overrides_it(environment, first):
    run = run_python(environment, "-c", RUN, "off", "full")
    assert run.stderr == ""
    assert run.stdout.splitlines() == [first, "off", "full missing-barrier"]


def test_an_unknown_mode_in_the_environment_is_refused():
    environment = {"ASCEND_PREFETCH_SANITIZE": "fully"}
    run = run_python(environment, "-m", "ascend_prefetch", "sanitize")
    assert run.returncode == 2
    assert run.stderr == f"ascend_prefetch sanitize: ASCEND_PREFETCH_SANITIZE: {MODE_ERROR}\n"
    call = (
        "import torch, ascend_prefetch\n"
        "try: torch.ops.ascend_prefetch.prefetch([torch.ones(64)])\n"
        "except (ValueError, RuntimeError) as error: print(str(error).splitlines()[0])"
    )
    run = run_python(environment, "-c", call)
    assert run.stdout == f"ASCEND_PREFETCH_SANITIZE: {MODE_ERROR}\n"


# --- docs/sanitizer.md ---


def test_the_page_lists_the_codes_of_the_table():
    page = (ROOT / "docs" / "sanitizer.md").read_text()
    table = page.split("## Codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", table, re.MULTILINE)
    assert rows == [tuple(code) for code in _lab.error_codes()]


@pytest.mark.parametrize("page", ["README.md", "docs/sanitizer.md", "csrc/twin/README.md"])
def test_links_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert links
    for link in links:
        assert (path.parent / link).exists(), link
    if page != "docs/sanitizer.md":
        assert any((path.parent / link).resolve() == ROOT / "docs/sanitizer.md" for link in links)
