"""`python -m muster_operator`."""

import sys

from muster_operator.cli import main

if __name__ == "__main__":
    sys.exit(main())
