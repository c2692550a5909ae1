"""The order in which the twin runs the cores: results do not depend on it."""

import os
import subprocess
import sys

import pytest
import torch

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.sanitize import CASES

# All 50 seeds on the smallest case of every op, which takes milliseconds; a few on all others.
SEEDS = dict.fromkeys((case.name for case in CASES), range(1, 9)) | dict.fromkeys(
    (
        "mla_prolog w8a8_dynamic fp16 nz",
        "sfa_prolog w8a8_dynamic fp16",
        "o_proj without v-up, bias",
        "prefetch",
    ),
    range(1, 51),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results_are_the_same_in_every_schedule(case):
    expected = case.run()
    for seed in SEEDS[case.name]:
        with twin.schedule(seed):
            results = case.run()
        assert len(results) == len(expected)
        for result, wanted in zip(results, expected, strict=True):
            # Bits, so that a NaN is equal to itself and 0 is not -0.
            bits = [tensor.contiguous().view(torch.uint8) for tensor in (result, wanted)]
            assert torch.equal(*bits), f"seed {seed}"


def test_a_schedule_ends_with_its_block():
    assert _lab.schedule_seed() == 0
    with twin.schedule(7):
        with twin.schedule(2**64 - 1):
            assert _lab.schedule_seed() == 2**64 - 1
        assert _lab.schedule_seed() == 7
    with pytest.raises(ZeroDivisionError), twin.schedule(3):
        _ = 1 / 0
    assert _lab.schedule_seed() == 0


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "1", None])
def test_a_schedule_takes_a_number(seed):
    with pytest.raises(TypeError), twin.schedule(seed):
        pass
    assert _lab.schedule_seed() == 0


def in_environment(value: str) -> subprocess.CompletedProcess:
    """The seed that a process with this value of the variable says it has."""
    return subprocess.run(
        [sys.executable, "-c", "from ascend_prefetch import _lab; print(_lab.schedule_seed())"],
        env=os.environ | {"ASCEND_PREFETCH_SCHEDULE_SEED": value},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_gives_a_seed():
    assert in_environment("18446744073709551615").stdout == "18446744073709551615\n"


@pytest.mark.parametrize("value", ["", "-1", "18446744073709551616"])
def test_the_environment_must_give_a_number(value):
    assert (
        f"ASCEND_PREFETCH_SCHEDULE_SEED: expected a number from 0 to 2^64 - 1, got '{value}'"
        in (in_environment(value).stderr)
    )
