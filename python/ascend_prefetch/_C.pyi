from __future__ import annotations
import collections.abc
import typing
import typing_extensions
__all__: list[str] = ['build_info', 'check_schema', 'chips', 'constants', 'device_chip', 'host_chip', 'load_device', 'loaded_device', 'plan_sdma', 'set_host_device', 'start_plan_log', 'take_plan_log', 'timing_constants', 'unload_device', 'usable_l2_bytes']
def build_info() -> dict:
    """
    How this module was compiled: compiler, C++ standard, assertions.
    """
def check_schema(schema: str) -> None:
    """
    Check that the op of this schema fills its struct of arguments from exactly these arguments, as the import does with the registered ones. ValueError for the first difference, which it names.
    """
def chips() -> list:
    """
    Known chips: name, aic_count, aiv_count, clock_mhz, l2_mib each.
    """
def constants() -> dict:
    """
    Hardware constants: value, unit, class (published, derived, assumed), source.
    """
def device_chip() -> str:
    """
    SoC name of the loaded device, empty without one. RuntimeError, one line, if its chip cannot be used. The first call starts the device's runtime.
    """
def host_chip() -> str:
    """
    SoC name that CPU tensors are planned for.
    """
def load_device(path: str) -> None:
    """
    Load the device of this library: it runs the tensors of its type from now on. RuntimeError, one line, if it cannot be used.
    """
def loaded_device() -> typing_extensions.CapsuleType | None:
    """
    The loaded device (npu/device.h); None without one.
    """
def plan_sdma(chip: str, name: str, bytes: typing.SupportsInt | typing.SupportsIndex, warmed: typing.SupportsInt | typing.SupportsIndex, windows: collections.abc.Sequence[tuple[str, typing.SupportsFloat | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]], constants: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex] = {}) -> list[tuple[int, int, str]]:
    """
    Plan what SDMA fetches of a weight in each window (name, idle us, bytes that pass through L2 before its use): (offset, bytes, reason); see plan/plan_layer.h.
    """
def set_host_device(device: typing_extensions.CapsuleType) -> None:
    """
    Let this device (npu/device.h) run CPU tensors while no loaded device does.
    """
def start_plan_log(only_plans: bool = False) -> None:
    """
    Keep what the planner decides for every op from now on. With only_plans, calls on CPU tensors launch nothing.
    """
def take_plan_log() -> list:
    """
    Stop the log and return (op, expected us, decisions) of every op since its start; a decision is (weight, window, idle us, bytes, reason).
    """
def timing_constants() -> dict:
    """
    Constants of planner and timing model: low, nominal, high, unit, class, source each.
    """
def unload_device() -> None:
    """
    Forget the loaded device: the host's device runs CPU tensors again, and tensors of other types have no backend.
    """
def usable_l2_bytes(chip: str) -> int:
    """
    Bytes of L2 beyond which a prefetch evicts what it has brought.
    """
