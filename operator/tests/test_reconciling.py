"""From custom resources to running controllers, on a real API server."""

import asyncio
from typing import Any

import pytest

from muster_operator import naming
from muster_operator.cluster import Cluster, RefusedError
from muster_operator.resources import (
    AUTOSCALERS,
    CONFIG_MAPS,
    COORDINATORS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    EVENTS,
    LEASES,
    NETWORK_POLICIES,
    OF_COORDINATORS,
    OF_POOLS,
    PODS,
    PROVER_POOLS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Key,
    Manifest,
    Resource,
)
from muster_testing.waiting import eventually

from .conftest import Operators, Replica, Space
from .coordinators import FakeCoordinator, pool_numbers

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]

OWNED = (*dict.fromkeys((*OF_POOLS, *OF_COORDINATORS)), SECRETS)
POOL_DEPLOYMENT, COORDINATOR_DEPLOYMENT = "demo-worker", "demo-coordinator"


async def names(space: Space) -> set[str]:
    return {
        f"{resource.kind}/{each['metadata']['name']}"
        for resource in OWNED
        for each in await space.list(resource)
    }


async def deployment(space: Space, name: str = POOL_DEPLOYMENT) -> Manifest:
    return await space.the(DEPLOYMENTS, name)


async def test_a_pool_gets_everything_it_needs(space: Space) -> None:
    await space.pool()

    async def complete() -> bool:
        assert await names(space) == {
            "ConfigMap/demo-coordinator",
            "ConfigMap/demo-worker",
            "Deployment/demo-coordinator",
            "Deployment/demo-worker",
            "HorizontalPodAutoscaler/demo-worker",
            "Lease/demo-coordinator",
            "NetworkPolicy/demo-coordinator",
            "NetworkPolicy/demo-postgres",
            "NetworkPolicy/demo-worker",
            "PodDisruptionBudget/demo-coordinator",
            "PodDisruptionBudget/demo-worker",
            "Role/demo-coordinator",
            "RoleBinding/demo-coordinator",
            "Secret/demo-coordinator-witness",
            "Secret/demo-postgres",
            "Service/demo-coordinator",
            "Service/demo-postgres",
            "ServiceAccount/demo-coordinator",
            "ServiceAccount/demo-worker",
            "StatefulSet/demo-postgres",
        }
        return True

    await eventually(complete, what="all children")
    await space.reason(PROVER_POOLS, "Ready", "WaitingForCoordinator")
    await space.until_ready(COORDINATORS)
    await space.until_ready(PROVER_POOLS)

    async def told() -> bool:
        events = await space.cluster.list(EVENTS, space.name)
        return any(
            each["reason"] == "BecameReady" and each["regarding"]["kind"] == "ProverPool"
            for each in events
        )

    await eventually(told, what="an Event about it")


async def test_what_is_as_wanted_is_not_written_again(space: Space) -> None:
    await space.pool()
    await space.until_ready(COORDINATORS)
    await space.until_ready(PROVER_POOLS)
    versions: dict[str, Any] = {}

    async def quiet() -> bool:
        """Nothing changes from one resync to the next."""
        found = {
            (resource.kind, each["metadata"]["name"]): each["metadata"]["resourceVersion"]
            for resource in (*OWNED, PROVER_POOLS, COORDINATORS)
            for each in await space.cluster.list(resource, space.name)
        }
        same = bool(versions.get("last") == found)
        versions["last"] = found
        return same

    await eventually(quiet, every=3, deadline=120, what="two looks that find the same")


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (DEPLOYMENTS, "demo-worker"),
        (DEPLOYMENTS, "demo-coordinator"),
        (STATEFUL_SETS, "demo-postgres"),
        (SERVICES, "demo-coordinator"),
        (CONFIG_MAPS, "demo-worker"),
        (AUTOSCALERS, "demo-worker"),
        (NETWORK_POLICIES, "demo-postgres"),
        (DISRUPTION_BUDGETS, "demo-coordinator"),
        (ROLES, "demo-coordinator"),
        (COORDINATORS, "demo"),
    ],
    ids=lambda part: part.kind if isinstance(part, Resource) else part,
)
async def test_a_child_that_was_deleted_comes_back(
    space: Space, resource: Resource, name: str
) -> None:
    await space.pool()
    await space.reason(PROVER_POOLS, "Ready", "WaitingForCoordinator")
    first = await space.the(resource, name)
    await space.cluster.delete(resource, first)

    async def back() -> bool:
        there = await space.get(resource, name)
        return there is not None and there["metadata"]["uid"] != first["metadata"]["uid"]

    await eventually(back, what=f"a new {resource.kind}")


async def test_what_somebody_changed_is_put_back(space: Space) -> None:
    await space.pool()
    await deployment(space)
    container = {"name": "worker", "image": "mallory/worker:1"}
    patch: dict[str, Any] = {
        "metadata": {"ownerReferences": None, "labels": {naming.OF_POOL: None}},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    await space.cluster.merge(DEPLOYMENTS, space.name, POOL_DEPLOYMENT, patch)

    async def restored() -> bool:
        there = await deployment(space)
        (container,) = there["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "muster/worker:1"
        assert container["args"] == ["--config", "/etc/muster/worker.yaml"]
        assert there["metadata"]["labels"][naming.OF_POOL] == "demo"
        assert there["metadata"]["ownerReferences"][0]["name"] == "demo"
        return True

    await eventually(restored, what="the Deployment is as it was")


async def test_what_is_wanted_no_more_is_removed(space: Space) -> None:
    await space.pool()
    await space.the(AUTOSCALERS, POOL_DEPLOYMENT)
    await space.the(NETWORK_POLICIES, POOL_DEPLOYMENT)
    await space.pool("{autoscaling: {enabled: false}, networkPolicy: {enabled: false}}")
    await space.gone(AUTOSCALERS, POOL_DEPLOYMENT)
    await space.gone(NETWORK_POLICIES, POOL_DEPLOYMENT)
    assert await space.the(NETWORK_POLICIES, COORDINATOR_DEPLOYMENT)


async def test_an_identity_and_a_runtime_are_given_and_taken_away(space: Space) -> None:
    role = "example.com/role"
    await space.pool(
        f"{{serviceAccount: {{annotations: {{{role}: prover}}}}, "
        "podTemplate: {runtimeClassName: gvisor}}"
    )
    account = await space.the(SERVICE_ACCOUNTS, POOL_DEPLOYMENT)
    assert account["metadata"]["annotations"][role] == "prover"
    pod = (await deployment(space))["spec"]["template"]["spec"]
    assert pod["runtimeClassName"] == "gvisor"
    await space.pool()

    async def taken() -> bool:
        account = await space.the(SERVICE_ACCOUNTS, POOL_DEPLOYMENT)
        assert role not in account["metadata"]["annotations"]
        return "runtimeClassName" not in (await deployment(space))["spec"]["template"]["spec"]

    await eventually(taken, what="neither is there")
    assert (await space.the(SERVICE_ACCOUNTS, POOL_DEPLOYMENT))["metadata"]["uid"] == (
        account["metadata"]["uid"]
    )


async def test_the_password_is_made_once(space: Space) -> None:
    await space.coordinator()
    made = await space.the(SECRETS, "demo-postgres")
    await space.coordinator("replicas: 3")

    async def scaled() -> bool:
        assert (await deployment(space, COORDINATOR_DEPLOYMENT))["spec"]["replicas"] == 3
        return True

    await eventually(scaled, what="the change has arrived")
    assert (await space.the(SECRETS, "demo-postgres"))["data"] == made["data"]


async def test_a_new_secret_replaces_the_pods(space: Space) -> None:
    await space.coordinator()
    made = await space.the(SECRETS, "demo-postgres")

    async def annotation(resource: Resource, name: str) -> str:
        there = await space.the(resource, name)
        annotations = there["spec"]["template"]["metadata"]["annotations"]
        return str(annotations[naming.CREDENTIALS])

    before = await annotation(STATEFUL_SETS, "demo-postgres")
    await space.cluster.delete(SECRETS, made)

    async def changed() -> bool:
        after = await annotation(STATEFUL_SETS, "demo-postgres")
        assert after != before
        assert after == await annotation(DEPLOYMENTS, COORDINATOR_DEPLOYMENT)
        return True

    await eventually(changed, what="both workloads name the new Secret")


async def test_a_pool_waits_for_the_coordinator_that_it_names(space: Space) -> None:
    await space.pool("coordinatorRef: {name: shared}", name="one")
    await space.reason(PROVER_POOLS, "Stalled", "CoordinatorNotFound", name="one")
    await space.coordinator(name="shared")
    await space.the(DEPLOYMENTS, "one-worker")
    await space.pool("coordinatorRef: {name: shared}", name="two")

    async def both() -> bool:
        config = await space.the(CONFIG_MAPS, "shared-coordinator")
        text = config["data"]["coordinator.yaml"]
        assert "name: one" in text
        assert "name: two" in text
        return True

    await eventually(both, what="the coordinator knows both pools")
    assert await space.get(COORDINATORS, "one") is None

    async def counted() -> bool:
        there = await space.the(COORDINATORS, "shared")
        return bool(there.get("status", {}).get("pools") == 2)

    await eventually(counted, what="the coordinator's status counts both pools")


async def test_a_paused_object_is_left_as_it_is(space: Space) -> None:
    await space.pool()
    await deployment(space)
    annotations = {"metadata": {"annotations": {naming.PAUSED: "true"}}}
    await space.cluster.merge(PROVER_POOLS, space.name, "demo", annotations)
    await space.reason(PROVER_POOLS, "Paused", "Paused")
    await space.pool("concurrency: 4")

    async def seen() -> bool:
        there = await space.the(PROVER_POOLS, "demo")
        assert there["status"]["observedGeneration"] == there["metadata"]["generation"]
        return True

    await eventually(seen, what="the change was seen")
    config = await space.the(CONFIG_MAPS, POOL_DEPLOYMENT)
    assert "concurrency: 1" in config["data"]["worker.yaml"]
    resumed = {"metadata": {"annotations": {naming.PAUSED: None}}}
    await space.cluster.merge(PROVER_POOLS, space.name, "demo", resumed)

    async def applied() -> bool:
        config = await space.the(CONFIG_MAPS, POOL_DEPLOYMENT)
        assert "concurrency: 4" in config["data"]["worker.yaml"]
        return True

    await eventually(applied, what="the change is applied")


async def replicas(space: Space, wanted: int) -> None:
    async def there() -> bool:
        found = (await deployment(space))["spec"]["replicas"]
        assert found == wanted, found
        return True

    await eventually(there, what=f"{wanted} workers wanted")


async def test_a_coordinator_is_scaled_as_a_deployment_is(space: Space) -> None:
    await space.pool()
    await space.the(COORDINATORS, "demo")

    async def scale(replicas: int) -> Manifest:
        spec = {"spec": {"replicas": replicas}}
        return await space.cluster.merge(COORDINATORS, space.name, "demo/scale", spec)

    async def scaled() -> bool:
        status = (await scale(3))["status"]
        assert status["replicas"] == 3, status
        found = await space.cluster.list(PODS, space.name, status["selector"])
        return len(found) == 3

    await eventually(scaled, what="the three pods that the scale counts and selects")
    with pytest.raises(RefusedError, match=r"spec\.replicas.*greater than or equal to 1"):
        await scale(0)
    with pytest.raises(RefusedError, match=r"spec\.replicas.*less than or equal to 9"):
        await scale(10)


async def test_turning_the_autoscaler_on_keeps_the_workers_that_there_are(space: Space) -> None:
    await space.pool("{autoscaling: {enabled: false}, replicas: 3}")
    await replicas(space, 3)
    await space.pool("{autoscaling: {enabled: true, maxReplicas: 8}}")
    await space.the(AUTOSCALERS, POOL_DEPLOYMENT)

    async def handed_over() -> bool:
        managers = (await deployment(space))["metadata"]["managedFields"]
        owners = [
            entry["manager"]
            for entry in managers
            if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        ]
        return "muster-operator" not in owners and bool(owners)

    await eventually(handed_over, what="the operator owns replicas no more")
    assert (await deployment(space))["spec"]["replicas"] == 3


async def test_a_suspended_pool_stops_and_comes_back(space: Space) -> None:
    await space.pool("autoscaling: {minReplicas: 2}")
    await replicas(space, 2)
    await space.pool("{suspend: true, autoscaling: {minReplicas: 2}}")
    await replicas(space, 0)
    await space.gone(AUTOSCALERS, POOL_DEPLOYMENT)
    await space.reason(PROVER_POOLS, "Ready", "Suspended")
    await space.pool("autoscaling: {minReplicas: 2}")
    await replicas(space, 2)


async def test_deleting_a_pool_leaves_nothing_behind(space: Space) -> None:
    pool = await space.pool()
    await space.until_ready(COORDINATORS)
    assert await space.get(LEASES, COORDINATOR_DEPLOYMENT)
    await space.cluster.delete(PROVER_POOLS, pool)
    for resource in (*OWNED, PODS, COORDINATORS):

        async def none(resource: Resource = resource) -> bool:
            assert await space.list(resource) == []
            return True

        await eventually(none, deadline=120, what=f"no {resource.kind} is left")


async def test_a_pool_made_anew_at_once_gets_its_own_children(space: Space) -> None:
    first = await space.pool()
    await space.reason(PROVER_POOLS, "Ready", "WaitingForCoordinator")
    await space.cluster.delete(PROVER_POOLS, first)
    second = await space.pool()

    async def its_own() -> bool:
        for resource, name in ((DEPLOYMENTS, POOL_DEPLOYMENT), (COORDINATORS, "demo")):
            there = await space.get(resource, name)
            assert there is not None
            assert there["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"]
        return True

    # The garbage collector looks for new kinds of owners each 30 seconds.
    await eventually(its_own, deadline=120, what="children of the new pool")


async def test_busy_workers_cost_more_to_delete(
    space: Space, operators: Operators, admin: Cluster
) -> None:
    key = Key("Coordinator", space.name, "demo")
    async with FakeCoordinator(pool_numbers("demo", in_progress=1)).serving() as coordinator:
        operators.urls[key] = coordinator.url
        await space.pool("{autoscaling: {enabled: false}, replicas: 3}")

        async def workers() -> list[str]:
            found = await admin.list(PODS, space.name, f"{naming.OF_POOL}=demo")
            return [pod["metadata"]["name"] for pod in found] if len(found) == 3 else []

        busy, *idle = await eventually(workers, what="three workers")
        coordinator.workers = [{"worker_id": busy, "pool": "demo", "active_tasks": 1}]

        async def marked() -> bool:
            found = await admin.list(PODS, space.name, f"{naming.OF_POOL}=demo")
            costs = {
                pod["metadata"]["name"]: pod["metadata"]
                .get("annotations", {})
                .get(naming.DELETION_COST, "0")
                for pod in found
            }
            assert costs == {busy: "1", **dict.fromkeys(idle, "0")}
            return True

        await eventually(marked, what="the busy one costs more")

        async def counted() -> bool:
            status = (await space.the(PROVER_POOLS, "demo"))["status"]
            running = status.get("queue", {}).get("inProgress")
            assert (status.get("busyReplicas"), running) == (1, 1)
            return True

        await eventually(counted, what="the status counts it")
        await space.pool("{autoscaling: {enabled: false}, replicas: 1}")

        async def survivor() -> bool:
            found = await admin.list(PODS, space.name, f"{naming.OF_POOL}=demo")
            left = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
            assert [pod["metadata"]["name"] for pod in left] == [busy]
            return True

        await eventually(survivor, what="only the busy one is left")


async def test_an_operator_stops_when_it_is_told_to(operator: Replica) -> None:
    await asyncio.wait_for(operator.close(), 60)
