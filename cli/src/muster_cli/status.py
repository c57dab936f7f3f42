"""A table of the fleets in a namespace."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def table(pools: Mapping[str, Any]) -> Table:
    """One row for each ProverPool of a kubectl list."""
    shown = Table("POOL", "READY", "WORKERS", "QUEUE", "COORDINATOR", "WHY", box=None)
    for pool in pools["items"]:
        status = pool.get("status", {})
        ready = condition(status, "Ready")
        queue = status.get("queue", {})
        shown.add_row(
            pool["metadata"]["name"],
            ready.get("status", "Unknown"),
            str(status.get("readyReplicas", 0)),
            str(sum(queue.get(state, 0) for state in ("pending", "assigned", "inProgress"))),
            status.get("coordinator", ""),
            ready.get("message", ""),
        )
    return shown


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of a type, or an empty mapping."""
    for found in status.get("conditions", []):
        if found["type"] == kind:
            return dict(found)
    return {}
