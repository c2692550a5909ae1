"""python -m ascend_prefetch: see ascend_prefetch.lab.cli."""

import importlib.util
import sys

if importlib.util.find_spec("ascend_prefetch._lab") is None:
    sys.exit("ascend_prefetch: this installation has no laboratory, and so no command line")

from ascend_prefetch.lab.cli import main

sys.exit(main())
