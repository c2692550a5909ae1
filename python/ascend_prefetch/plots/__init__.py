"""Pictures, drawn with matplotlib, which is the extra `plots`."""

from .correlation import draw_correlation
from .timeline import draw_timeline

__all__ = ["draw_correlation", "draw_timeline"]
