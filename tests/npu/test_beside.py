"""Fused ops beside other work on the device, and launches that fail."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.npu

TESTS = Path(__file__).parents[1]
# Thousands of launches of some 20 us; a deadlock never ends.
SECONDS = 300


def start(*arguments, **environment):
    paths = [str(TESTS / "npu"), str(TESTS / "python"), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, str(TESTS / "npu" / "beside.py"), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes):
    """What they printed, after all have ended."""
    try:
        return [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def test_fused_ops_on_several_streams_take_turns(npu):
    """Two that hold half the cores each would wait for ever: they start in batch mode."""
    (output,) = finish([start("two_streams")])
    assert output.endswith("done\n"), output


def test_fused_ops_beside_an_all_reduce(npu):
    if npu.device_count() < 2:
        pytest.skip(f"a collective takes two NPUs, there is {npu.device_count()}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    outputs = finish([start("all_reduce", str(rank), port) for rank in range(2)])
    assert all(output.endswith("done\n") for output in outputs), outputs


@pytest.mark.parametrize("blocking", ["0", "1"])
def test_a_launch_that_fails_is_an_error(npu, tmp_path, blocking):
    """At the launch, or at the next synchronisation, with the name of the call of ACL."""
    process = start("broken_kernels", str(tmp_path), ASCEND_LAUNCH_BLOCKING=blocking)
    (output,) = finish([process])
    assert process.returncode == 1
    assert "RuntimeError" in output
    assert "aclrtBinaryLoadFromFile" in output
