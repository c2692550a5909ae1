"""Calls of the ops with everything drawn together, good ones and bad ones.

Some hundred calls are drawn, others in every run: the seed is printed, and ASCEND_PREFETCH_SEED
repeats it. The falsifying example that hypothesis prints is complete: as an @example it is there
for good. `make fuzz` draws some ten thousand (fuzz.py).
"""

from __future__ import annotations

import pytest
from hypothesis import given, seed, settings

from bad_draws import bad_calls, check_bad_call
from drawn_calls import CALLS, Call, check_call
from mla_cases import SEED, MlaCase
from op_calls import OPS
from w8a8_cases import DYNAMIC, STATIC

# Good calls in `make test`.
DRAWN = {"mla_prolog": 60, "sfa_prolog": 60, "o_proj": 60, "prefetch": 50}
BAD = 60

# A vector register of 64 holds the maxima of the pieces of a row: wide ones need wide pieces.
WIDE_HIDDEN = MlaCase(3, hidden=8256, q_lora=64, kv_lora=64, nope=64, heads=1)


def drawing(calls: int) -> settings:
    return settings(max_examples=calls, deadline=None, derandomize=False, print_blob=True)


@pytest.mark.parametrize("op", OPS)
def test_any_call(op):
    @drawing(DRAWN[op])
    @seed(SEED)
    @given(call=CALLS[op])
    def any_call(call):
        print(f"ASCEND_PREFETCH_SEED={SEED} draws {call}")
        check_call(call)

    any_call()


@pytest.mark.parametrize("op", OPS)
def test_any_bad_call(op):
    @drawing(BAD)
    @seed(SEED)
    @given(drawn=bad_calls(op))
    def any_bad_call(drawn):
        print(f"ASCEND_PREFETCH_SEED={SEED} draws {drawn}")
        check_bad_call(op, drawn)

    any_bad_call()


def test_wide_hidden_states():
    check_call(Call(WIDE_HIDDEN, {"qkv_a_weight": DYNAMIC, "q_b_weight": STATIC}, seed=0))
