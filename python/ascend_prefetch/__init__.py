"""Fused Ascend C decode kernels that prefetch the next weights into L2 while HBM idles."""

import signal
import sys

# True only while `python -m ascend_prefetch` starts, not in a program that imports the package.
_is_command = sys.argv[:1] == ["-m"] and ("-m", __name__) in zip(
    sys.orig_argv, sys.orig_argv[1:], strict=False
)
if _is_command and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    # Ctrl-C during the imports ends the program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

try:
    import torch  # loads the libraries that _C links against

    try:
        from ascend_prefetch import _C  # noqa: F401  registers torch.ops.ascend_prefetch
    except ImportError as error:
        raise ImportError(
            f"ascend_prefetch: no _C that loads with torch {torch.__version__} ({error}); build it "
            "for this torch: `make build` in a checkout, else `pip install --force-reinstall "
            "--no-deps --no-cache-dir --no-binary ascend-prefetch ascend-prefetch`"
        ) from error
    from ascend_prefetch import effects
    from ascend_prefetch.backend import Backend, backends, load
    from ascend_prefetch.ops import mla_prolog, o_proj, prefetch, prefetch_join, sfa_prolog
    from ascend_prefetch.version import __version__

    effects.register()
    load()
except Exception:
    # The report about what is broken has to run where it is.
    if not (_is_command and "collect-env" in sys.orig_argv):
        raise

__all__ = [
    "Backend",
    "__version__",
    "backends",
    "mla_prolog",
    "o_proj",
    "prefetch",
    "prefetch_join",
    "sfa_prolog",
]
