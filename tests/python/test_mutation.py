"""Mutations of the kernels: every call is reached, none can be taken away unnoticed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ascend_prefetch.lab import cli, sanitize
from ascend_prefetch.lab.sanitize import CASES, Mutant, MutationTable, mutate, mutation

KERNELS = Path(__file__).resolve().parents[2] / "csrc" / "kernels"
# Calls whose line in the kernels counts; what helpers issue counts as their caller's.
CALLS = re.compile(
    r"PipeBarrier<|CrossCore(Set|Wait)Flag|\bHandOver<|\b(CubeBarrier|PublishTo|Await)\w*\(\)|"
    r"\bevents_\.\w+\(|_events_\.\w+\(|\b(CeilDiv|RoundUp)(<\w+>)?\("
)
HELPERS = {"events.h", "hand_over.h", "partition.h"}
MICROBENCHMARKS = {"copy.h"}  # compute nothing that could go wrong


@pytest.fixture(scope="module")
def table():
    return mutate(processes=2)


def test_no_mutant_survives(table):
    unnoticed = [mutant for mutant in table.mutants if mutant.verdict in ("survived", "redundant")]
    assert unnoticed == []
    assert table.detected + table.count("documented") == len(table.mutants)
    documented = {mutant.kind for mutant in table.mutants if mutant.verdict == "documented"}
    assert documented == set(mutation.DOCUMENTED)
    assert documented == {
        "CrossCoreSetFlag<2, MTE2>(3) of another pipe",
        "CrossCoreSetFlag<2, MTE2>(3) + CrossCoreWaitFlag(3)",
    }


def test_every_call_of_the_kernels_is_reached(table):
    """Lines that the kernels' sources hold, not those that happened to run."""
    reached = {site for mutant in table.mutants for site in mutant.site.split(", ")}
    sites = {
        f"csrc/kernels/{path.name}:{number}"
        for path in KERNELS.glob("*.h")
        if path.name not in HELPERS | MICROBENCHMARKS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if CALLS.search(line.split("//")[0])
    }
    assert len(sites) > 100
    assert sites - reached == set()


def test_kinds_of_mutants(table):
    """Singles are found by what is left unpaired; whole pairs only by what they ordered."""
    unpaired = {"unpaired-event", "event-set-twice", "unpaired-cross-core-flag", "deadlock"}
    pairs = [mutant for mutant in table.mutants if " + " in mutant.kind]
    assert len(pairs) > 70
    flags = [mutant for mutant in pairs if "EventID" not in mutant.kind]
    assert {mutant.verdict for mutant in flags} & unpaired == set()
    kinds = {mutant.kind for mutant in table.mutants}
    assert {
        "PipeBarrier<V>",
        "PipeBarrier<MTE2>",
        "SetFlag<V_MTE2> + WaitFlag<V_MTE2>",
        "CrossCoreSetFlag<0, FIX>(0) + CrossCoreWaitFlag(0)",
        "CrossCoreSetFlag<0, FIX>(0) of another pipe",
        "AllocEventID<M_FIX> + ReleaseEventID<M_FIX>",
        "CeilDiv left out",
        "RoundUp left out",
        "RoundUp rounded down",
    } <= kinds
    # All that a rounding can do to a result shows as a wrong access too, but for steps left out.
    by_value = [mutant.kind for mutant in table.mutants if mutant.verdict == "value"]
    assert set(by_value) == {"CeilDiv left out"}
    assert len(by_value) <= 4


@pytest.mark.parametrize("name", ["prefetch", "prefetch, cube"])
def test_every_call_of_a_prefetch_kernel_is_needed_there(name):
    """Both kernels have their calls from one block: a survivor of one may die in the other."""
    (case,) = [case for case in CASES if case.name == name]
    mutants = mutate([case]).mutants
    assert {mutant.kind for mutant in mutants} == {
        "PipeBarrier<MTE2>",
        "RoundUp left out",
        "RoundUp rounded down",
    }
    noticed = {"missing-barrier", "out-of-bounds", "prefetch"}
    assert {mutant.verdict for mutant in mutants} <= noticed


@pytest.fixture(scope="module")
def one_token():
    """A call in which nothing comes round again, so that hardly any free slot matters."""
    return replace(CASES[1], name="one token", run=partial(CASES[1].run.func, tokens=1))


def test_a_superfluous_call_is_found(one_token):
    mutants = mutate([one_token]).mutants
    unnoticed = {(mutant.kind, mutant.verdict) for mutant in mutants if mutant.case == ""}
    assert ("SetFlag<MTE3_V> + WaitFlag<MTE3_V>", "redundant") in unnoticed
    assert all(mutant.case == "one token" for mutant in mutants if mutant.verdict == "pipe-race")
    # Later launches are not changed any more.
    assert sanitize.clean_ops([one_token]) == {"one token": "clean"}


def test_a_document_can_ask_for_a_call(one_token, monkeypatch):
    kind = "SetFlag<MTE3_V> + WaitFlag<MTE3_V>"
    monkeypatch.setattr(mutation, "DOCUMENTED", {kind: "a page"})
    found = [mutant for mutant in mutate([one_token]).mutants if mutant.verdict == "documented"]
    assert {(mutant.kind, mutant.reference) for mutant in found} == {(kind, "a page")}


def test_cases_of_ones_own_take_one_process(one_token):
    with pytest.raises(ValueError, match="processes: expected 1 with cases that are not CASES"):
        mutate([one_token], processes=2)


# --- command line ---


def run_verb(monkeypatch, mutants):
    monkeypatch.setattr(cli.mutate, "mutate", lambda **_: MutationTable(7, mutants))
    return cli.main(["mutate"])


FOUND = Mutant("SetFlag<MTE2_V>", "csrc/kernels/rope.h:54", "start", "unpaired-event", "o_proj")


def test_verb_prints_the_contract(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli.mutate, "mutate", lambda **_: MutationTable(7, [FOUND]))
    assert cli.main(["mutate", "--json", str(tmp_path / "table.json")]) == 0
    assert json.loads((tmp_path / "table.json").read_text()) == {
        "sites": 7,
        "mutants": 1,
        "detected": 1,
        "documented": 0,
        "redundant": 0,
        "survived": 0,
        "list": [
            {
                "kind": "SetFlag<MTE2_V>",
                "site": "csrc/kernels/rope.h:54",
                "after": "start",
                "verdict": "unpaired-event",
                "case": "o_proj",
                "reference": "",
            }
        ],
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "    1  unpaired-event",
        "1 mutants of 7 calls: 1 detected, 0 documented, 0 redundant, 0 survived",
    ]


@pytest.mark.parametrize("verdict", ["survived", "redundant"])
def test_verb_fails_with_a_survivor(monkeypatch, capsys, verdict):
    assert run_verb(monkeypatch, [FOUND, FOUND._replace(verdict=verdict, case="")]) == 1
    line = f"{verdict}: SetFlag<MTE2_V> at csrc/kernels/rope.h:54"
    assert capsys.readouterr().out.splitlines()[0] == line


def test_verb_lists_what_documents_ask_for(monkeypatch, capsys):
    documented = FOUND._replace(verdict="documented", case="", reference="a page")
    assert run_verb(monkeypatch, [FOUND, documented]) == 0
    line = "documented: SetFlag<MTE2_V> at csrc/kernels/rope.h:54 (a page)"
    assert capsys.readouterr().out.splitlines()[0] == line
