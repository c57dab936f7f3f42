"""The load test: a hundred places for tasks, a thousand tasks, workers killed and cut off."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from e2e.cluster import Cluster
from e2e.fleet import Fleet, client, fixed
from e2e.partition import Partition
from muster_testing.waiting import eventually

pytestmark = pytest.mark.e2e

TASKS = 1000
WORKERS = 25
PLACES_EACH = 4
KILLED_AT_ONCE = 3
CUT_OFF = 5

COORDINATOR: dict[str, Any] = {
    "apiVersion": "muster.dev/v1alpha1",
    "kind": "Coordinator",
    "metadata": {"name": "demo"},
    # All tasks come from one address. Silence is noticed while the test runs.
    "spec": {"http": {"rateLimit": 0}, "heartbeatTimeout": "10s"},
}
POOL: dict[str, Any] = {
    "coordinatorRef": {"name": "demo"},
    "circuits": [{"name": "merkle", "depth": 8}],
    "concurrency": PLACES_EACH,
    "worker": {"heartbeatInterval": "2s"},
    "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
    **fixed(WORKERS),
}


@pytest.fixture
def partition(cluster: Cluster) -> Iterator[Partition]:
    """A means to cut pods off."""
    made = Partition(cluster)
    yield made
    made.close()


def _inputs(index: int) -> dict[str, Any]:
    return {"leaves": [hex(n + 1) for n in range(8)], "leaf_index": index % 8}


async def _all_there(fleet: Fleet) -> None:
    def ready() -> bool:
        found = fleet.cluster.get("proverpool", fleet.pool, fleet.namespace)
        assert found.get("status", {}).get("readyReplicas") == WORKERS, found.get("status")
        return True

    await eventually(
        lambda: asyncio.to_thread(ready), deadline=900, every=2, what="all workers are ready"
    )


async def _completed(fleet: Fleet, count: int) -> None:
    def enough() -> bool:
        sql = "SELECT count(*) FROM workloads WHERE state = 'COMPLETED'"
        ((done,),) = fleet.query(sql)
        return int(done) >= count

    await eventually(
        lambda: asyncio.to_thread(enough), deadline=900, every=0.2, what=f"{count} are completed"
    )


def _kill(fleet: Fleet, pods: Sequence[dict[str, Any]]) -> None:
    for pod in pods:
        fleet.kill(pod["metadata"]["name"])


def _audited(fleet: Fleet) -> None:
    """Every task was accepted exactly once, and some had lost their worker before."""
    ((completions, tasks),) = fleet.query(
        "SELECT count(*), count(DISTINCT workload_id) FROM audit WHERE after = 'COMPLETED'"
    )
    assert (int(completions), int(tasks)) == (TASKS, TASKS)
    ((lost,),) = fleet.query(
        "SELECT count(*) FROM audit WHERE before IN ('SCHEDULED', 'RUNNING') "
        "AND after IN ('PENDING', 'REDISTRIBUTING')"
    )
    assert int(lost) > 0, "there was no trouble at all"
    states = fleet.query("SELECT state, count(*) FROM workloads GROUP BY state")
    assert states == [["COMPLETED", str(TASKS)]]


async def test_a_thousand_tasks_are_proved_once_each(fleet: Fleet, partition: Partition) -> None:
    fleet.cluster.apply(COORDINATOR, fleet.namespace)
    fleet.cluster.apply(fleet.manifest(**POOL), fleet.namespace)
    await _all_there(fleet)
    first = fleet.pods("worker")
    cut_off, killed, later = first[:CUT_OFF], first[CUT_OFF:][:KILLED_AT_ONCE], first[-1:]
    await asyncio.to_thread(partition.prepare, cut_off)
    async with client(fleet) as api:
        # Trouble comes while tasks do: proofs this small are made as fast as they are asked for.
        async with asyncio.TaskGroup() as group:
            submitted = [group.create_task(api.submit("merkle", _inputs(n))) for n in range(TASKS)]
            await _completed(fleet, TASKS // 20)
            await asyncio.to_thread(partition.cut, cut_off)
            await asyncio.to_thread(_kill, fleet, killed)
            await _completed(fleet, TASKS // 2)
            await asyncio.to_thread(_kill, fleet, later)
            await _completed(fleet, TASKS * 4 // 5)
            await asyncio.to_thread(partition.mend, cut_off)
        tasks = await api.all_ended([task.result() for task in submitted], deadline=900)
    assert len({task["task_id"] for task in tasks}) == TASKS
    assert {(task["status"], task["verified"]) for task in tasks} == {("completed", True)}
    await asyncio.to_thread(_audited, fleet)
