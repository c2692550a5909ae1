"""Fused Ascend C decode kernels that prefetch the next weights into L2 while HBM idles."""

import torch  # noqa: F401  loads the libraries that _C links against

from ascend_prefetch import _C, effects  # noqa: F401  _C registers torch.ops.ascend_prefetch
from ascend_prefetch.ops import mla_prolog, o_proj, prefetch, prefetch_join, sfa_prolog
from ascend_prefetch.version import __version__

effects.register()

__all__ = ["__version__", "mla_prolog", "o_proj", "prefetch", "prefetch_join", "sfa_prolog"]
