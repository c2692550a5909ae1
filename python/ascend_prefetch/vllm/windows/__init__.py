"""Prefetches in the windows between kernels: attention, collectives, the combine of experts.

running knows where the model is, hooks tell it of upstream's collectives, layer_windows says what a
layer fetches in each window, plan how much of it.
"""
