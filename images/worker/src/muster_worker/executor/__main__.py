"""`python -m muster_worker.executor`, started by a worker only."""

import sys

from muster_worker.executor.child import main

main(sys.argv[1:])
