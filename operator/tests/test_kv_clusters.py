"""From a KVCluster to a running store, on a real API server."""

import base64
from collections.abc import AsyncIterator

import jwt
import pytest
import pytest_asyncio

from muster_operator.resources import (
    AUTOSCALERS,
    CLAIMS,
    CRON_JOBS,
    DEPLOYMENTS,
    EVENTS,
    KV_CLUSTERS,
    OF_KV_CLUSTERS,
    PODS,
    SECRETS,
    STATEFUL_SETS,
    Key,
    Manifest,
)
from muster_testing.waiting import eventually

from .conftest import Operators, Space
from .stores import FakeStore

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]

NODES = [f"demo-kv-storage-{number}" for number in range(3)]


@pytest_asyncio.fixture
async def store(operators: Operators, space: Space) -> AsyncIterator[FakeStore]:
    async with FakeStore().serving() as serving:
        operators.urls[Key("KVCluster", space.name, "demo")] = serving.url
        yield serving


async def test_a_cluster_gets_everything_it_needs(space: Space, store: FakeStore) -> None:
    await space.store("tenants: [{name: acme}]")
    await space.until_ready(KV_CLUSTERS)
    found = {
        f"{resource.kind}/{each['metadata']['name']}"
        for resource in (*OF_KV_CLUSTERS, SECRETS)
        for each in await space.list(resource)
    }
    coordinators, nodes = "demo-kv-coordinator", "demo-kv-storage"
    assert found == {
        f"ConfigMap/{coordinators}",
        f"ConfigMap/{nodes}",
        f"Deployment/{coordinators}",
        f"HorizontalPodAutoscaler/{coordinators}",
        f"Lease/{coordinators}",
        f"NetworkPolicy/{coordinators}",
        f"NetworkPolicy/{nodes}",
        "NetworkPolicy/demo-kv-postgres",
        f"PodDisruptionBudget/{coordinators}",
        f"PodDisruptionBudget/{nodes}",
        f"Role/{coordinators}",
        f"RoleBinding/{coordinators}",
        "Secret/demo-kv-postgres",
        "Secret/demo-kv-token",
        f"Service/{coordinators}",
        f"Service/{nodes}",
        "Service/demo-kv-postgres",
        f"ServiceAccount/{coordinators}",
        f"StatefulSet/{nodes}",
        "StatefulSet/demo-kv-postgres",
    }
    # All nodes are members before there is a tenant, or they would have to move its data.
    assert sorted(store.calls[:3]) == [f"add {name}" for name in NODES]
    assert store.calls[3:] == ["create acme"]
    assert store.nodes[NODES[0]]["host"] == f"{NODES[0]}.{nodes}.{space.name}.svc"
    assert store.tenants["acme"]["nodes"] == len(NODES)
    status = (await space.the(KV_CLUSTERS, "demo"))["status"]
    assert (status["nodes"], status["members"], status["ringVersion"]) == (3, 3, 3)
    assert (status["replicationFactor"], status["tenants"]) == (3, 1)
    assert status["replicas"] == status["readyReplicas"] == 3
    assert (status["hintsWaiting"], status["rangesUnderReplicated"]) == (7, 0)
    assert store.shown == {""}


async def test_a_node_goes_when_its_records_are_elsewhere(space: Space, store: FakeStore) -> None:
    last, tenants = "demo-kv-storage-3", "tenants: [{name: acme}]"
    await space.store(f"{{replicas: 4, {tenants}}}")
    await space.until_ready(KV_CLUSTERS)
    store.staying = "tenants want it"
    await space.store(f"{{replicas: 3, {tenants}}}")
    said = await space.reason(KV_CLUSTERS, "Stalled", "ScaleDownRefused")
    assert "NODE_IN_USE: tenants want it; write replicas: 4" in said["message"]

    async def told() -> bool:
        events = await space.cluster.list(EVENTS, space.name)
        return any("ScaleDownRefused" in str(each.get("note")) for each in events)

    await eventually(told, what="an Event about it")
    assert await storage_nodes(space) == 4
    store.staying = ""
    await space.reason(KV_CLUSTERS, "Reconciling", "NodesLeaving")
    status = (await space.the(KV_CLUSTERS, "demo"))["status"]
    assert (status["nodes"], status["leaving"]) == (4, [last])
    assert [each["of"] for each in status["migrations"]] == [last]
    assert await storage_nodes(space) == 4
    volumes = {each["metadata"]["name"] for each in await space.cluster.list(CLAIMS, space.name)}
    assert f"data-{last}" in volumes
    first = await space.the(CLAIMS, f"data-{last}")
    store.nodes[last]["status"] = "inactive"
    # More are wanted again, but it has left: it comes back with an empty volume.
    await space.store(f"{{replicas: 4, {tenants}}}")

    async def renewed() -> bool:
        await space.run_pods()
        claim = await space.get(CLAIMS, f"data-{last}")
        assert claim is not None
        assert claim["metadata"]["uid"] != first["metadata"]["uid"]
        return "deletionTimestamp" not in claim["metadata"]

    await eventually(renewed, deadline=60, what="the volume is another one")
    others = {each["metadata"]["name"] for each in await space.cluster.list(CLAIMS, space.name)}
    assert others == volumes

    async def registered() -> bool:
        await space.run_pods()
        return bool(store.nodes[last]["status"] == "joining")

    await eventually(registered, what="it is registered again")


async def test_another_version_takes_the_place_of_one_node_at_a_time(
    space: Space, store: FakeStore
) -> None:
    tenants = "tenants: [{name: acme}]"
    await space.store(tenants)
    await space.until_ready(KV_CLUSTERS)
    worker, coordinator = "example/worker:2", "example/coordinator:2"
    await space.store(f"{{image: '{worker}', coordinators: {{image: '{coordinator}'}}, {tenants}}}")
    await space.reason(KV_CLUSTERS, "Ready", "RollingOut")

    async def replaced() -> dict[str, bool]:
        pods = await space.list(PODS)
        found = {each["metadata"]["name"]: _image(each) == worker for each in pods}
        assert any(found.values()), found
        return {name: found[name] for name in NODES}

    # The next one has to be ready for seconds before another goes.
    assert list((await eventually(replaced, what="one is new")).values()) == [False, False, True]
    assert _image(await space.the(DEPLOYMENTS, "demo-kv-coordinator")) == coordinator
    said = (await space.conditions(KV_CLUSTERS, "demo"))["Ready"]
    assert (said["status"], said["reason"]) == ("False", "RollingOut"), said
    assert (await space.the(KV_CLUSTERS, "demo"))["status"]["members"] == len(NODES)


def _image(workload: Manifest) -> str:
    """What runs in a pod, or in the pods of a Deployment."""
    spec = workload["spec"].get("template", workload)["spec"]
    return str(spec["containers"][0]["image"])


async def storage_nodes(space: Space) -> int:
    """The size of the StatefulSet of storage nodes."""
    return int((await space.the(STATEFUL_SETS, "demo-kv-storage"))["spec"]["replicas"])


async def test_a_stopped_cluster_comes_back_with_all_its_nodes(
    space: Space, store: FakeStore
) -> None:
    await space.store()
    await space.until_ready(KV_CLUSTERS)
    await space.store("{replicas: 2, suspend: true}")

    async def stopped() -> bool:
        return await storage_nodes(space) == 0

    await eventually(stopped, what="no storage node runs")
    await space.store()

    async def back() -> bool:
        return await storage_nodes(space) == len(NODES)

    await eventually(back, what="all storage nodes are back")
    await space.until_ready(KV_CLUSTERS)


async def test_volumes_that_go_are_not_taken_up(space: Space, store: FakeStore) -> None:
    """They are of one of the same name that was deleted with them."""
    names = [f"data-{NODES[1]}", "data-demo-kv-postgres-0"]
    for name in names:
        metadata = {"name": name, "namespace": space.name, "finalizers": ["example.com/used"]}
        volume = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        made = await space.cluster.create(CLAIMS, CLAIMS.manifest(metadata, spec=volume))
        await space.cluster.delete(CLAIMS, made)
    await space.store()
    await space.reason(KV_CLUSTERS, "Ready", "WaitingForDatabase")
    assert await space.list(STATEFUL_SETS) == []
    for name in names:
        await space.cluster.merge(CLAIMS, space.name, name, {"metadata": {"finalizers": None}})
    await space.until_ready(KV_CLUSTERS)


async def test_a_larger_cluster_registers_its_nodes(space: Space, store: FakeStore) -> None:
    await space.store("tenants: [{name: acme}]")
    await space.until_ready(KV_CLUSTERS)
    await space.store("{replicas: 4, tenants: [{name: acme}]}")

    async def registered() -> bool:
        await space.run_pods()
        return "demo-kv-storage-3" in store.nodes

    await eventually(registered, what="the fourth node is registered")
    await space.reason(KV_CLUSTERS, "NodesJoined", "NodesJoining")
    store.nodes["demo-kv-storage-3"]["status"] = "active"
    await space.until_ready(KV_CLUSTERS)


async def test_tenants_become_what_is_declared(space: Space, store: FakeStore) -> None:
    store.refusing = "it is full"
    await space.store("tenants: [{name: acme}]")

    async def refused() -> bool:
        await space.run_pods()
        condition = (await space.conditions(KV_CLUSTERS)).get("TenantsSettled", {})
        assert condition.get("reason") == "StoreRefused", condition
        assert "tenant acme: INVALID_REQUEST: it is full" in condition["message"]
        return True

    await eventually(refused, what="the refusal is told")
    store.refusing = ""
    await space.until_ready(KV_CLUSTERS)
    declared = "{name: acme, replicationFactor: 1, durability: Async, readsPerMinute: -1}"
    await space.store(f"tenants: [{declared}]")

    async def changed() -> bool:
        tenant = store.tenants["acme"]
        policy = tenant["policy"]
        told = (tenant["replication_factor"], policy["durability"], policy["reads_per_minute"])
        return told == (1, "Async", -1)

    await eventually(changed, what="the tenant is changed")
    await space.until_ready(KV_CLUSTERS)


async def test_a_secured_and_backed_up_cluster(space: Space, store: FakeStore) -> None:
    spec = """
authentication: {mode: JWT, keys: SharedSecret, secretRef: {name: issuer, key: secret}}
backup: {claimName: backups}
"""
    volume = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "backups", "namespace": space.name}
    await space.cluster.create(CLAIMS, CLAIMS.manifest(metadata, spec=volume))
    await space.store(spec)
    said = await space.reason(KV_CLUSTERS, "Stalled", "SecretNotFound")
    assert "Secret issuer is missing" in said["message"]
    metadata = {"name": "issuer", "namespace": space.name}
    await space.cluster.create(SECRETS, SECRETS.manifest(metadata, stringData={"secret": "s" * 40}))
    await space.until_ready(KV_CLUSTERS)
    secret = await space.the(SECRETS, "demo-kv-admin")
    key = base64.b64decode(secret["data"]["secret"])
    assert store.shown
    # The first of them may be over by now.
    for shown in store.shown:
        token = shown.removeprefix("Bearer ")
        held = jwt.decode(token, key, algorithms=["HS256"], options={"verify_exp": False})
        assert held["admin"] is True
    backups = await space.the(CRON_JOBS, "demo-kv-backup")
    assert backups["spec"]["jobTemplate"]["spec"]["completions"] == len(NODES)


async def test_a_silent_store_is_not_taken_for_an_empty_one(
    space: Space, store: FakeStore, operators: Operators
) -> None:
    await space.store()
    await space.until_ready(KV_CLUSTERS)
    del operators.urls[Key("KVCluster", space.name, "demo")]
    await space.store("consistency: All")
    await space.reason(KV_CLUSTERS, "NodesJoined", "StoreSilent")
    assert (await space.the(KV_CLUSTERS, "demo"))["status"]["members"] == len(NODES)


async def test_the_autoscaler_has_the_number_of_coordinators(
    space: Space, store: FakeStore
) -> None:
    fixed = "coordinators: {replicas: 3, autoscaling: {enabled: false}}"
    await space.store(fixed)
    await space.until_ready(KV_CLUSTERS)
    assert await space.get(AUTOSCALERS, "demo-kv-coordinator") is None
    await space.store("coordinators: {autoscaling: {maxReplicas: 9}}")
    await space.the(AUTOSCALERS, "demo-kv-coordinator")
    found = await space.the(DEPLOYMENTS, "demo-kv-coordinator")
    assert found["spec"]["replicas"] == 3
