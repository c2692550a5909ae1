import sys

from ascend_prefetch.cli import main

sys.exit(main())
