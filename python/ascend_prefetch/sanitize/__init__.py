"""The twin as a sanitizer: small runs of every op, and mutations of the kernels."""

from .cases import CASES, SanitizeCase
from .mutation import Mutant, MutationTable, mutate
from .run import clean_ops

__all__ = ["CASES", "Mutant", "MutationTable", "SanitizeCase", "clean_ops", "mutate"]
