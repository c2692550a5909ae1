"""Compares a live server with the fused ops and without: python -m ascend_prefetch.vllm.ab.

The server runs under a steady load of your own, with the setting `ab` (both_graphs), with
VLLM_SERVER_DEV_MODE=1, whose endpoint /collective_rpc turns the switch, and with
--worker-extension-cls ascend_prefetch.vllm.Switchable. The command turns the switch on and off, in
turn, waits for requests in flight, and reads from /metrics how long tokens took. Each pair of a
period with and one without is a difference; their mean and its 95 % confidence interval are
printed. What is measured is the server: this package has never been measured on a device.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import NamedTuple

_METRICS = ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds")
"""Histograms of the time between two tokens, by the names that releases gave them."""

_FEWEST_PAIRS = 5
# Student's t for a two-sided interval of 95 %, by degrees of freedom; above 30 it is below 2.05.
_T95 = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 15: 2.131, 20: 2.086}


class Server:
    """A vLLM server."""

    def __init__(self, url: str) -> None:
        """url: such as http://127.0.0.1:8000."""
        self._url = url.rstrip("/")

    def turn(self, on: bool) -> None:
        """Turns the fused ops of all workers on or off.

        Raises:
            ValueError: the server has no such endpoint, or refuses.
        """
        # The endpoint passes on nothing but text.
        body = {"method": "turn_ascend_prefetch", "args": ["true" if on else "false"]}
        self._open("/collective_rpc", json.dumps(body).encode())

    def latency(self) -> tuple[float, float]:
        """Sum of the seconds between tokens since the server started, and how many there were.

        Raises:
            ValueError: the server has no such metric.
        """
        text = self._open("/metrics", None)
        for name in _METRICS:
            total, count = _series(text, f"{name}_sum"), _series(text, f"{name}_count")
            if total is not None and count is not None:
                return total, count
        raise ValueError(f"{self._url}/metrics: expected {' or '.join(_METRICS)}, found neither")

    def _open(self, path: str, body: bytes | None) -> str:
        request = urllib.request.Request(
            self._url + path, body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError) as error:
            hint = ""
            if getattr(error, "code", None) == 404 and body is not None:
                hint = "; start the server with VLLM_SERVER_DEV_MODE=1"
            elif body is not None:
                hint = "; its workers need --worker-extension-cls ascend_prefetch.vllm.Switchable"
            raise ValueError(f"{self._url}{path}: {error}{hint}") from error


def _series(text: str, name: str) -> float | None:
    """The sum of a metric over all of its labels; None without it."""
    found = [
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith((f"{name}{{", f"{name} "))
    ]
    return sum(found) if found else None


class Comparison(NamedTuple):
    """What was measured, in milliseconds per output token.

    Attributes:
        on, off: mean of the periods with the fused ops and of those without.
        difference: mean of on - off over the pairs of periods.
        interval: half of the difference's 95 % confidence interval.
        pairs: number of pairs.
    """

    on: float
    off: float
    difference: float
    interval: float
    pairs: int

    def __str__(self) -> str:
        share = 100 * self.difference / self.off
        width = 100 * self.interval / self.off
        verdict = "no difference is shown"
        if abs(self.difference) > self.interval:
            verdict = "faster with the fused ops" if self.difference < 0 else "slower with them"
        return (
            f"TPOT {self.on:.3f} ms with the fused ops, {self.off:.3f} ms without: "
            f"{share:+.2f} % +- {width:.2f} % (95 %, {self.pairs} pairs of periods): {verdict}"
        )


def compare(pairs: Sequence[tuple[float, float]]) -> Comparison:
    """Compares periods.

    Args:
        pairs: milliseconds per token with the fused ops and without, of periods next to each other;
            5 or more.

    Raises:
        ValueError: there are fewer.
    """
    if len(pairs) < _FEWEST_PAIRS:
        raise ValueError(f"pairs: expected {_FEWEST_PAIRS} or more, got {len(pairs)}")
    differences = [on - off for on, off in pairs]
    freedom = max(key for key in _T95 if key <= len(pairs) - 1)
    deviation = statistics.stdev(differences) / math.sqrt(len(pairs))
    return Comparison(
        statistics.fmean(on for on, _ in pairs),
        statistics.fmean(off for _, off in pairs),
        statistics.fmean(differences),
        _T95[freedom] * deviation,
        len(pairs),
    )


def measure(
    server: Server,
    pairs: int,
    seconds: float,
    settle: float,
    wait: Callable[[float], None] = time.sleep,
) -> list[tuple[float, float]]:
    """Milliseconds per token of each pair of periods; the order within a pair alternates.

    The switch is on afterwards, whatever happens.

    Args:
        server: under load.
        pairs: number of pairs.
        seconds: length of a period.
        settle: seconds between a turn and its period, in which what is in flight ends.
        wait: waits for so many seconds.

    Raises:
        ValueError: the server does not answer, or makes no tokens in a period.
    """
    found = []
    try:
        for number in range(pairs):
            of_pair: dict[bool, float] = {}
            for on in (True, False) if number % 2 == 0 else (False, True):
                server.turn(on)
                wait(settle)
                total, count = server.latency()
                wait(seconds)
                later, more = server.latency()
                if more <= count:
                    raise ValueError(f"no token in {seconds:g} s: the server needs a steady load")
                of_pair[on] = 1000 * (later - total) / (more - count)
            found.append((of_pair[True], of_pair[False]))
    finally:
        server.turn(True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        Its exit status: 2 for an error, which is one line.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the server")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of periods, 5 or more")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a period")
    parser.add_argument("--settle", type=float, default=5.0, help="wait after each turn")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    try:
        for name, least in (("pairs", _FEWEST_PAIRS), ("seconds", 0.1), ("settle", 0)):
            if not getattr(given, name) >= least:
                raise ValueError(f"--{name}: expected {least} or more, got {getattr(given, name)}")
        result = compare(measure(Server(given.url), given.pairs, given.seconds, given.settle))
    except ValueError as error:
        print(f"ascend_prefetch ab: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result._asdict()) if given.json else result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
