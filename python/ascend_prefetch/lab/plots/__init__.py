"""Pictures, drawn with matplotlib, which the extra `plots` installs."""

from .correlation import draw_correlation
from .served import draw_served
from .sweep import draw_sweep
from .timeline import draw_timeline

__all__ = ["draw_correlation", "draw_served", "draw_sweep", "draw_timeline"]
