"""A pool of minReplicas 0: no workers without work, and workers again when there is some."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from e2e.fleet import Client, Fleet, client
from muster_testing.waiting import eventually

pytestmark = pytest.mark.e2e

AUTOSCALING = {
    "minReplicas": 0,
    "maxReplicas": 2,
    "targetTasksPerWorker": 5,
    "scaleToZeroAfter": "5s",
    "scaleDownStabilizationSeconds": 5,
}
INPUTS = {"leaves": ["0x1", "0x2"], "leaf_index": 1}


async def _sleeps(fleet: Fleet) -> None:
    def no_workers() -> bool:
        assert not fleet.pods("worker")
        assert not fleet.cluster.list("horizontalpodautoscalers", fleet.namespace)
        status = fleet.cluster.get("proverpool", fleet.pool, fleet.namespace)["status"]
        (ready,) = [each for each in status["conditions"] if each["type"] == "Ready"]
        assert (ready["status"], ready["reason"]) == ("True", "ScaledToZero"), ready
        return True

    await eventually(
        lambda: asyncio.to_thread(no_workers), deadline=300, every=1, what="the pool sleeps"
    )


async def _prove(api: Client, count: int) -> Sequence[dict[str, Any]]:
    ids = await asyncio.gather(*(api.submit("merkle", INPUTS) for _ in range(count)))
    return await api.all_ended(list(ids), deadline=400)


async def test_a_pool_without_work_has_no_workers_until_there_is_some(
    ready: Callable[..., Fleet],
) -> None:
    fleet = ready(autoscaling=AUTOSCALING)
    async with client(fleet) as api:
        await _sleeps(fleet)
        for count in (1, 12):
            tasks = await _prove(api, count)
            assert {task["status"] for task in tasks} == {"completed"}
            await _sleeps(fleet)

    def told() -> bool:
        events = fleet.cluster.list("events.events.k8s.io", fleet.namespace)
        return {"ScaledFromZero", "ScaledToZero"} <= {each["reason"] for each in events}

    await eventually(lambda: asyncio.to_thread(told), deadline=180, every=1, what="Events about it")
