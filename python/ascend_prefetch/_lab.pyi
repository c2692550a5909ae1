from __future__ import annotations
import collections.abc
import typing
import typing_extensions
__all__: list[str] = ['Timeline', 'account_prefetch', 'describe_trace', 'dry', 'error_codes', 'run_checks', 'sanitize_mode', 'schedule_seed', 'separate_kernels', 'set_dry', 'set_mutation', 'set_npu', 'set_sanitize_mode', 'set_schedule_seed', 'set_separate_kernels', 'set_twin_chip', 'start_buffer_usage', 'start_call_log', 'start_tracing', 'take_buffer_usage', 'take_call_log', 'take_traces', 'trace_copy', 'trace_matmul', 'twin_chip', 'twin_device']
class Timeline:
    """
    Kernels one after the other on a chip; modelled, see model/simulator.h.
    """
    def __init__(self, chip: str, level: str, constants: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex] = {}) -> None:
        """
        `constants` replace those of the table, in its units.
        """
    def join_prefetch(self) -> None:
        """
        What runs from here on starts when the SDMA engine has done all it was handed.
        """
    def prefetch(self, address: typing.SupportsInt | typing.SupportsIndex, bytes: typing.SupportsInt | typing.SupportsIndex, offset: typing.SupportsInt | typing.SupportsIndex = 0, length: typing.SupportsInt | typing.SupportsIndex | None = None, delay: typing.SupportsFloat | typing.SupportsIndex = 0, stream: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        """
        Hands a part of a tensor, by default all of it, to the SDMA engine `delay` us from now. Streams that have work at the same time slow each other down.
        """
    def run(self, trace: bytes, intervals: bool = False) -> dict:
        """
        Intervals are (core, pipe, op, start, end, tensor, bytes, site, hbm_read, hbm_written, l2_hit, written): when a pipe worked, us, and whole lines of bytes. Rate changes are (time, hbm_read, hbm_written, l2_hit, written): us, bytes per us.
        """
    def stream(self, name: str, address: typing.SupportsInt | typing.SupportsIndex, bytes: typing.SupportsInt | typing.SupportsIndex, cube: bool, intervals: bool = False) -> dict:
        """
        Reads a tensor once with all cube cores, or all vector cores, as a kernel of its own; the result is that of run.
        """
    @property
    def hbm_rate(self) -> float:
        """
        Bytes per us that HBM reads and writes at most.
        """
    @property
    def launch_us(self) -> float:
        """
        Launch and start of a kernel, us.
        """
    @property
    def now(self) -> float:
        """
        us since the sequence began.
        """
    @property
    def sdma_transfers(self) -> list:
        """
        (start, end, bytes, hbm_read, l2_hit) of each piece so far.
        """
def account_prefetch(launches: collections.abc.Sequence[bytes | tuple[str, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]], weights: collections.abc.Sequence[str]) -> dict:
    """
    Bytes of the named weight tensors that vector cores prefetched in launches one after the other: planned, landed, pending, unused, duplicated (model/prefetch_account.h). A launch is a trace, or (name, address, bytes) of what all cube cores read once.
    """
def describe_trace(trace: bytes) -> dict:
    """
    Kernel, chip and tensors, (address, bytes) by name, of a trace.
    """
def dry() -> bool:
    """
    Whether CPU launches only go through their control flow.
    """
def error_codes() -> list:
    """
    Every code of the twin: (code, summary of one line).
    """
def run_checks() -> list:
    """
    A broken and a corrected kernel for every code of the twin, run (twin/checks.h): code, name, line, broken_detected, fixed_clean, report, fixed_report each.
    """
def sanitize_mode() -> str:
    """
    What CPU launches are checked for.
    """
def schedule_seed() -> int:
    """
    In which order the cores of CPU launches run.
    """
def separate_kernels() -> bool:
    """
    Whether CPU launches run an op as separate kernels.
    """
def set_dry(dry: bool) -> None:
    """
    Results of dry launches mean nothing.
    """
def set_mutation(calls: collections.abc.Sequence[tuple[str, str]], weaken: bool = False) -> None:
    """
    Leave out, or weaken, these calls, each (kind, site), and no others (twin/mutation.h).
    """
def set_npu(device: typing_extensions.CapsuleType | None, folder: str) -> None:
    """
    torch.ops.ascend_prefetch_lab sends the tensors of this device to it, with the device code in this folder. None: to no device.
    """
def set_sanitize_mode(mode: str) -> None:
    """
    off, memory (bytes used before they are written) or full (races too).
    """
def set_schedule_seed(seed: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    0 for the fixed order, anything else for one of its own.
    """
def set_separate_kernels(separate: bool) -> None:
    """
    Make CPU launches run an op as separate kernels, or as one.
    """
def set_twin_chip(name: str) -> None:
    """
    Make CPU launches play this SoC. ValueError lists the known names.
    """
def start_buffer_usage() -> None:
    """
    Note how much launches take of the local buffers from here on.
    """
def start_call_log() -> None:
    """
    Note every synchronisation call and rounding that launches reach from here on.
    """
def start_tracing() -> None:
    """
    Record a trace of every launch from here on.
    """
def take_buffer_usage() -> list:
    """
    (kernel, [(buffer, most bytes allocated on a core, capacity)]) of every launch since.
    """
def take_call_log() -> tuple:
    """
    (calls, weakened, met): (kind, site) of every call noted -> site of the instruction before it, those that set_mutation can weaken, and pairs of a set and a wait that it let through.
    """
def take_traces() -> list:
    """
    Stop recording; the serialised traces (twin/trace_format.h), one per launch.
    """
def trace_copy(chip: str, rows: typing.SupportsInt | typing.SupportsIndex, row_bytes: typing.SupportsInt | typing.SupportsIndex, tile_rows: typing.SupportsInt | typing.SupportsIndex, tile_bytes: typing.SupportsInt | typing.SupportsIndex, slices: typing.SupportsInt | typing.SupportsIndex, repeats: typing.SupportsInt | typing.SupportsIndex, to_l1: bool, cores: typing.SupportsInt | typing.SupportsIndex = 0) -> bytes:
    """
    Trace of a kernel that reads a matrix; run dry.
    """
def trace_matmul(chip: str, m: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex, k: typing.SupportsInt | typing.SupportsIndex, nz: bool, bf16: bool, cores: typing.SupportsInt | typing.SupportsIndex = 0) -> bytes:
    """
    Trace of C = A x B as a kernel of its own; run dry.
    """
def twin_chip() -> str:
    """
    SoC name that CPU launches play.
    """
def twin_device() -> typing_extensions.CapsuleType:
    """
    The twin as a device, for _C.set_host_device.
    """
