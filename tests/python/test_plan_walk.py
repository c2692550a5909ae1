"""A sample of the plan walk, the same in every run; `make plan-walk` walks millions."""

import re

from plan_walk import start


def test_the_plans_of_a_sample_break_no_rule():
    walk = start(products=20_000, seed=1)
    said, _ = walk.communicate()
    assert walk.returncode == 0, said
    found = re.fullmatch(
        r"seed 1: (\d+) products of \d+ plans, (\d+) plans refused; .*; (\d+) faults; .*\n", said
    )
    assert found is not None, said
    products, refused, faults = map(int, found.groups())
    assert products >= 20_000 and faults == 0
    # Only models that were drawn have plans that do not fit the fields.
    assert refused < 100
