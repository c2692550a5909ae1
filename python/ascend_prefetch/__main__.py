"""python -m ascend_prefetch: see ascend_prefetch.cli."""

import sys

from ascend_prefetch.cli import main

sys.exit(main())
