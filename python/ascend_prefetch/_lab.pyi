from __future__ import annotations
import collections.abc
import typing
import typing_extensions
__all__: list[str] = ['Timeline', 'account_prefetch', 'describe_trace', 'dry', 'error_codes', 'run_checks', 'sanitize_mode', 'schedule_seed', 'separate_kernels', 'set_dry', 'set_mutation', 'set_npu', 'set_sanitize_mode', 'set_schedule_seed', 'set_separate_kernels', 'set_twin_chip', 'start_buffer_usage', 'start_call_log', 'start_sdma_log', 'start_tracing', 'take_buffer_usage', 'take_call_log', 'take_sdma_log', 'take_traces', 'trace_copy', 'trace_matmul', 'trace_quant_matmul', 'trace_quantise', 'twin_chip', 'twin_device']
class Timeline:
    """
    A model of a chip that runs kernels one after the other (model/simulator.h).
    """
    def __init__(self, chip: str, level: str, constants: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex] = {}) -> None:
        """
        Values in `constants` replace those of the table and have its units.
        """
    def join_prefetch(self) -> None:
        """
        Let what runs next start when the SDMA engine has completed all that was submitted.
        """
    def prefetch(self, address: typing.SupportsInt | typing.SupportsIndex, bytes: typing.SupportsInt | typing.SupportsIndex, offset: typing.SupportsInt | typing.SupportsIndex = 0, length: typing.SupportsInt | typing.SupportsIndex | None = None, delay: typing.SupportsFloat | typing.SupportsIndex = 0, stream: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        """
        Submit a part of a tensor, by default all of it, to the SDMA engine `delay` us from now. Streams that have work at the same time slow each other down.
        """
    def run(self, trace: bytes, intervals: bool = False, launched: bool = False) -> dict:
        """
        Run the kernel of a trace, after its launch unless it is `launched` already, and return its times in us and its bytes. Intervals tell when a pipe worked: (core, pipe, op, start, end, tensor, bytes, site, hbm_read, hbm_written, l2_hit, written), where the last four count whole lines. Rate changes are (time, hbm_read, hbm_written, l2_hit, written) in us and bytes per us.
        """
    def stream(self, name: str, address: typing.SupportsInt | typing.SupportsIndex, bytes: typing.SupportsInt | typing.SupportsIndex, cube: bool, intervals: bool = False, launched: bool = False, offset: typing.SupportsInt | typing.SupportsIndex = 0, length: typing.SupportsInt | typing.SupportsIndex | None = None) -> dict:
        """
        Let all cube cores, or all vector cores, read a part of a tensor, by default all of it, once as a kernel of its own, and return what run returns.
        """
    def touch(self, address: typing.SupportsInt | typing.SupportsIndex, bytes: typing.SupportsInt | typing.SupportsIndex, write: bool, offset: typing.SupportsInt | typing.SupportsIndex = 0, length: typing.SupportsInt | typing.SupportsIndex | None = None) -> None:
        """
        Leave in L2 what reading or writing a part of a tensor, by default all of it, before now would have left there; this takes no time.
        """
    def wait(self, us: typing.SupportsFloat | typing.SupportsIndex) -> None:
        """
        Let `us` pass in which no kernel runs, while the SDMA engine works on.
        """
    @property
    def hbm_rate(self) -> float:
        """
        Return the maximum rate of HBM, in bytes per us.
        """
    @property
    def launch_us(self) -> float:
        """
        Return the time that launch and start of a kernel take, in us.
        """
    @property
    def now(self) -> float:
        """
        Return the time since the sequence began, in us.
        """
    @property
    def sdma_transfers(self) -> list:
        """
        Return (start, end, bytes, hbm_read, l2_hit) of every transfer that the SDMA engine has completed.
        """
def account_prefetch(launches: collections.abc.Sequence[bytes | tuple[str, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]], weights: collections.abc.Sequence[str]) -> dict:
    """
    Account for the bytes of the named weight tensors that cores prefetched in consecutive launches: planned, landed, pending, unused and duplicated (model/prefetch_account.h). A launch is a trace, or (name, address, bytes) of a region that all cube cores together read once.
    """
def describe_trace(trace: bytes) -> dict:
    """
    Return the kernel, the chip and the tensors of a trace; the tensors are (address, bytes) by name.
    """
def dry() -> bool:
    """
    Return whether launches on CPU tensors go through their control flow without moving data.
    """
def error_codes() -> list:
    """
    Return every error code of the twin as (code, summary); a summary is one sentence.
    """
def run_checks() -> list:
    """
    Run the broken and the corrected kernels for every error code of the twin (twin/checks.h). Each result has code, name, line, broken_detected, fixed_clean, report and fixed_report.
    """
def sanitize_mode() -> str:
    """
    Return what launches on CPU tensors are checked for, as set_sanitize_mode takes it.
    """
def schedule_seed() -> int:
    """
    Return the seed of the order in which the cores of a launch run on the twin.
    """
def separate_kernels() -> bool:
    """
    Return whether calls on CPU tensors run an op as separate kernels.
    """
def set_dry(dry: bool) -> None:
    """
    Let launches on CPU tensors go through their control flow without moving data. The results of dry launches are undefined.
    """
def set_mutation(calls: collections.abc.Sequence[tuple[str, str]], weaken: bool = False) -> None:
    """
    Let later launches leave out these calls, each (kind, site), or weaken them, and no others (twin/mutation.h).
    """
def set_npu(device: typing_extensions.CapsuleType | None, folder: str) -> None:
    """
    Let torch.ops.ascend_prefetch_lab run the tensors of this device's type on it, with the device code in this folder. With None no device runs them.
    """
def set_sanitize_mode(mode: str) -> None:
    """
    Set what launches on CPU tensors are checked for: 'off' for the rules of the instructions alone, 'memory' for bytes that are used before they are written as well, 'full' for races too.
    """
def set_schedule_seed(seed: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Set the seed of the order in which the cores of a launch run on the twin. 0 is the fixed order; every other seed has an order of its own.
    """
def set_separate_kernels(separate: bool) -> None:
    """
    Let calls on CPU tensors run an op as separate kernels, or as one.
    """
def set_twin_chip(name: str) -> None:
    """
    Let launches on CPU tensors simulate this SoC. An unknown name raises a ValueError that lists the known ones.
    """
def start_buffer_usage() -> None:
    """
    Record how much of the local buffers later launches use.
    """
def start_call_log() -> None:
    """
    Record every synchronisation call and every rounding that later launches reach.
    """
def start_sdma_log() -> None:
    """
    Keep what ops on CPU tensors give to the SDMA engine, which the twin does not have.
    """
def start_tracing() -> None:
    """
    Record a trace of every later launch.
    """
def take_buffer_usage() -> list:
    """
    Return (kernel, [(buffer, bytes, capacity)]) of every launch since start_buffer_usage; bytes is the maximum that was allocated on one core.
    """
def take_call_log() -> tuple:
    """
    Stop the record of calls and return (calls, weakened, met). calls maps (kind, site) of every recorded call to the site of the instruction before it; weakened has those that set_mutation can weaken; met has the pairs of a set and the wait that it let through.
    """
def take_sdma_log() -> list[tuple[int, int]]:
    """
    Return (address, bytes) of every range since start_sdma_log.
    """
def take_traces() -> list:
    """
    Stop the record of traces and return them serialised (twin/trace_format.h), one for each launch.
    """
def trace_copy(chip: str, rows: typing.SupportsInt | typing.SupportsIndex, row_bytes: typing.SupportsInt | typing.SupportsIndex, tile_rows: typing.SupportsInt | typing.SupportsIndex, tile_bytes: typing.SupportsInt | typing.SupportsIndex, slices: typing.SupportsInt | typing.SupportsIndex, repeats: typing.SupportsInt | typing.SupportsIndex, to_l1: bool, cores: typing.SupportsInt | typing.SupportsIndex = 0) -> bytes:
    """
    Return the trace of a dry run of a kernel that reads a matrix.
    """
def trace_matmul(chip: str, m: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex, k: typing.SupportsInt | typing.SupportsIndex, nz: bool, dtype: str, cores: typing.SupportsInt | typing.SupportsIndex = 0) -> bytes:
    """
    Return the trace of a dry run of C = A x B as a kernel of its own. `dtype` is fp16, bf16 or int8.
    """
def trace_quant_matmul(chip: str, m: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex, k: typing.SupportsInt | typing.SupportsIndex, nz: bool, cores: typing.SupportsInt | typing.SupportsIndex = 0) -> bytes:
    """
    Return the trace of a dry run of an int8 product with its dequantisation to bf16, as a kernel of its own.
    """
def trace_quantise(chip: str, rows: typing.SupportsInt | typing.SupportsIndex, width: typing.SupportsInt | typing.SupportsIndex, bf16: bool, cores: typing.SupportsInt | typing.SupportsIndex = 0) -> bytes:
    """
    Return the trace of a dry run of the dynamic quantisation of a matrix as a kernel of its own.
    """
def twin_chip() -> str:
    """
    Return the name of the SoC that launches on CPU tensors simulate.
    """
def twin_device() -> typing_extensions.CapsuleType:
    """
    Return the twin as a device, for _C.set_host_device.
    """
