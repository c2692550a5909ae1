"""Upstream's published serve commands, each run by real layers of its release: see table.py."""

TRACE = "ASCEND_PREFETCH_TRACE"
"""Environment variable: print all that the processes print, errors with their tracebacks."""
