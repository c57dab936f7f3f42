"""The HorizontalPodAutoscaler grows a pool on queue depth, and shrinks it without losing work."""

import asyncio
from collections.abc import Callable

import pytest

from e2e.fleet import Fleet, client
from muster_testing.waiting import eventually

pytestmark = pytest.mark.e2e

TASKS = 150
AUTOSCALING = {
    "minReplicas": 1,
    "maxReplicas": 3,
    "targetTasksPerWorker": 5,
    "scaleDownStabilizationSeconds": 5,
}


async def test_it_grows_under_load_and_shrinks_after_with_no_task_lost(
    ready: Callable[..., Fleet],
) -> None:
    fleet = ready(autoscaling=AUTOSCALING)
    assert len(fleet.pods("worker")) == 1

    async def workers(wanted: int, what: str) -> None:
        await eventually(
            lambda: asyncio.to_thread(lambda: len(fleet.pods("worker")) == wanted),
            deadline=400,
            every=1,
            what=what,
        )

    inputs = {"leaves": ["0x1", "0x2"], "leaf_index": 1}
    async with client(fleet) as api:
        ids = await asyncio.gather(*(api.submit("merkle", inputs) for _ in range(TASKS)))
        await workers(AUTOSCALING["maxReplicas"], "the pool has grown to its limit")
        tasks = await api.all_ended(list(ids), deadline=900)
        assert {task["status"] for task in tasks} == {"completed"}
        await workers(AUTOSCALING["minReplicas"], "the pool has shrunk again")
        # What is submitted while workers leave is not lost either.
        ids = await asyncio.gather(*(api.submit("merkle", inputs) for _ in range(10)))
        tasks = await api.all_ended(list(ids), deadline=400)
        assert {task["status"] for task in tasks} == {"completed"}
