from __future__ import annotations
import collections.abc
import typing
import typing_extensions
__all__: list[str] = ['EngineCost', 'LayerPart', 'Window', 'build_info', 'check_schema', 'chips', 'constants', 'device_chip', 'engine_cost', 'host_chip', 'l2_room', 'load_device', 'loaded_device', 'plan_sdma', 'plan_windows', 'set_host_device', 'slowed_shares', 'start_plan_log', 'take_plan_log', 'timing_constants', 'unload_device']
class Window:
    """
    A time before the use of a weight in which HBM has less to do than it could; see plan/window.h.
    """
    def __init__(self, name: str, us: tuple[typing.SupportsFloat | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex], passing_bytes: typing.SupportsInt | typing.SupportsIndex | None, begins: str = '', ends: str = '', vector_cores: bool = False, cube_cores: bool = False) -> None:
        """
        us: for how long HBM idles, short, nominal and long. passing_bytes: bytes that pass through L2 until the use of what the window brings; None if unknown. begins, ends: what is complete then. vector_cores, cube_cores: whether it leaves them idle.
        """
    @property
    def begins(self) -> str:
        """
        What is complete when it begins.
        """
    @property
    def cube_cores(self) -> bool:
        """
        Whether it leaves cube cores idle.
        """
    @property
    def ends(self) -> str:
        """
        What is complete, or starts, when it ends.
        """
    @property
    def name(self) -> str:
        """
        For reports.
        """
    @property
    def passing_bytes(self) -> int | None:
        """
        None where they are unknown.
        """
    @property
    def us(self) -> tuple[float, float, float]:
        """
        Short, nominal and long, us.
        """
    @property
    def vector_cores(self) -> bool:
        """
        Whether it leaves vector cores idle.
        """
class LayerPart:
    """
    What runs in a layer; see plan/plan_windows.h.
    """
    def __init__(self, name: str, passing_bytes: typing.SupportsInt | typing.SupportsIndex | None, reads: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [], window: Window | None = None) -> None:
        """
        passing_bytes: bytes that pass through L2 while it runs, without those of the weights that it reads; None if unknown. reads: indices of these weights. window: where it leaves HBM idle.
        """
    @property
    def name(self) -> str:
        """
        For reports.
        """
    @property
    def passing_bytes(self) -> int | None:
        """
        None where they are unknown.
        """
    @property
    def reads(self) -> list[int]:
        """
        Indices of the weights that it reads.
        """
    @property
    def window(self) -> Window | None:
        """
        None where it leaves HBM no time.
        """
class EngineCost:
    """
    What an engine costs in a window; see plan/prefetch_engine.h.
    """
    def busy_us(self, bytes: typing.SupportsInt | typing.SupportsIndex) -> float:
        """
        Return for how long it moves so many bytes, us.
        """
    def expected_spike_us(self, slack_us: typing.SupportsFloat | typing.SupportsIndex) -> float:
        """
        Return by how many us spikes hold up a join that has slack_us to spare; expected.
        """
    @property
    def join_us(self) -> float:
        """
        Of the join, us.
        """
    @property
    def rate(self) -> float:
        """
        Bytes per us.
        """
    @property
    def slowing(self) -> float:
        """
        Share of the slowdown of a kernel beside it (slowed_shares).
        """
    @property
    def spike_share(self) -> float:
        """
        Share of such rounds.
        """
    @property
    def spike_us(self) -> float:
        """
        By which some rounds take longer, us.
        """
    @property
    def start_us(self) -> float:
        """
        Until the first byte, us.
        """
def build_info() -> dict:
    """
    Return how this module was compiled: compiler, C++ standard and whether it has assertions.
    """
def check_schema(schema: str) -> None:
    """
    Check that the op of this schema fills its struct of arguments from exactly these arguments, as the import does with the registered ones. ValueError for the first difference, which it names.
    """
def chips() -> list:
    """
    Return the known chips, each with name, aic_count, aiv_count, clock_mhz and l2_mib.
    """
def constants() -> dict:
    """
    Return the hardware constants, each with value, unit, class (published, derived or assumed) and source.
    """
def device_chip() -> str:
    """
    Return the SoC name of the loaded device; it is empty without one. A chip that cannot be used raises a RuntimeError of one line. The first call starts the device's runtime.
    """
def engine_cost(chip: str, engine: str, level: str = 'nominal', constants: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex] = {}) -> EngineCost:
    """
    Return what an engine costs that prefetches in a window.
    """
def host_chip() -> str:
    """
    Return the name of the SoC that CPU tensors are planned for.
    """
def l2_room(chip: str, passing_bytes: typing.SupportsInt | typing.SupportsIndex | None, in_flight_bytes: typing.SupportsInt | typing.SupportsIndex = 0) -> int:
    """
    Return the bytes that may be prefetched beside those in flight, where passing_bytes pass through L2 before they are used. None, unknown, counts as all of L2. This is rule 1 of the planner.
    """
def load_device(path: str) -> None:
    """
    Load the device of this library, which from now on runs the tensors of its type. A library that cannot be used raises a RuntimeError of one line.
    """
def loaded_device() -> typing_extensions.CapsuleType | None:
    """
    Return the loaded device (npu/device.h), or None without one.
    """
def plan_sdma(chip: str, name: str, bytes: typing.SupportsInt | typing.SupportsIndex, warmed: typing.SupportsInt | typing.SupportsIndex, windows: collections.abc.Sequence[Window], constants: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex] = {}) -> list[tuple[int, int, str]]:
    """
    Plan what the SDMA engine fetches of a weight in each window, at the window's short length, and return (offset, bytes, reason) for each; see plan/plan_layer.h.
    """
def plan_windows(chip: str, parts: collections.abc.Sequence[LayerPart], weights: collections.abc.Sequence[tuple[str, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex]], most_loss_us: typing.SupportsFloat | typing.SupportsIndex, constants: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex] = {}, worst_constants: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex] = {}) -> list:
    """
    Plan what is prefetched in the windows of a layer (plan/plan_windows.h) and return (part, weight, engine, bytes that pass through L2 from the window to the use, or None, offset, bytes, saved us, bound us, reason) of each piece. A weight is (name, bytes, bytes at its start that kernels prefetch, us per MB that its reader gains, and the least that it gains at any constants). The other constants replace those of the table at nominal and high.
    """
def set_host_device(device: typing_extensions.CapsuleType) -> None:
    """
    Let this device (npu/device.h) run CPU tensors while no loaded device does.
    """
def slowed_shares() -> tuple[float, float, float]:
    """
    Return by which share a kernel is slowed down while a prefetch beside it moves bytes, for windows of short, nominal and long length; see plan/plan_windows.h.
    """
def start_plan_log(only_plans: bool = False) -> None:
    """
    Record what the planner decides for every later op. With only_plans, calls on CPU tensors launch nothing.
    """
def take_plan_log() -> list:
    """
    Stop the record of decisions and return (op, expected us, decisions) of every op since its start; a decision is (weight, window, idle us, bytes, reason).
    """
def timing_constants() -> dict:
    """
    Return the constants of the planner and the timing model, each with low, nominal, high, unit, class and source.
    """
def unload_device() -> None:
    """
    Forget the loaded device: the host's device runs CPU tensors again, and tensors of other types have no backend.
    """
