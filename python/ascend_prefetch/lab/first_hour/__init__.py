"""Everything to run in the first hour on a device: named steps, what they settle, and a report."""

from .report import summarise, write_report
from .run import Outcome, run_steps
from .steps import Step, first_hour_steps

__all__ = ["Outcome", "Step", "first_hour_steps", "run_steps", "summarise", "write_report"]
