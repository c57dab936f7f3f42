"""Which worker pods a scale-down should rather keep; pure.

The ReplicaSet controller removes the pods with the lowest `pod-deletion-cost` first.
"""

from collections.abc import Iterable, Mapping

from muster_operator import naming
from muster_operator.resources import Manifest


def changed_costs(pods: Iterable[Manifest], loads: Mapping[str, int]) -> dict[str, str]:
    """The new cost of each pod whose cost has changed: its number of tasks."""
    changed = {}
    for pod in pods:
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            continue
        cost = str(loads.get(metadata["name"], 0))
        if (metadata.get("annotations") or {}).get(naming.DELETION_COST, "0") != cost:
            changed[metadata["name"]] = cost
    return changed
