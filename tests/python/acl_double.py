"""The test double of ACL behind CPU tensors: ops go to it as they go to a device."""

import contextlib
import ctypes
import os
from pathlib import Path

from ascend_prefetch import _C

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("ASCEND_PREFETCH_BUILD_DIR", ROOT / "build"))
LIBRARY = BUILD / "tests" / "cpp" / "npu" / "libnpu_double.so"


class AclDouble:
    """What reached ACL. No kernel runs: results hold what memory held."""

    def __init__(self):
        self._library = ctypes.CDLL(str(LIBRARY))
        self._library.double_calls.restype = ctypes.c_char_p
        self._library.double_argument.restype = ctypes.POINTER(ctypes.c_char)
        self._library.double_argument.argtypes = [ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]
        self._library.double_set_stored_nz.argtypes = [ctypes.c_bool]
        self._library.double_set_recording.argtypes = [ctypes.c_bool]
        self._library.double_fail_next.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p]
        self._library.double_kept.restype = ctypes.c_char_p
        self._library.double_event_count.restype = ctypes.c_size_t
        self._library.double_set_stream.argtypes = [ctypes.c_size_t]
        self._library.double_end_capture.argtypes = [ctypes.POINTER(ctypes.c_void_p)]
        self._library.double_replay.argtypes = [ctypes.c_void_p]
        self.reset()

    def reset(self):
        self._library.double_reset()

    def calls(self):
        """What reached a stream, less what loads the kernels' file."""
        lines = self._library.double_calls().decode().splitlines()
        return [line for line in lines if not line.startswith("load ")]

    def arguments(self):
        """The bytes of each argument of the last launch."""
        arguments = []
        size = ctypes.c_size_t()
        while (data := self._library.double_argument(len(arguments), ctypes.byref(size))) and size:
            arguments.append(data[: size.value])
        return arguments

    @property
    def block_count(self):
        return self._library.double_block_count()

    @property
    def scheduling_mode(self):
        return self._library.double_scheduling_mode()

    def set_stored_nz(self, nz):
        """Every weight is in FRACTAL_NZ whatever its shape says, or none."""
        self._library.double_set_stored_nz(nz)

    def set_recording(self, recording):
        self._library.double_set_recording(recording)

    def set_stream(self, name):
        """Makes "main" or "other" the current stream."""
        self._library.double_set_stream({"main": 1, "other": 3}[name])

    def kept(self):
        """(tensors, stream) for each time that memory was kept for a stream."""
        names = {"2": "side", "4": "side of other"}
        pairs = [line.split() for line in self._library.double_kept().decode().splitlines()]
        return [(int(count), names[stream]) for count, stream in pairs]

    @property
    def event_count(self):
        """Events that have been made so far."""
        return self._library.double_event_count()

    @contextlib.contextmanager
    def capture(self):
        """Captures the current stream, and is the Graph. An error of the block goes on.

        Raises:
            AclError: the capture fails at its end.
        """
        _check("aclmdlRICaptureBegin", self._library.double_begin_capture())
        graph = Graph(self._library)
        try:
            yield graph
        except BaseException:
            self._library.double_end_capture(ctypes.byref(graph.handle))
            raise
        code = self._library.double_end_capture(ctypes.byref(graph.handle))
        _check("aclmdlRICaptureEnd", code)

    def fail_next(self, function, code, message):
        self._library.double_fail_next(function.encode(), code, message.encode())


class AclError(Exception):
    """A code other than success.

    Attributes:
        code: the code.
    """

    def __init__(self, function, code):
        super().__init__(f"{function} failed with {code}")
        self.code = code


def _check(function, code):
    if code != 0:
        raise AclError(function, code)


class Graph:
    """What a capture has kept."""

    def __init__(self, library):
        self._library = library
        self.handle = ctypes.c_void_p()

    def replay(self):
        """Executes it on the current stream."""
        _check("aclmdlRIExecuteAsync", self._library.double_replay(self.handle))


@contextlib.contextmanager
def acl_double():
    """CPU tensors go to the double within."""
    if not LIBRARY.exists():
        raise FileNotFoundError(f"{LIBRARY} is not built: run `make build`")
    double = AclDouble()
    _C.load_device(str(LIBRARY))
    try:
        yield double
    finally:
        _C.unload_device()
