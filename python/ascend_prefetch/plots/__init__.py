"""Pictures, drawn with matplotlib, which is the extra `plots`."""

from .correlation import draw_correlation

__all__ = ["draw_correlation"]
