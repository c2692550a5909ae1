"""Where the ops can run."""

from __future__ import annotations

from typing import NamedTuple


class Backend(NamedTuple):
    """A backend of the ops.

    Attributes:
        available: whether calls reach it here.
        detail: what it takes; or in one line why there is none.
    """

    available: bool
    detail: str


def backends() -> dict[str, Backend]:
    """Every backend by name: twin, the device on a host, and npu."""
    return {
        "twin": Backend(True, "host, CPU tensors"),
        "npu": Backend(False, "this build has no device library"),
    }
