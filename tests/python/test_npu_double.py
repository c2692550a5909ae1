"""Ops all the way to ACL, on its test double: launches, plans by value, SDMA, errors."""

import struct
import subprocess
import sys

import pytest
import torch

from acl_double import LIBRARY, acl_double
from ascend_prefetch import _C, backend, ops, packing
from ascend_prefetch.lab import twin
from mla_cases import MlaCase, MlaInputs
from o_proj_cases import OProjCase, OProjInputs

BF16 = torch.bfloat16


@pytest.fixture
def double():
    with acl_double() as device:
        yield device


def fields(data, count):
    """The first 64-bit fields of a struct."""
    return struct.unpack_from(f"<{count}Q", data)


def mla_arguments(**options):
    inputs = MlaInputs(MlaCase(tokens=4, **options))
    arguments = dict(inputs.arguments)
    for name, cache in zip(["kv_cache", "rope_cache"], inputs.poisoned_caches(), strict=True):
        arguments[name] = cache.tensor
    return arguments


def o_proj_arguments(**options):
    return dict(OProjInputs(OProjCase(4, **options)).arguments)


# --- launches ---


def test_o_proj(double):
    arguments = o_proj_arguments()
    out = ops.o_proj(**arguments)
    assert double.calls() == ["launch o_proj_bf16 on main"]
    addresses, plan, warm = double.arguments()
    assert (len(addresses), len(plan), len(warm)) == (80, 320, 168)
    assert fields(addresses, 3) == (
        arguments["attn_output"].data_ptr(),
        arguments["w_uv"].data_ptr(),
        arguments["o_proj_weight"].data_ptr(),
    )
    assert fields(addresses[64:], 1) == (out.data_ptr(),)
    assert struct.unpack_from("<2I", plan) == (4, 1)
    assert double.block_count == 24
    assert double.scheduling_mode == 1


@pytest.mark.parametrize("dtype", [BF16, torch.float16])
def test_mla_prolog(double, dtype):
    arguments = mla_arguments(dtype=dtype)
    ops.mla_prolog(**arguments)
    assert double.calls() == [f"launch mla_prolog_{'bf16' if dtype == BF16 else 'fp16'} on main"]
    addresses, plan, warm = double.arguments()
    assert (len(addresses), len(plan), len(warm)) == (312, 1696, 208)
    assert fields(addresses, 2) == (
        arguments["hidden_states"].data_ptr(),
        arguments["qkv_a_weight"].data_ptr(),
    )
    assert (double.block_count, double.scheduling_mode) == (24, 1)


def test_prefetch(double):
    weights = [torch.ones(1000), torch.ones(64)]
    ops.prefetch(weights, cores=5)
    assert double.calls() == ["launch prefetch on main"]
    assert (double.block_count, double.scheduling_mode) == (5, 0)
    ops.prefetch(weights)
    assert double.block_count == 48


def test_slots_are_not_read(double):
    """That would wait for the device; the kernel skips what upstream skips."""
    arguments = mla_arguments()
    arguments["slot_mapping"] = torch.full_like(arguments["slot_mapping"], 1 << 20)
    ops.mla_prolog(**arguments)
    assert double.calls() == ["launch mla_prolog_bf16 on main"]


def test_the_same_call_has_the_same_plan(double):
    """Nothing of a launch lives on the device, so that a captured one is good for any replay."""
    arguments = o_proj_arguments() | {"prefetch": [torch.ones(1000)]}
    ops.o_proj(**arguments)
    first = double.arguments()[1:]
    ops.o_proj(**o_proj_arguments(hidden=1024))
    assert double.arguments()[1] != first[0]
    ops.o_proj(**arguments)
    assert double.arguments()[1:] == first


def test_a_hint_changes_what_is_warmed_alone(double):
    """The plan of the shape, its second argument, is kept from call to call."""
    weight = torch.empty(1 << 20, dtype=torch.uint8)
    for op, arguments in ((ops.o_proj, o_proj_arguments()), (ops.mla_prolog, mla_arguments())):
        plans = []
        for passing in (0, 140_000_000, 1 << 40):
            op(**arguments, prefetch=[weight], prefetch_passing_bytes=[passing])
            plans.append(double.arguments()[1:])
        assert len({plan for plan, _ in plans}) == 1
        warms = [warm for _, warm in plans]
        assert len(set(warms)) == 3
        regions = [struct.unpack_from("<I", warm, 8)[0] for warm in warms]
        assert regions == [1, 1, 0]
        sizes = [struct.unpack_from("<2Q", warm, 16) for warm in warms]
        # 0.7 of the 192 MiB of L2 less what passes, in blocks of 32 bytes.
        room = (int(0.7 * (192 << 20)) - 140_000_000) // 32 * 32
        assert sizes == [(weight.data_ptr(), 1 << 20), (weight.data_ptr(), room), (0, 0)]


def test_tensors_go_back_to_the_twin():
    arguments = o_proj_arguments()
    with acl_double() as device:
        ops.o_proj(**arguments)
        assert len(device.calls()) == 1
    with twin.tracing() as traces:
        ops.o_proj(**arguments)
    assert len(traces) == 1
    assert len(device.calls()) == 1


# --- weights whose storage is FRACTAL_NZ ---


@pytest.mark.parametrize("up_project", [True, False])
def test_stored_nz(double, up_project):
    """The plan is that of a weight packed by hand; the shape stays the matrix's."""
    arguments = o_proj_arguments(up_project=up_project)
    packed = dict(arguments, o_proj_weight=packing.nd_to_nz(arguments["o_proj_weight"]))
    if up_project:
        packed["w_uv"] = packing.nd_to_nz(arguments["w_uv"])
    ops.o_proj(**packed)
    expected = double.arguments()[1]
    ops.o_proj(**arguments)
    assert double.arguments()[1] != expected
    double.set_stored_nz(True)
    ops.o_proj(**arguments)
    assert double.arguments()[1] == expected


def test_stored_nz_of_the_prolog(double):
    arguments = mla_arguments()
    packed = dict(arguments)
    for name in ("qkv_a_weight", "q_b_weight", "w_uk"):
        packed[name] = packing.nd_to_nz(arguments[name])
    ops.mla_prolog(**packed)
    expected = double.arguments()[1]
    double.set_stored_nz(True)
    ops.mla_prolog(**arguments)
    assert double.arguments()[1] == expected


# --- the copy engine ---


def test_copy_engine(double):
    first, second = torch.ones(1000), torch.ones(64)
    ops.prefetch([first, second], offsets=[400, 0], max_bytes=[512, 64], engine="sdma")
    calls = double.calls()
    event = calls[0].split()[2]
    assert calls == [
        f"record event {event} on main",
        f"wait for event {event} on side",
        f"prefetch {first.data_ptr() + 400}+512 on side",
        f"prefetch {second.data_ptr()}+64 on side",
    ]
    ops.prefetch_join()
    join = double.calls()[4:]
    event = join[0].split()[2]
    assert join == [f"record event {event} on side", f"wait for event {event} on main"]
    ops.prefetch_join()
    assert len(double.calls()) == 6


def test_a_join_without_a_prefetch(double):
    ops.prefetch_join()
    assert double.calls() == []


# --- errors ---


@pytest.mark.parametrize(
    "function", ["aclrtLaunchKernelWithConfig", "aclrtKernelArgsAppend", "aclrtKernelArgsInit"]
)
def test_errors_of_acl(double, function):
    double.fail_next(function, 507015, "EZ9999: the device is gone\nand more")
    message = f"^ascend_prefetch: {function} failed with 507015: EZ9999: the device is gone"
    with pytest.raises(RuntimeError, match=message):
        ops.o_proj(**o_proj_arguments())


def test_arguments_are_checked_before_anything_is_launched(double):
    arguments = o_proj_arguments()
    arguments["attn_output"] = arguments["attn_output"].float()
    with pytest.raises(RuntimeError, match="ascend_prefetch::o_proj: argument 'attn_output'"):
        ops.o_proj(**arguments)
    assert double.calls() == []


def test_a_library_that_is_none(tmp_path):
    missing = tmp_path / "missing.so"
    with pytest.raises(RuntimeError, match="missing.so: cannot open shared object file"):
        _C.load_device(str(missing))
    with pytest.raises(RuntimeError, match="holds no device of ascend_prefetch"):
        _C.load_device("libm.so.6")


# --- import ---


class TorchNpu:
    def __init__(self, version):
        self.__version__ = version


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setattr(backend, "LIBRARY", tmp_path / "_C_npu.so")
    monkeypatch.setattr(backend, "_npu", backend._npu)
    backend.load()
    npu = backend.backends()["npu"]
    assert not npu.available
    assert "build with ASCEND_HOME_PATH set" in npu.detail


def test_without_torch_npu(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_npu", None)
    assert "torch_npu cannot be imported" in backend._load(LIBRARY)


def test_torch_npu_of_another_release(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_npu", TorchNpu("2.9.0"))
    message = f"torch_npu 2.9.0 does not go with torch {torch.__version__}; install"
    with pytest.raises(ImportError) as raised:
        backend._load(LIBRARY)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_with_torch_npu(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_npu", TorchNpu(torch.__version__.split("+")[0]))
    try:
        assert backend._load(LIBRARY) is None
    finally:
        _C.unload_device()


def test_plans_are_for_the_npu_where_there_is_one(double):
    with twin.chip("Ascend910B3"):
        assert backend.chip() == "Ascend910_9391"
    _C.unload_device()
    with twin.chip("Ascend910B3"):
        assert backend.chip() == "Ascend910B3"


def test_a_chip_that_cannot_be_used(monkeypatch):
    """Importing asks for no chip; who asks is told in one line."""

    def unknown():
        raise RuntimeError("ascend_prefetch: unknown SoC 'X'; there are plans for Y\nmore")

    monkeypatch.setattr(backend, "_npu", backend.Backend(True, "NPU tensors"))
    monkeypatch.setattr(_C, "device_chip", unknown)
    reason = "ascend_prefetch: unknown SoC 'X'; there are plans for Y"
    assert backend.backends()["npu"] == backend.Backend(False, reason)
    monkeypatch.setattr(_C, "device_chip", lambda: "Ascend910B3")
    assert backend.backends()["npu"] == backend.Backend(True, "NPU tensors, Ascend910B3")


def test_a_device_that_cannot_be_used(monkeypatch, tmp_path):
    """Importing goes on, and says in one line why."""
    monkeypatch.setitem(sys.modules, "torch_npu", TorchNpu(torch.__version__))
    library = tmp_path / "_C_npu.so"
    library.write_text("no library" * 100)
    with pytest.warns(RuntimeWarning, match="NPU tensors cannot be used: .*invalid ELF header"):
        assert "invalid ELF header" in backend._load(library)


def test_a_library_of_another_torch_npu(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch_npu", TorchNpu(torch.__version__))
    source, library = tmp_path / "other.cpp", tmp_path / "_C_npu.so"
    source.write_text("int gone(); int here = gone();")
    subprocess.run(["c++", "-shared", "-fPIC", "-o", library, source], check=True)
    with pytest.raises(ImportError, match="was built for another torch_npu or CANN.*; build it"):
        backend._load(library)
