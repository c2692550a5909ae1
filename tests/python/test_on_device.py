"""What stands between tests of the ops and a device: with the CPU in the place of the device."""

from types import SimpleNamespace

import pytest
import torch

import devices
from ascend_prefetch import ops
from ascend_prefetch.lab import npu
from mla_cases import MlaCase, MlaInputs, run, same_bits
from o_proj_cases import OProjCase, OProjInputs
from o_proj_cases import run as run_o_proj
from on_device import OnDevice

CPU = torch.device("cpu")


def test_runs_of_cases_go_through_it():
    """The same results, caches with holes and skipped rows included; each call is counted."""
    mla = MlaInputs(MlaCase(9, hidden=64, q_lora=64, kv_lora=64, heads=2, skip=0.3, cache_gap=16))
    o_proj = OProjInputs(OProjCase(9, hidden=64, heads=2, kv_lora=64))
    expected = run(mla), run_o_proj(o_proj)
    with OnDevice(CPU) as mode:
        run(mla).assert_same(expected[0])
        assert same_bits(run_o_proj(o_proj), expected[1])
        ops.o_proj(o_proj.nd["attn_output"].flatten(1), torch.ones(16, 128).bfloat16())
    assert mode.calls == 3


class Spy(torch.utils._python_dispatch.TorchDispatchMode):
    """Sees the calls that OnDevice makes; writes a byte where it was told to."""

    def __init__(self, write=None):
        super().__init__()
        self.write, self.tensors = write, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "ascend_prefetch":
            names = [argument.name for argument in func._schema.arguments]
            self.tensors = dict(zip(names, args, strict=False)) | (kwargs or {})
            if self.write is not None:
                self.write(self.tensors)
        return func(*args, **(kwargs or {}))


def test_tensors_keep_their_layout_and_what_they_share():
    storage = torch.randn(4096).bfloat16()
    attn_output, weight = storage[3:131].view(2, 64), storage[200:1224].view(16, 64)
    spy = Spy()
    with spy, OnDevice(CPU):
        ops.o_proj(attn_output, weight, prefetch=[storage[2000:3000]])
    there = [spy.tensors["attn_output"], spy.tensors["o_proj_weight"], *spy.tensors["prefetch"]]
    here = [attn_output, weight, storage[2000:3000]]
    assert len({tensor.untyped_storage().data_ptr() for tensor in there}) == 1
    for moved, tensor in zip(there, here, strict=True):
        assert moved.data_ptr() - there[0].data_ptr() == tensor.data_ptr() - here[0].data_ptr()
        assert moved.data_ptr() != tensor.data_ptr()
        assert moved.stride() == tensor.stride()
        assert same_bits(moved, tensor)


def test_a_write_beside_an_argument_comes_back():
    """What a kernel writes where it must not is seen by the test that looks there."""
    inputs = MlaInputs(MlaCase(2, hidden=64, q_lora=64, kv_lora=64, heads=1, cache_gap=16))

    def write_behind_a_block(tensors):
        cache = tensors["kv_cache"]
        cache.as_strided((16,), (1,), cache.storage_offset() + cache.shape[1] * 64).zero_()

    with Spy(write_behind_a_block), OnDevice(CPU), pytest.raises(AssertionError):
        run(inputs)
    with Spy(lambda tensors: tensors["w_uk"].zero_()), OnDevice(CPU):
        with pytest.raises(AssertionError, match="w_uk changed"):
            run(inputs)


def test_errors_are_the_ops_own():
    with OnDevice(CPU), pytest.raises(RuntimeError, match="argument 'o_proj_weight': expected"):
        ops.o_proj(torch.ones(1, 16).bfloat16(), torch.ones(16, 16))


# --- which devices there are ---


def test_no_device_is_a_skip(tmp_path):
    (tmp_path / "davinci_manager").touch()  # the driver's, without a device
    status = npu.status(tmp_path)
    assert status == npu.NpuStatus((), f"there is no {tmp_path}/davinci*")
    with pytest.raises(pytest.skip.Exception, match=f"^no NPU: there is no {tmp_path}/davinci"):
        devices.usable_npu(status)


def test_a_device_that_cannot_be_used_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / "davinci3").touch()
    monkeypatch.setattr(npu, "_backend_missing", lambda: "torch_npu cannot be imported")
    status = npu.status(tmp_path)
    assert status.visible == (f"{tmp_path}/davinci3",)
    assert status.missing == f"there is {tmp_path}/davinci3, but torch_npu cannot be imported"
    with pytest.raises(pytest.fail.Exception, match="^no NPU: .*davinci3, but torch_npu cannot"):
        devices.usable_npu(status)
    monkeypatch.setattr(npu, "status", lambda: status)
    with pytest.raises(RuntimeError, match="^no NPU: .*davinci3, but torch_npu cannot"):
        npu.require()


@pytest.mark.parametrize(("markers", "names"), [([], ["cpu", "npu"]), (["twin"], ["cpu"])])
def test_tests_of_the_ops_come_for_both_devices(markers, names):
    parameters = []
    metafunc = SimpleNamespace(
        fixturenames=["device"],
        definition=SimpleNamespace(get_closest_marker=lambda name: name in markers or None),
        parametrize=lambda name, values, **options: parameters.extend(values),
    )
    devices.pytest_generate_tests(metafunc)
    cpu, *others = parameters
    assert [cpu, *(other.values[0] for other in others)] == names
    assert all([mark.name for mark in other.marks] == ["npu"] for other in others)


@pytest.mark.parametrize(("markexpr", "left"), [("", ["cpu"]), ("npu", ["cpu", "npu"])])
def test_without_a_device_they_are_left_out_unless_asked_for(markexpr, left, monkeypatch):
    monkeypatch.setattr(npu, "status", lambda: npu.NpuStatus((), "there is none"))
    told = []
    config = SimpleNamespace(
        option=SimpleNamespace(markexpr=markexpr),
        hook=SimpleNamespace(pytest_deselected=lambda items: told.extend(items)),
    )
    items = [Item("cpu", []), Item("npu", ["npu"])]
    devices.pytest_collection_modifyitems(config, items)
    assert [item.name for item in items] == left
    assert [item.name for item in told] == [name for name in ["cpu", "npu"] if name not in left]
    assert devices.pytest_report_header() == "no NPU: there is none"


class Item:
    fixturenames = ("device",)

    def __init__(self, name, markers):
        self.name, self.markers = name, markers

    def get_closest_marker(self, name):
        return name if name in self.markers else None
