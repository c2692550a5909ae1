"""The file of a user's own window lengths, which `python -m ascend_prefetch windows` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ascend_prefetch.files import read_json
from ascend_prefetch.shown import plain, shown

from .lengths import CASES, KnownWindow
from .published import PROFILED, Lengths

KERNELS: dict[str, tuple[str, ...]] = {
    "all_reduce": ("hcom_allReduce_",),
    "all_gather": ("hcom_allGather_",),
    "reduce_scatter": ("hcom_reduceScatter_",),
    "all_to_all": ("hcom_alltoall_", "hcom_alltoallv_"),
    "dispatch": ("MoeDistributeDispatch", "MoeDistributeDispatchV2", "MoeDistributeDispatchV3"),
    "combine": ("MoeDistributeCombine", "MoeDistributeCombineV2", "MoeDistributeCombineV3"),
    "dispatch_ffn_combine": ("DispatchFFNCombine",),
    "indexer": ("LightningIndexer",),
    "sparse_attention": ("SparseFlashAttention",),
    "attention": ("FusedInferAttentionScore",),
    "norm": ("AddRmsNorm", "AddRmsNormBias"),
    "top_k": ("MoeGatingTopK",),
}
"""The op types of each window in a profile of vLLM Ascend (kernel_details.csv)."""

OPTIONAL = ("norm", "top_k")
"""Short kernels that have their published length where a profile does not have them."""

MAX_US = 1e6
"""The longest window that a file may have: a second."""


@dataclass(frozen=True)
class WindowFile:
    """Lengths of windows, from a profile.

    Attributes:
        name: the file, for reports.
        us: by name of KERNELS.
    """

    name: str
    us: Mapping[str, Lengths]

    def measured(self, window: KnownWindow) -> KnownWindow:
        """The window with its length in the profile, whatever its ranks, tokens and bytes.

        Raises:
            ValueError: the profile has no kernel of this window.
        """
        if window.name in self.us:
            us = self.us[window.name]
            source = f"profile {plain(self.name)}"
            return replace(window, us=us, provenance=PROFILED, source=source, extrapolated=False)
        if window.name in OPTIONAL:
            return window
        raise ValueError(
            f"windows: expected {window.name!r} in {plain(self.name)}, as this layer has such a "
            f"window: a profile of it has {' or '.join(KERNELS[window.name])}; got "
            f"{', '.join(self.us)}"
        )


def read_window_file(path: Path) -> WindowFile:
    """Reads a file that the verb `windows` wrote.

    Raises:
        ValueError: the file is not one of these, or its numbers contradict each other; the message
            names file and window.
        OSError: the file cannot be read.
    """
    content = read_json(path)
    table = content.get("windows") if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table:
        raise ValueError(
            f"{path}: expected the lengths of windows, as the verb windows writes them: an object "
            "with the key 'windows'"
        )
    try:
        us = {name: _lengths(name, entry) for name, entry in table.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return WindowFile(path.name, us)


def _lengths(name: str, entry: Any) -> Lengths:
    if name not in KERNELS:
        raise ValueError(f"windows: expected names of {', '.join(KERNELS)}, got {shown(name)}")
    if not isinstance(entry, dict):
        raise ValueError(f"{name}: expected {', '.join(CASES)} in us, got {shown(entry)}")
    found = []
    for case in CASES:
        value: Any = entry.get(case)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value <= MAX_US:
            raise ValueError(
                f"{name}: {case}: expected us, above 0 and at most {MAX_US:g}, got {shown(value)}"
            )
        found.append(float(value))
    if found != sorted(found):
        raise ValueError(
            f"{name}: expected short <= nominal <= long, got "
            f"{' / '.join(f'{value:g}' for value in found)} us"
        )
    return Lengths(*found)
