"""Streams and events of one device that computes at once, with the order that a device would keep.

What a stream has done is a number, and what it has waited for are the numbers of others, so that a
capture can tell at its end whether everything that it took in has come back. The rules and codes
are those of the double of ACL (tests/cpp/npu/captures.h): a wait takes its stream into the capture
of the event (107024 for an event of another time, 107032 for one of another capture), and what was
taken in has to be awaited by the stream on which the capture began (107025).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Capture:
    """A capture, from its begin to its end."""

    def __init__(self, origin: Stream) -> None:
        self.origin = origin
        self.running = True
        self.streams = {origin}
        origin.capture = self

    def end(self) -> None:
        """Ends it.

        Raises:
            RuntimeError: a stream has not come back.
        """
        self.running = False
        for stream in self.streams:
            stream.capture = None
        for stream in self.streams - {self.origin}:
            if self.origin.known.get(stream, 0) < stream.done:
                raise RuntimeError("107025: a stream of the capture has not been joined")


class Stream:
    """A stream.

    Attributes:
        done: how much it was given to do.
        known: of other streams, how much of theirs is done before what it is given next.
        capture: the capture that it belongs to, or None.
    """

    def __init__(self, *_, **__) -> None:
        self.done = 0
        self.known: dict[Stream, int] = {}
        self.capture: Capture | None = None

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        event.wait(self)

    def wait_stream(self, other: Stream) -> None:
        if other is not self:
            self.wait_event(other.record_event())

    def synchronize(self) -> None:
        if self.capture is not None:
            raise RuntimeError("107026: the host waits for a stream that is being captured")


class Event:
    """An event."""

    def __init__(self, *_, **__) -> None:
        self._seen: dict[Stream, int] | None = None
        self._capture: Capture | None = None

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or current()
        self._seen = {**stream.known, stream: stream.done}
        self._capture = stream.capture

    def wait(self, stream: Stream | None = None) -> None:
        """
        Raises:
            RuntimeError: nobody has recorded it, or it belongs to another capture.
        """
        stream = stream or current()
        if self._seen is None:
            raise RuntimeError("a stream waits for an event that nobody has recorded")
        if self._capture is not None and self._capture.running:
            if stream.capture not in (None, self._capture):
                raise RuntimeError("107032: an event connects two captures")
            stream.capture = self._capture
            self._capture.streams.add(stream)
        elif stream.capture is not None:
            raise RuntimeError("107024: an event of before the capture is awaited in it")
        for other, done in self._seen.items():
            if other is not stream:
                stream.known[other] = max(done, stream.known.get(other, 0))
                stream.done += 1

    def synchronize(self) -> None:
        """The device has always done it."""


_current = [Stream()]


def current(*_) -> Stream:
    """torch.npu.current_stream."""
    return _current[-1]


def work() -> None:
    """The current stream is given something to do."""
    current().done += 1


@contextlib.contextmanager
def stream(chosen: Stream | None) -> Iterator[None]:
    """torch.npu.stream."""
    _current.append(chosen or current())
    try:
        yield
    finally:
        _current.pop()


@contextlib.contextmanager
def capture() -> Iterator[None]:
    """A capture on the current stream."""
    begun = Capture(current())
    try:
        yield
    except BaseException:
        with contextlib.suppress(RuntimeError):
            begun.end()
        raise
    begun.end()
