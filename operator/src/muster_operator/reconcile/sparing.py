"""Which worker pods a scale-down spares; pure.

The ReplicaSet controller removes the pods with the lowest `pod-deletion-cost` first, and the
autoscaler goes no lower than its `minReplicas`. Together they spare every worker that has a task.
"""

import math
from collections.abc import Iterable, Mapping

from muster_api.workers import Autoscaling
from muster_operator import naming
from muster_operator.resources import Manifest


def changed_costs(
    pods: Iterable[Manifest], loads: Mapping[str, int], concurrency: int
) -> dict[str, str]:
    """The new cost of each pod whose cost has changed: the tasks that it works on.

    Those that only wait in a worker don't count: they are handed back, and come and go quickly.
    """
    changed = {}
    for pod in filter(_stays, pods):
        metadata = pod["metadata"]
        cost = str(min(loads.get(metadata["name"], 0), concurrency))
        if (metadata.get("annotations") or {}).get(naming.DELETION_COST, "0") != cost:
            changed[metadata["name"]] = cost
    return changed


def spared(
    pods: Iterable[Manifest], loads: Mapping[str, int], outstanding: int, limits: Autoscaling
) -> int:
    """How many workers are to be kept because they have tasks.

    Zero where the queue alone asks for as many, so that the number does not change without need.
    """
    busy = sum(1 for pod in filter(_stays, pods) if loads.get(pod["metadata"]["name"], 0) > 0)
    asked_for = math.ceil(outstanding / limits.target_tasks_per_worker)
    return busy if asked_for < busy else 0


def _stays(pod: Manifest) -> bool:
    return "deletionTimestamp" not in pod["metadata"]
