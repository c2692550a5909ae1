"""The twin as a sanitizer: small runs of every op, and mutations of their synchronisation."""

from .cases import CASES, SanitizeCase
from .mutation import Mutant, mutate
from .run import clean_ops

__all__ = ["CASES", "Mutant", "SanitizeCase", "clean_ops", "mutate"]
