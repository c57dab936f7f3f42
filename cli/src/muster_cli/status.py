"""Tables of the fleets in a namespace."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

Row = tuple[str, str, str, str, str, str]


StoreRow = tuple[str, str, str, str, str, str]


def table(pools: Mapping[str, Any], coordinators: Mapping[str, Any]) -> Table:
    """One row for each ProverPool and each Coordinator's own pool of kubectl lists."""
    shown = Table("POOL", "READY", "WORKERS", "QUEUE", "COORDINATOR", "WHY", box=None)
    for row in rows(pools, coordinators):
        shown.add_row(*row)
    return shown


def rows(pools: Mapping[str, Any], coordinators: Mapping[str, Any]) -> Iterator[Row]:
    """Name, readiness, workers, unfinished tasks, Coordinator, and what there is to say."""
    for pool in pools["items"]:
        status = pool.get("status", {})
        ready = condition(status, "Ready")
        yield _row(pool["metadata"]["name"], status, ready, status.get("coordinator", ""))
    for coordinator in coordinators["items"]:
        name, status = coordinator["metadata"]["name"], coordinator.get("status", {})
        ready = condition(status, "WorkerPoolsReady")
        for pool in status.get("workerPools", []):
            yield _row(pool["name"], pool, ready, name)


def _row(name: str, numbers: Mapping[str, Any], ready: Mapping[str, Any], coordinator: str) -> Row:
    queue = numbers.get("queue", {})
    unfinished = sum(queue.get(state, 0) for state in ("pending", "assigned", "inProgress"))
    return (
        name,
        ready.get("status", "Unknown"),
        str(numbers.get("readyReplicas", 0)),
        str(unfinished),
        coordinator,
        ready.get("message", ""),
    )


def store_table(stores: Mapping[str, Any]) -> Table:
    """One row for each KVCluster of a kubectl list."""
    shown = Table("STORE", "READY", "NODES", "LACKING", "HINTS", "WHY", box=None)
    for row in store_rows(stores):
        shown.add_row(*row)
    return shown


def store_rows(stores: Mapping[str, Any]) -> Iterator[StoreRow]:
    """Name, readiness, ready nodes, ranges that lack a replica, hints, and what there is to say.

    What coordinators have not told yet is a question mark.
    """
    for store in stores["items"]:
        status = store.get("status", {})
        ready = condition(status, "Ready")
        yield (
            store["metadata"]["name"],
            ready.get("status", "Unknown"),
            str(status.get("readyReplicas", 0)),
            str(status.get("rangesUnderReplicated", "?")),
            str(status.get("hintsWaiting", "?")),
            ready.get("message", ""),
        )


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of a type, or an empty mapping."""
    for found in status.get("conditions", []):
        if found["type"] == kind:
            return dict(found)
    return {}
