"""`python -m muster_coordinator` is `muster-coordinator`."""

import sys

from muster_coordinator.cli import main

sys.exit(main())
