"""The laboratory: everything that proves the ops, and that serving with them does not need.

twin       the host twin that runs the ops on CPU tensors, and its settings
reference  the ops' mathematics in torch, in float64 and bit by bit for W8A8
bench      cases of every op, modelled and measured
timing     the timing model: chips, points, replays of traces
sanitize   broken kernels that the twin must detect, and mutants
plots, cli pictures and the command line
"""
