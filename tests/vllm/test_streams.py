"""The double's streams order and fail as those of a device do."""

from __future__ import annotations

import pytest
import torch

import environment


@pytest.fixture(scope="module")
def npu():
    environment.install_double()
    return torch.npu


def captured(npu, body):
    with npu.graph(npu.NPUGraph()):
        body()


def test_a_fork_that_is_joined_passes(npu):
    side = npu.Stream()

    def body():
        main = npu.current_stream()
        side.wait_event(main.record_event())
        with npu.stream(side):
            torch.ones(2) + 1
        main.wait_stream(side)

    captured(npu, body)


def test_a_fork_of_a_fork_is_joined_through_it(npu):
    first, second = npu.Stream(), npu.Stream()

    def body():
        main = npu.current_stream()
        first.wait_stream(main)
        second.wait_stream(first)
        first.wait_stream(second)
        main.wait_stream(first)

    captured(npu, body)


@pytest.mark.parametrize("late", [False, True])
def test_a_fork_that_is_not_joined_fails(npu, late):
    """Not joined at all, or given more to do after its join."""
    side = npu.Stream()

    def body():
        main = npu.current_stream()
        side.wait_stream(main)
        if late:
            main.wait_stream(side)
            with npu.stream(side):
                torch.ones(2) + 1

    with pytest.raises(RuntimeError, match="107025"):
        captured(npu, body)
    captured(npu, lambda: None)  # the failure leaves nothing behind


def test_an_event_of_before_the_capture_fails(npu):
    event = npu.current_stream().record_event()
    with pytest.raises(RuntimeError, match="107024"):
        captured(npu, lambda: npu.current_stream().wait_event(event))


def test_an_event_of_an_earlier_capture_fails(npu):
    event = npu.Event()
    captured(npu, event.record)
    with pytest.raises(RuntimeError, match="107024"):
        captured(npu, event.wait)


def test_what_nobody_recorded_is_not_awaited(npu):
    with pytest.raises(RuntimeError, match="nobody has recorded"):
        npu.Event().wait()


def test_the_host_waits_for_no_captured_stream(npu):
    with pytest.raises(RuntimeError, match="107026"):
        captured(npu, lambda: npu.current_stream().synchronize())
