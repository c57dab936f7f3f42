"""`python -m muster_worker`."""

import sys

from muster_worker.cli import main

sys.exit(main())
