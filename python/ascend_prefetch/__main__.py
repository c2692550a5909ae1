"""python -m ascend_prefetch: see ascend_prefetch.lab.cli."""

import importlib.util
import sys

if importlib.util.find_spec("ascend_prefetch.lab") is None:
    sys.exit("ascend_prefetch: this installation has no laboratory, and so no command line")

try:
    from ascend_prefetch.lab.cli import main
except Exception:
    # A broken torch or module: the report about it has to run all the same.
    if sys.argv[1:2] != ["collect-env"]:
        raise
    from ascend_prefetch.lab import environment

    sys.exit(environment.main(sys.argv[2:]))

sys.exit(main())
