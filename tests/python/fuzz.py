"""The long run of drawn_calls.py and bad_draws.py: thousands of calls of each op.

    python tests/python/fuzz.py [--calls 10000] [--seed SEED] [--state FILE] [OP ...]

Calls are spread over all chips. They come in lots of 100, each with a seed of its own; every tenth
lot runs with the twin as a full sanitizer, and beside ten good calls there is one bad one that has
to be refused. The lots that are done are lines of the state file, which a further run goes on from.
A lot that fails prints the call, and the others go on; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings

from ascend_prefetch.lab import twin
from bad_draws import bad_calls, check_bad_call
from drawn_calls import CALLS, check_call

LOT = 100
FULL = 10  # every so many lots


def run_lot(op: str, lot_seed: int, mode: str) -> None:
    """Raises where a call of the lot is not what it should be."""
    drawing = settings(
        max_examples=LOT,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )

    @drawing
    @seed(lot_seed)
    @given(call=CALLS[op])
    def good(call):
        check_call(call)

    @settings(drawing, max_examples=LOT // 10)
    @seed(lot_seed)
    @given(drawn=bad_calls(op))
    def bad(drawn):
        check_bad_call(op, drawn)

    with twin.sanitizing(mode), contextlib.redirect_stdout(io.StringIO()):
        good()
        bad()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ops", metavar="OP", nargs="*", help=f"of {', '.join(CALLS)}; all of them")
    parser.add_argument("--calls", type=int, default=10_000, help="good calls of each op")
    parser.add_argument("--seed", type=int, default=0, help="of all lots (default: 0)")
    parser.add_argument("--state", type=Path, default=Path("build/fuzz.txt"), metavar="FILE")
    arguments = parser.parse_args()
    if unknown := set(arguments.ops) - set(CALLS):
        parser.error(f"OP: expected {', '.join(CALLS)}, got {', '.join(sorted(unknown))}")
    done = set(arguments.state.read_text().splitlines()) if arguments.state.exists() else set()
    failed = 0
    lots = -(-arguments.calls // LOT)
    for lot in range(lots):
        for op in arguments.ops or CALLS:
            mode = "full" if lot % FULL == FULL - 1 else "off"
            lot_seed = (arguments.seed << 32) + lot
            line = f"{op} seed {lot_seed} {mode}"
            if line in done:
                continue
            begin = time.monotonic()
            try:
                run_lot(op, lot_seed, mode)
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f"{line}: FAILED", flush=True)
                continue
            with arguments.state.open("a") as state:
                state.write(line + "\n")
            print(f"{line}: {LOT} calls, lot {lot + 1}/{lots}, {time.monotonic() - begin:.0f} s")
            sys.stdout.flush()
    print(f"{failed} lots failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
