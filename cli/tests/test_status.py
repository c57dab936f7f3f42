"""What `kubectl muster status` shows."""

from typing import Any

from muster_cli.status import rows, store_rows, store_table, table


def named(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": status}


def says(kind: str, status: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "message": message}


POOLS = {
    "items": [
        named(
            "demo",
            conditions=[says("Ready", "True", "2 of 2 workers are ready")],
            readyReplicas=2,
            queue={"pending": 3, "assigned": 1, "inProgress": 2, "oldestPendingSeconds": 9},
            coordinator="demo",
        ),
        {"metadata": {"name": "new"}},
    ]
}
COORDINATORS = {
    "items": [
        named("demo", conditions=[says("Ready", "True", "fine")]),
        named(
            "work",
            conditions=[says("WorkerPoolsReady", "False", "0 of 1 workers of pool a are ready")],
            workerPools=[{"name": "a", "readyReplicas": 0, "queue": {"pending": 7}}],
        ),
    ]
}


STORES = {
    "items": [
        named(
            "store",
            conditions=[says("Ready", "True", "3 of 3 storage nodes are ready")],
            readyReplicas=3,
            rangesUnderReplicated=0,
            hintsWaiting=12,
        ),
        {"metadata": {"name": "new"}},
    ]
}


def test_every_pool_of_workers_has_a_row() -> None:
    assert list(rows(POOLS, COORDINATORS)) == [
        ("demo", "True", "2", "6", "demo", "2 of 2 workers are ready"),
        ("new", "Unknown", "0", "0", "", ""),
        ("a", "False", "0", "7", "work", "0 of 1 workers of pool a are ready"),
    ]


def test_the_table_has_them_all() -> None:
    assert table(POOLS, COORDINATORS).row_count == 3


def test_every_store_has_a_row() -> None:
    assert list(store_rows(STORES)) == [
        ("store", "True", "3", "0", "12", "3 of 3 storage nodes are ready"),
        ("new", "Unknown", "0", "?", "?", ""),
    ]
    assert store_table(STORES).row_count == 2
