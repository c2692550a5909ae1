"""Mutants that change nothing which anybody could see, each with the reason.

The key is that of sites.Site. A survivor that is not here lacks a test.
"""

EQUIVALENT: dict[str, str] = {}
