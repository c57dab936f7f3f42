"""`python -m muster_kv_coordinator` is `muster-kv-coordinator`."""

import sys

from muster_kv_coordinator.cli import main

sys.exit(main())
