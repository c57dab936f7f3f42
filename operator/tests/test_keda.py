"""With KEDA in a cluster: ScaledObjects in place of autoscalers, on a real API server."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from muster_operator import naming
from muster_operator.cluster import Cluster, ClusterError
from muster_operator.resources import (
    AUTOSCALERS,
    COORDINATORS,
    DEPLOYMENTS,
    PODS,
    PROVER_POOLS,
    SCALED_OBJECTS,
    Manifest,
)
from muster_testing.waiting import eventually

from .conftest import DEFINITIONS, Operators, Replica, Space
from .coordinators import FakeCoordinator, pool_numbers
from .plane import grant

pytestmark = pytest.mark.integration

# What KEDA's own definition says of the fields that are used; any other would be dropped.
_STEPS = {
    "type": "object",
    "properties": {
        "stabilizationWindowSeconds": {"type": "integer"},
        "selectPolicy": {"type": "string"},
        "policies": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value", "periodSeconds"],
                "properties": {
                    "type": {"type": "string"},
                    "value": {"type": "integer"},
                    "periodSeconds": {"type": "integer"},
                },
            },
        },
    },
}
_AUTOSCALER = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "behavior": {"type": "object", "properties": {"scaleUp": _STEPS, "scaleDown": _STEPS}},
    },
}
_SPEC = {
    "type": "object",
    "required": ["scaleTargetRef", "triggers"],
    "properties": {
        "scaleTargetRef": {
            "type": "object",
            "required": ["name"],
            "properties": {name: {"type": "string"} for name in ("apiVersion", "kind", "name")},
        },
        "minReplicaCount": {"type": "integer", "format": "int32"},
        "maxReplicaCount": {"type": "integer", "format": "int32"},
        "advanced": {
            "type": "object",
            "properties": {"horizontalPodAutoscalerConfig": _AUTOSCALER},
        },
        "triggers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "metadata"],
                "properties": {
                    "type": {"type": "string"},
                    "metricType": {"type": "string"},
                    "metadata": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                    },
                },
            },
        },
    },
}
DEFINITION = DEFINITIONS.manifest(
    {"name": f"{SCALED_OBJECTS.plural}.{SCALED_OBJECTS.group}"},
    spec={
        "group": SCALED_OBJECTS.group,
        "scope": "Namespaced",
        "names": {
            "kind": SCALED_OBJECTS.kind,
            "listKind": f"{SCALED_OBJECTS.kind}List",
            "plural": SCALED_OBJECTS.plural,
            "singular": "scaledobject",
        },
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC}}},
            }
        ],
    },
)


@contextlib.asynccontextmanager
async def keda_installed(admin: Cluster) -> AsyncIterator[None]:
    """The cluster knows KEDA's kind while the context is open."""
    made = await admin.apply(DEFINITIONS, DEFINITION)

    async def known() -> bool:
        try:
            await admin.list(SCALED_OBJECTS)
        except ClusterError as error:
            raise AssertionError(str(error)) from error
        return True

    async def undefined() -> bool:
        return await admin.get(DEFINITIONS, None, made["metadata"]["name"]) is None

    try:
        await eventually(known, what="the cluster knows KEDA's kind")
        yield
    finally:
        await admin.delete(DEFINITIONS, made)
        await eventually(undefined, what="KEDA's kind is no more")


@pytest_asyncio.fixture
async def granted(admin: Cluster) -> AsyncIterator[None]:
    """The operator has the rights of an installation with KEDA, and no others."""
    await grant(admin, "KEDA")
    yield
    await grant(admin)


@pytest_asyncio.fixture
async def keda(admin: Cluster) -> AsyncIterator[None]:
    async with keda_installed(admin):
        yield


@pytest_asyncio.fixture
async def by_keda(granted: None, operators: Operators) -> Replica:
    """An operator of such an installation, leading."""
    return await leading(operators, "KEDA")


async def leading(operators: Operators, source: str) -> Replica:
    replica = await operators.start(autoscaling_source=source)
    await eventually(lambda: replica.leads, what="it leads")
    return replica


async def least(space: Space, wanted: int) -> bool:
    found = await space.the(SCALED_OBJECTS, "demo-worker")
    assert found["spec"]["minReplicaCount"] == wanted
    return True


async def replicas(space: Space, wanted: int) -> bool:
    deployment = await space.the(DEPLOYMENTS, "demo-worker")
    assert deployment["spec"]["replicas"] == wanted
    return True


@pytest.mark.usefixtures("keda", "by_keda")
async def test_a_scaled_object_asks_the_coordinator(
    space: Space, coordinator: FakeCoordinator
) -> None:
    pool = await space.pool("autoscaling: {maxReplicas: 5, targetTasksPerWorker: 3}")
    made = await space.the(SCALED_OBJECTS, "demo-worker")
    assert [each["uid"] for each in made["metadata"]["ownerReferences"]] == [
        pool["metadata"]["uid"]
    ]
    assert made["spec"]["scaleTargetRef"]["name"] == "demo-worker"
    (trigger,) = made["spec"]["triggers"]
    assert (trigger["type"], trigger["metadata"]) == (
        "external",
        {
            "scalerAddress": f"demo-coordinator.{space.name}.svc:9091",
            "pool": "demo",
            "targetTasksPerWorker": "3",
        },
    )
    await space.until_ready(COORDINATORS)
    await space.until_ready(PROVER_POOLS)
    assert await space.get(AUTOSCALERS, "demo-worker") is None
    # It is looked at without being written: nothing of it was dropped or changed on the way.
    asked = coordinator.asked

    async def looked() -> bool:
        return coordinator.asked > asked + 4

    await eventually(looked, what="several looks")
    assert await space.the(SCALED_OBJECTS, "demo-worker") == made
    await space.cluster.delete(SCALED_OBJECTS, made)

    async def back() -> bool:
        there = await space.get(SCALED_OBJECTS, "demo-worker")
        return bool(there and there["metadata"]["uid"] != made["metadata"]["uid"])

    await eventually(back, what="it is made again")


@pytest.mark.usefixtures("keda", "by_keda")
async def test_busy_workers_are_spared_and_the_last_step_is_the_operators(
    space: Space, coordinator: FakeCoordinator
) -> None:
    limits = "minReplicas: 0, maxReplicas: 5, scaleToZeroAfter: 1s"
    await space.pool(f"autoscaling: {{{limits}}}")
    await space.until_ready(COORDINATORS)
    assert await least(space, 1)
    # As KEDA's autoscaler would.
    await space.cluster.merge(DEPLOYMENTS, space.name, "demo-worker", {"spec": {"replicas": 3}})

    async def three() -> list[str]:
        await space.run_pods()
        found = await space.cluster.list(PODS, space.name, f"{naming.OF_POOL}=demo")
        assert len(found) == 3
        return [pod["metadata"]["name"] for pod in found]

    workers = await eventually(three, what="three workers")
    coordinator.workers = [
        {"worker_id": name, "pool": "demo", "active_tasks": 1} for name in workers
    ]
    coordinator.queue["pools"] = [pool_numbers("demo", in_progress=3)]
    await eventually(lambda: least(space, 3), what="three are kept")
    for name in workers:
        annotations = (await space.the(PODS, name))["metadata"]["annotations"]
        assert annotations[naming.DELETION_COST] == "1"
    assert await replicas(space, 3)
    coordinator.workers = []
    coordinator.queue["pools"] = [pool_numbers("demo")]
    await eventually(lambda: replicas(space, 0), what="no workers")
    await space.gone(SCALED_OBJECTS, "demo-worker")
    coordinator.queue["pools"] = [pool_numbers("demo", pending=1)]
    await eventually(lambda: replicas(space, 1), what="one worker")
    assert await least(space, 1)


@pytest.mark.usefixtures("keda", "by_keda", "coordinator")
async def test_worker_pools_of_a_coordinator_are_scaled_alike(space: Space) -> None:
    pools = "workerPools: [{name: plain, workloads: [sleep]}]"
    await space.coordinator(pools)
    made = await space.the(SCALED_OBJECTS, "demo-plain-workers")
    (trigger,) = made["spec"]["triggers"]
    assert trigger["metadata"]["pool"] == "plain"
    await space.coordinator("workerPools: []")
    await space.gone(SCALED_OBJECTS, "demo-plain-workers")


def of_keda(made: Manifest) -> Manifest:
    """The autoscaler that KEDA makes of a ScaledObject: of the given name, with its labels."""
    metadata = made["metadata"]
    reference = {
        "apiVersion": made["apiVersion"],
        "kind": made["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return AUTOSCALERS.manifest(
        {
            "name": made["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"],
            "namespace": metadata["namespace"],
            "labels": metadata["labels"],
            "annotations": metadata["annotations"],
            "ownerReferences": [reference],
        },
        spec={
            "scaleTargetRef": made["spec"]["scaleTargetRef"],
            "minReplicas": made["spec"]["minReplicaCount"],
            "maxReplicas": made["spec"]["maxReplicaCount"],
        },
    )


@pytest.mark.usefixtures("keda", "coordinator")
async def test_the_autoscaler_of_before_goes_and_that_of_keda_stays(
    space: Space, operators: Operators, admin: Cluster
) -> None:
    before = await leading(operators, "Prometheus")
    await space.pool()
    first = await space.the(AUTOSCALERS, "demo-worker")
    await before.close()
    await grant(admin, "KEDA")
    try:
        after = await leading(operators, "KEDA")
        made = await space.the(SCALED_OBJECTS, "demo-worker")
        await space.gone(AUTOSCALERS, "demo-worker")
        theirs = await space.cluster.create(AUTOSCALERS, of_keda(made))
        assert theirs["metadata"]["name"] == first["metadata"]["name"]
        # That it was seen, and not removed, shows in what is written later.
        await space.pool("autoscaling: {maxReplicas: 7}")

        async def written() -> bool:
            found = await space.the(SCALED_OBJECTS, "demo-worker")
            return bool(found["spec"]["maxReplicaCount"] == 7)

        await eventually(written, what="the change is written")
        there = await space.the(AUTOSCALERS, "demo-worker")
        assert there["metadata"]["uid"] == theirs["metadata"]["uid"]
        await after.close()
    finally:
        await grant(admin)
    await leading(operators, "Prometheus")
    said = await space.reason(PROVER_POOLS, "Stalled", "NameTaken")
    assert "HorizontalPodAutoscaler demo-worker exists" in said["message"]
    # As the documents tell.
    await space.cluster.delete(SCALED_OBJECTS, await space.the(SCALED_OBJECTS, "demo-worker"))

    async def ours() -> bool:
        found = await space.the(AUTOSCALERS, "demo-worker")
        return bool(found["metadata"]["uid"] != theirs["metadata"]["uid"])

    # The garbage collector looks for new kinds of owners each 30 seconds, and less and less often
    # for an owner of a kind that it does not know yet.
    await eventually(ours, deadline=240, what="an autoscaler of ours again")


@pytest.mark.usefixtures("by_keda", "coordinator")
async def test_without_keda_a_condition_says_so_until_it_is_there(
    space: Space, admin: Cluster
) -> None:
    await space.pool()
    said = await space.reason(PROVER_POOLS, "Stalled", "KedaNotFound")
    assert said["message"] == (
        "ScaledObject demo-worker: the cluster does not know keda.sh: install KEDA, or Muster "
        "with another autoscaling.source"
    )
    # All else is there.
    await space.the(DEPLOYMENTS, "demo-worker")
    await space.until_ready(COORDINATORS)
    async with keda_installed(admin):
        await space.the(SCALED_OBJECTS, "demo-worker")
        await space.until_ready(PROVER_POOLS)
        assert "Stalled" not in await space.conditions(PROVER_POOLS)
