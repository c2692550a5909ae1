"""What the twin reports: its codes, and TwinError as it arrives through torch."""

import copy
import pickle
import re
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ascend_prefetch import _lab, ops
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.sanitize import CASES
from ascend_prefetch.lab.twin import TwinError
from mla_cases import same_bits
from o_proj_cases import OProjCase, OProjInputs

ROOT = Path(__file__).resolve().parents[2]
TWIN = ROOT / "csrc" / "twin"
CODES = [code for code, _ in _lab.error_codes()]
INPUTS = OProjInputs(OProjCase(tokens=5, hidden=128, heads=3, kv_lora=48, value=64)).arguments


def direct():
    arguments = dict(INPUTS)
    args = [arguments.pop("attn_output"), arguments.pop("o_proj_weight")]
    return torch.ops.ascend_prefetch.o_proj(*args, **arguments)


def wrapped():
    return ops.o_proj(**INPUTS)


def compiled():
    torch.compiler.reset()
    return torch.compile(ops.o_proj, backend="aot_eager", fullgraph=True)(**INPUTS)


@contextmanager
def broken(run, code="pipe-race"):
    """Inside, every `run` in full mode ends in `code`: a synchronisation call of it is left out."""
    with twin.sanitizing("full"):
        _lab.start_call_log()
        run()
        for call in _lab.take_call_log()[0]:
            _lab.set_mutation([call])
            try:
                run()
            except TwinError as error:
                if error.code == code:
                    break
        else:
            _lab.set_mutation([])
            raise AssertionError(f"no call without which it ends in {code}")
        try:
            yield
        finally:
            _lab.set_mutation([])


def caught(run):
    with pytest.raises(TwinError) as info:
        run()
    assert type(info.value) is TwinError
    return info.value


def twin_source():
    return "\n".join(path.read_text() for path in sorted((TWIN / "src").glob("*.cpp")))


def test_no_code_is_raised_that_the_table_does_not_have():
    raised = re.findall(r'\b(?:Fail|Error)\(\s*"([^"]*)"', twin_source())
    assert len(raised) > 60
    assert set(raised) - set(CODES) == set()


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_raised_somewhere_and_described(code):
    assert f'"{code}"' in twin_source()
    assert f"`{code}`" in (TWIN / "README.md").read_text()


@pytest.mark.parametrize("run", [direct, wrapped, compiled])
def test_a_race_arrives_with_its_fields(run):
    with broken(wrapped):
        error = caught(run)
    assert isinstance(error, RuntimeError)
    assert error.code == "pipe-race"
    assert error.kernel.startswith("o_proj")
    later, earlier = error.accesses
    assert (later.core, later.file, later.line) == (error.core, error.file, error.line)
    event = f"{earlier.pipe}_{later.pipe}"
    assert error.ordered_by == f"SetFlag<{event}> and WaitFlag<{event}>"
    assert (later.where, later.core) == (earlier.where, earlier.core)
    assert later.writes or earlier.writes
    for access in error.accesses:
        assert re.fullmatch(r"AI[CV] \d+", access.core)
        line = (ROOT / access.file).read_text().splitlines()[access.line - 1]
        assert access.instruction.split()[0] in line
        first, last = access.conflict_first, access.conflict_first + access.conflict_bytes
        assert access.first_byte <= first < last <= access.first_byte + access.bytes
    spans = [
        f"\n  {access.core}, {access.pipe}: {access.instruction} at {access.file}:{access.line} "
        f"{'writes' if access.writes else 'reads'} bytes [{access.first_byte}, "
        f"{access.first_byte + access.bytes}) of {access.where}"
        for access in error.accesses
    ]
    place = f"[kernel {error.kernel}, {error.core}, {error.file}:{error.line}]"
    assert str(error) == f"twin: {error.code}: {error.message} {place}" + "".join(spans)


def test_an_error_of_another_kind_has_no_accesses():
    with broken(wrapped, "unpaired-event"):
        error = caught(direct)
    assert (error.code, error.accesses, error.ordered_by) == ("unpaired-event", (), "")
    assert error.message in str(error)


# prefetch synchronises nothing.
@pytest.mark.parametrize("name", ["mla_prolog", "sfa_prolog", "o_proj"])
def test_every_op_raises_it(name):
    run = next(case.run for case in CASES if case.name == name)
    with broken(run, "missing-barrier"):
        error = caught(run)
    assert error.kernel.startswith(name)
    assert error.ordered_by == f"PipeBarrier<PIPE_{error.accesses[0].pipe}>"


def test_it_can_be_copied_and_pickled():
    with broken(wrapped):
        error = caught(direct)
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is TwinError
        assert str(other) == str(error)
        assert vars(other) == vars(error)


def test_the_process_goes_on_after_many():
    expected = direct()
    with broken(wrapped):
        texts = {str(caught(direct)) for _ in range(200)}
    assert len(texts) == 1
    assert same_bits(direct(), expected)


def test_threads_get_their_own():
    expected = direct()
    found = {0: [], 1: []}

    def fail(key):
        for _ in range(50):
            try:
                direct()
            except TwinError as error:
                found[key].append(str(error))

    with broken(wrapped):
        text = str(caught(direct))
        threads = [threading.Thread(target=fail, args=(key,)) for key in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {0: [text] * 50, 1: [text] * 50}
    assert same_bits(direct(), expected)
