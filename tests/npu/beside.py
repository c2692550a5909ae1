"""Programs with fused ops beside other work, which a test runs in processes of their own.

    python beside.py two_streams
    python beside.py all_reduce RANK PORT        two of them, a device each
    python beside.py broken_kernels FOLDER

Each prints "done" when it is; a deadlock is the test's time running out.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import torch
from device_calls import OPS, DeviceCall, snapshot

from ascend_prefetch import _C
from ascend_prefetch.backend import LIBRARY
from ascend_prefetch.lab import npu
from mla_cases import same_bits

ROUNDS = 300


def two_streams() -> None:
    """Kernels that use all cores and wait for each other's cores, on three streams at once."""
    torch_npu = npu.require()
    calls = [DeviceCall(op, tokens=33) for op in OPS]
    expected = [snapshot(call, call()) for call in calls]
    streams = [torch_npu.npu.Stream() for _ in calls]
    torch_npu.npu.synchronize()
    results = []
    for _ in range(ROUNDS):
        results = []
        for call, stream in zip(calls, streams, strict=True):
            with torch_npu.npu.stream(stream):
                results.append(call())
    torch_npu.npu.synchronize()
    for call, result, wanted in zip(calls, results, expected, strict=True):
        assert all(map(same_bits, snapshot(call, result), wanted))


def all_reduce(rank: str, port: str) -> None:
    """A fused op beside an all-reduce, which runs on vector cores and on a stream of HCCL's own."""
    torch_npu = npu.require()
    torch_npu.npu.set_device(int(rank))
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    torch.distributed.init_process_group("hccl", rank=int(rank), world_size=2)
    calls = [DeviceCall(op, tokens=33) for op in OPS]
    expected = [snapshot(call, call()) for call in calls]
    total = torch.ones(1 << 20, device="npu")
    for _ in range(ROUNDS):
        total.fill_(1)
        work = torch.distributed.all_reduce(total, async_op=True)
        results = [call() for call in calls]
        work.wait()
    torch_npu.npu.synchronize()
    assert bool((total == 2).all())
    for call, result, wanted in zip(calls, results, expected, strict=True):
        assert all(map(same_bits, snapshot(call, result), wanted))
    torch.distributed.destroy_process_group()


def broken_kernels(folder: str) -> None:
    """The device library with a file of kernels that is none: the first launch cannot work."""
    torch_npu = npu.require()
    copy = Path(shutil.copy(LIBRARY, folder))
    shutil.copytree(LIBRARY.with_name("kernels"), copy.with_name("kernels"))
    for file in copy.with_name("kernels").glob("*.o"):
        file.write_bytes(b"no kernels")
    _C.load_device(str(copy))
    DeviceCall("o_proj", tokens=1)()
    torch_npu.npu.synchronize()


if __name__ == "__main__":
    program, *arguments = sys.argv[1:]
    {f.__name__: f for f in (two_streams, all_reduce, broken_kernels)}[program](*arguments)
    print("done")
