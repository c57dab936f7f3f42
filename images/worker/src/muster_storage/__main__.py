"""`python -m muster_storage`."""

import sys

from muster_storage.cli import main

if __name__ == "__main__":
    sys.exit(main())
