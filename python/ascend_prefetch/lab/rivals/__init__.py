"""Fused prologs of others as structures, replayed in the same timing model as ours."""
