"""Makes the windows of a layer, or says why it has none."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from ascend_prefetch import backend

from .. import neighbours
from ..arguments import LayerArguments
from ..fallback import Unsupported, UpstreamChanged
from ..following import Following
from .attention import AttentionWindow
from .layer_windows import LayerWindows
from .plan import WindowPlanner


class WindowsOfLayer(NamedTuple):
    """The windows of a layer; None where it has none of a kind.

    Attributes:
        attention: of its attention, if that is sparse.
        behind: from its o_proj to the next layer's prolog.
    """

    attention: AttentionWindow | None = None
    behind: LayerWindows | None = None


def windows_of(
    layer: Any, place: neighbours.Place, arguments: LayerArguments, following: Following
) -> WindowsOfLayer:
    """The windows of a fused layer.

    Args:
        layer: the layer.
        place: of the layer.
        arguments: of its ops.
        following: the layer behind it.

    Raises:
        UpstreamChanged: what has to be wrapped is not as it was in any known release.
        Unsupported: windows are off, for the reason that the error names.
        ValueError, OSError: the chip is unknown, or the file of lengths cannot be read.
    """
    settings, config = layer.settings, layer.vllm_config
    if config.parallel_config.use_ubatching:
        raise Unsupported("micro-batches (dbo), whose windows another batch uses")
    seam = layer.family.seam.windows
    broken = seam.install()
    if broken is not None:
        raise UpstreamChanged(broken)
    planner = _planner(backend.chip(), settings.window_lengths)
    ratios = settings.prefetch_ratio
    attention = None
    if layer.family.name == "sfa" and arguments.output is not None and ratios["attn"]["o"] == 1:
        has_indexer = arguments.prolog is not None and bool(arguments.prolog.indexer)
        attention = AttentionWindow(planner, arguments.output, place.number, has_indexer)
    behind = None
    if settings.next_layer and ratios["attn"]["qkv"]:
        behind = LayerWindows(planner, place, following, ratios, config, seam)
    return WindowsOfLayer(attention, behind)


@functools.lru_cache(maxsize=4)
def _planner(chip: str, lengths: str | None) -> WindowPlanner:
    """One for all layers."""
    return WindowPlanner(chip, lengths)
