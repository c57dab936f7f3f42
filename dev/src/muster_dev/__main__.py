"""Run the tool: ``python3 -m muster_dev``."""

import sys

from muster_dev.cli import main

if __name__ == "__main__":
    sys.exit(main())
