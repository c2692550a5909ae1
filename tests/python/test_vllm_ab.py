"""The command that compares a live server with the fused ops and without."""

from __future__ import annotations

import json
import random
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ascend_prefetch.vllm import ab


class Fake:
    """A server whose tokens take on_ms or off_ms, with noise; time passes by wait()."""

    def __init__(self, on_ms, off_ms, *, rate=100.0, missing=(), name="inter_token_latency"):
        self.ms = {True: on_ms, False: off_ms}
        self.on, self.total, self.count = True, 0.0, 0.0
        self.turned, self.rate, self.missing, self.name = [], rate, missing, name
        self.random = random.Random(5)
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path in fake.missing:
                    return self.send_error(404)
                assert self.path == "/collective_rpc" and body["method"] == "turn_ascend_prefetch"
                fake.on = {"true": True, "false": False}[body["args"][0]]
                fake.turned.append(fake.on)
                return self.answer("{}")

            def do_GET(self):
                assert self.path == "/metrics"
                label = f'vllm:{fake.name}_seconds_%s{{engine="%d"}} %f\n'
                lines = [label % ("sum", e, fake.total / 2) for e in range(2)]
                lines += [label % ("count", e, fake.count / 2) for e in range(2)]
                self.answer("# TYPE x\n" + "".join(lines))

            def answer(self, text):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, seconds):
        tokens = self.rate * seconds
        self.count += tokens
        self.total += tokens * (self.ms[self.on] + self.random.gauss(0, 0.05)) / 1000


@pytest.fixture
def fake():
    made = []

    def make(*args, **kwargs):
        made.append(Fake(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


@pytest.mark.parametrize("name", ["inter_token_latency", "time_per_output_token"])
def test_a_gain_is_found_with_its_confidence(fake, name):
    server = fake(19.0, 20.0, name=name)
    result = ab.compare(ab.measure(ab.Server(server.url), 10, 30, 5, server.wait))
    assert result.difference == pytest.approx(-1.0, abs=0.1)
    assert 0 < result.interval < 0.2 and result.pairs == 10
    assert str(result).endswith("faster with the fused ops")
    # Neither state always comes first; the switch is on at the end.
    assert server.turned[:4] == [True, False, False, True] and server.turned[-1] is True
    assert server.turned.count(False) == 10


def test_no_difference_is_shown_where_there_is_none(fake):
    server = fake(20.0, 20.0)
    result = ab.compare(ab.measure(ab.Server(server.url), 6, 30, 5, server.wait))
    assert abs(result.difference) <= result.interval
    assert "no difference is shown" in str(result)


def test_the_interval_is_students():
    """Differences -1, 0, 1, 2, 3: mean 1, deviation 1.5811 / sqrt(5), t(4) 2.776."""
    pairs = [(10.0 + d, 10.0) for d in (-1, 0, 1, 2, 3)]
    result = ab.compare(pairs)
    assert result.difference == pytest.approx(1.0)
    assert result.interval == pytest.approx(2.776 * 1.5811388 / 5**0.5, rel=1e-6)
    with pytest.raises(ValueError, match="pairs: expected 5 or more, got 4"):
        ab.compare(pairs[:4])


def test_an_idle_server_is_named_and_left_switched_on(fake):
    server = fake(20.0, 20.0, rate=0.0)
    with pytest.raises(ValueError, match="the server needs a steady load"):
        ab.measure(ab.Server(server.url), 5, 30, 5, server.wait)
    assert server.on is True and server.turned[-1] is True


def test_errors_are_one_line(fake, capsys):
    server = fake(20.0, 20.0, missing=("/collective_rpc",))
    assert ab.main(["--url", server.url, "--seconds", "0.1", "--settle", "0"]) == 2
    assert "start the server with VLLM_SERVER_DEV_MODE=1" in capsys.readouterr().err
    assert ab.main(["--url", "http://127.0.0.1:9", "--seconds", "0.1"]) == 2
    assert ab.main(["--pairs", "4"]) == 2
    assert "--pairs: expected 5 or more, got 4" in capsys.readouterr().err
    other = fake(20.0, 20.0, name="something_else")
    assert ab.main(["--url", other.url, "--seconds", "0.1", "--settle", "0"]) == 2
    assert "expected vllm:inter_token_latency_seconds or" in capsys.readouterr().err


def test_json_has_the_fields(fake, capsys, monkeypatch):
    server = fake(19.0, 20.0)
    monkeypatch.setattr(ab.measure, "__defaults__", (server.wait,))
    assert ab.main(["--url", server.url, "--pairs", "5", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(ab.Comparison._fields)
