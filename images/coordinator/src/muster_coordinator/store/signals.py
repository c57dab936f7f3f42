"""The channels on which changes of the queue are told."""

WORK = "muster_work"
"""There may be something to assign; with `WORKERS`, as workers are others than before."""

WORKERS = "workers"

ASSIGNED = "muster_assigned"
"""Something was assigned to the worker in the payload."""

DONE = "muster_done"
"""The workloads in the payload, separated by spaces, ended; or they changed, and are watched."""

ORDERS = "muster_orders"
"""The worker in the payload should be told something of what it runs, or of itself."""

KEYS = "muster_keys"
"""A key was added."""
