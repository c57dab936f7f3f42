"""The number of workers follows the queue: real autoscaler, real deployments."""

from collections.abc import Awaitable, Callable

import pytest

from muster_operator import naming
from muster_operator.cluster import Cluster, ClusterError
from muster_operator.metrics_api.documents import GROUP_VERSION
from muster_operator.resources import (
    AUTOSCALERS,
    COORDINATORS,
    DEPLOYMENTS,
    EVENTS,
    PODS,
    PROVER_POOLS,
    Resource,
)
from muster_operator.telemetry import poll
from muster_testing.waiting import eventually

from .conftest import Space
from .coordinators import FakeCoordinator, pool_numbers

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("registered")]

EXTERNAL = Resource(GROUP_VERSION, "ExternalMetricValueList", "muster_prover_outstanding_tasks")


async def test_the_autoscaler_follows_the_queue_and_holds_when_it_is_unknown(
    coordinator: FakeCoordinator,
    space: Space,
    admin: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await space.pool("autoscaling: {maxReplicas: 5, scaleDownStabilizationSeconds: 0}")

    async def workers(wanted: int) -> bool:
        deployment = await space.the(DEPLOYMENTS, "demo-worker")
        found = deployment["spec"]["replicas"]
        scaler = await space.the(AUTOSCALERS, "demo-worker")
        assert found == wanted, (found, scaler.get("status"))
        return True

    # 6 unfinished tasks, 4 for each worker.
    await eventually(lambda: workers(2), what="two workers")
    coordinator.queue["pools"] = [pool_numbers("demo", pending=100)]
    await eventually(lambda: workers(5), deadline=60, what="as many workers as allowed")

    async def told() -> bool:
        try:
            raw = await admin.list(EXTERNAL, space.name)
        except ClusterError as error:
            raise AssertionError(str(error)) from error
        return [item["value"] for item in raw] == ["100"]

    # The API server asks nobody for a while who was slow to say that it is there.
    await eventually(told, deadline=120, what="the number by way of the API server")

    async def in_status() -> bool:
        there = await space.the(PROVER_POOLS, "demo")
        assert there["status"]["queue"]["pending"] == 100
        assert there["status"]["desiredReplicas"] == 5
        return True

    await eventually(in_status, what="the status says so")
    coordinator.queue["pools"] = [pool_numbers("demo")]
    coordinator.status = 503
    monkeypatch.setattr(poll, "STALE_SECONDS", 0.0)

    async def blind() -> bool:
        scaler = await space.the(AUTOSCALERS, "demo-worker")
        (active,) = [
            each for each in scaler["status"]["conditions"] if each["type"] == "ScalingActive"
        ]
        assert (active["status"], active["reason"]) == ("False", "FailedGetExternalMetric")
        return True

    await eventually(blind, what="the autoscaler sees nothing")
    assert await workers(5)
    monkeypatch.setattr(poll, "STALE_SECONDS", 30.0)
    coordinator.status = 200
    await eventually(lambda: workers(1), deadline=90, what="one worker")


async def test_a_pool_without_work_has_no_workers_until_there_is_work(
    coordinator: FakeCoordinator, space: Space
) -> None:
    coordinator.queue["pools"] = [pool_numbers("demo")]
    limits = "minReplicas: 0, maxReplicas: 5, scaleToZeroAfter: 4s"
    await space.pool(f"autoscaling: {{{limits}, scaleDownStabilizationSeconds: 0}}")

    async def workers(wanted: int) -> bool:
        deployment = await space.the(DEPLOYMENTS, "demo-worker")
        scaler = await space.get(AUTOSCALERS, "demo-worker")
        assert deployment["spec"]["replicas"] == wanted, (scaler or {}).get("status")
        assert (scaler is None) is (wanted == 0)
        return True

    await space.until_ready(COORDINATORS)
    await space.reason(PROVER_POOLS, "Ready", "ScaledToZero")
    assert await workers(0)
    coordinator.queue["pools"] = [pool_numbers("demo", pending=12)]
    await eventually(lambda: workers(3), deadline=60, what="the autoscaler's number of workers")
    await space.until_ready(PROVER_POOLS)
    coordinator.queue["pools"] = [pool_numbers("demo", in_progress=1)]
    await eventually(lambda: workers(1), deadline=60, what="the one that is busy")
    coordinator.queue["pools"] = [pool_numbers("demo")]
    await eventually(lambda: workers(0), deadline=60, what="none")
    said = await space.reason(PROVER_POOLS, "Ready", "ScaledToZero")
    assert said["status"] == "True"

    async def told() -> bool:
        events = await space.cluster.list(EVENTS, space.name)
        reasons = {each["reason"] for each in events if each["regarding"]["kind"] == "ProverPool"}
        assert {"ScaledToZero", "ScaledFromZero"} <= reasons, reasons
        return True

    await eventually(told, what="Events about it")


async def test_workers_that_were_all_taken_away_by_hand_come_back(
    coordinator: FakeCoordinator, space: Space
) -> None:
    coordinator.queue["pools"] = [pool_numbers("demo", pending=5)]
    await space.pool("autoscaling: {maxReplicas: 2}")

    async def two() -> bool:
        deployment = await space.the(DEPLOYMENTS, "demo-worker")
        assert deployment["spec"]["replicas"] == 2
        return True

    await eventually(two, deadline=60, what="two workers")
    await space.cluster.merge(DEPLOYMENTS, space.name, "demo-worker", {"spec": {"replicas": 0}})
    await eventually(two, deadline=60, what="two workers again")


async def staying(space: Space) -> list[str]:
    """The worker pods that are not told to stop."""
    found = await space.cluster.list(PODS, space.name, f"{naming.OF_POOL}=demo")
    return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]


async def test_busy_workers_stay_although_few_tasks_are_left(
    coordinator: FakeCoordinator, space: Space
) -> None:
    coordinator.queue["pools"] = [pool_numbers("demo", pending=12)]
    # The autoscaler hears of the queue at once, and of the workers by way of the operator.
    await space.pool("autoscaling: {maxReplicas: 3, scaleDownStabilizationSeconds: 30}")

    def exactly(wanted: int) -> Callable[[], Awaitable[list[str]]]:
        async def there() -> list[str]:
            await space.run_pods()
            found = await staying(space)
            assert len(found) == wanted, found
            return found

        return there

    first, second, third = await eventually(exactly(3), deadline=60, what="three workers")

    def work(*busy: str) -> None:
        coordinator.workers = [
            {"worker_id": name, "pool": "demo", "active_tasks": int(name in busy)}
            for name in (first, second, third)
        ]
        coordinator.queue["pools"] = [pool_numbers("demo", in_progress=len(busy))]

    async def judged(least: int) -> bool:
        """The autoscaler wants one worker, and may not go below `least`."""
        scaler = await space.the(AUTOSCALERS, "demo-worker")
        assert scaler["spec"]["minReplicas"] == least
        conditions = {each["type"]: each for each in scaler["status"]["conditions"]}
        assert conditions["ScalingLimited"]["reason"] == "TooFewReplicas", conditions
        return True

    work(first, second, third)
    await eventually(lambda: judged(3), deadline=120, what="three are kept")
    assert len(await staying(space)) == 3
    work(second, third)
    left = await eventually(exactly(2), deadline=60, what="the idle one goes")
    assert set(left) == {second, third}
    work(third)
    assert await eventually(exactly(1), deadline=60, what="the next one goes") == [third]
