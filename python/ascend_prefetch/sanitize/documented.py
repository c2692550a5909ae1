"""Calls that their document asks for although the twin sees nothing change without them."""

DOCUMENTED: dict[str, str] = {}
"""Kind of a mutant (Mutant.kind) -> page of the Ascend C documentation that asks for the call."""
