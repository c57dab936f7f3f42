"""What a workload type of Muster is written with; it needs nothing but Python.

A workload type is a class derived from `Workload`, and an entry point of the group
`muster.workloads` that names it. A worker that has its package installed, and lists the type in
`worker.workloads`, executes it.
"""

from muster_sdk.errors import Failed, InvalidInput, Stopped
from muster_sdk.fields import Fields
from muster_sdk.wish import Wish
from muster_sdk.workload import ENTRY_POINTS, Context, Environment, Level, Task, Workload

__all__ = [
    "ENTRY_POINTS",
    "Context",
    "Environment",
    "Failed",
    "Fields",
    "InvalidInput",
    "Level",
    "Stopped",
    "Task",
    "Wish",
    "Workload",
]
