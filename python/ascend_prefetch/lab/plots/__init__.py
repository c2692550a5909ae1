"""Pictures, drawn with matplotlib, which the extra `plots` installs."""

from .correlation import draw_correlation
from .sweep import draw_sweep
from .timeline import draw_timeline

__all__ = ["draw_correlation", "draw_sweep", "draw_timeline"]
