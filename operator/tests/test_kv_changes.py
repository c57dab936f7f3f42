"""A KVCluster whose spec changes while the last change is under way, on a real API server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from muster_api.kvcluster import MOST_MIGRATIONS
from muster_operator.reconcile.conditions import TIME_FORMAT
from muster_operator.resources import (
    CLAIMS,
    CONFIG_MAPS,
    CRON_JOBS,
    DISRUPTION_BUDGETS,
    EVENTS,
    KV_CLUSTERS,
    STATEFUL_SETS,
    Key,
)
from muster_testing.waiting import eventually

from .conftest import Operators, Space
from .stores import FakeStore, migration

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]

STORAGE, LAST = "demo-kv-storage", "demo-kv-storage-3"
TENANTS = "tenants: [{name: acme}]"
FOUR, THREE = f"{{replicas: 4, {TENANTS}}}", f"{{replicas: 3, {TENANTS}}}"
HELD = "example.com/held"


@pytest_asyncio.fixture
async def store(operators: Operators, space: Space) -> AsyncIterator[FakeStore]:
    async with FakeStore().serving() as serving:
        operators.urls[Key("KVCluster", space.name, "demo")] = serving.url
        yield serving


async def status(space: Space) -> dict[str, Any]:
    """The status, once it is about the present spec."""

    async def seen() -> dict[str, Any]:
        body = await space.the(KV_CLUSTERS, "demo")
        found: dict[str, Any] = body.get("status", {})
        assert found.get("observedGeneration") == body["metadata"]["generation"], found
        return found

    return await eventually(seen, what="the spec is looked at")


async def storage_nodes(space: Space) -> int:
    return int((await space.the(STATEFUL_SETS, STORAGE))["spec"]["replicas"])


async def until_nodes(space: Space, number: int) -> None:
    async def there() -> bool:
        await space.run_pods()
        assert await storage_nodes(space) == number
        return True

    await eventually(there, what=f"{number} storage nodes")


async def until_state(space: Space, store: FakeStore, state: str) -> None:
    """Wait until coordinators have the last node in that state."""

    async def so() -> bool:
        await space.run_pods()
        return bool(store.nodes.get(LAST, {}).get("status") == state)

    await eventually(so, what=f"{LAST} is {state}")


async def settled(space: Space) -> None:
    """Wait until it is as the spec says, and nothing is under way."""

    async def so() -> bool:
        await space.run_pods()
        await status(space)
        said = await space.conditions(KV_CLUSTERS)
        assert said["Ready"]["status"] == "True", said["Ready"]
        assert not said.keys() & {"Reconciling", "Stalled"}, said
        return True

    await eventually(so, what="it is settled")


async def test_a_node_that_comes_and_is_wanted_no_more_is_not_waited_for(
    space: Space, store: FakeStore
) -> None:
    await space.store(THREE)
    await space.until_ready(KV_CLUSTERS)
    await space.store(FOUR)
    await until_state(space, store, "joining")
    # Coordinators would refuse to remove it.
    store.staying = "it is still joining"
    await space.store(THREE)
    await until_nodes(space, 3)
    await settled(space)
    assert store.nodes[LAST]["status"] == "inactive"
    assert [call for call in store.calls if call.endswith(LAST)] == [
        f"add {LAST}",
        f"cancel {LAST}",
    ]
    events = await space.cluster.list(EVENTS, space.name)
    assert not [each for each in events if "ScaleDownRefused" in str(each.get("note"))]


async def test_a_node_that_goes_and_is_wanted_again_stays(space: Space, store: FakeStore) -> None:
    await space.store(FOUR)
    await space.until_ready(KV_CLUSTERS)
    before = await space.the(CLAIMS, f"data-{LAST}")
    await space.store(THREE)
    await until_state(space, store, "draining")
    await space.reason(KV_CLUSTERS, "Reconciling", "NodesLeaving")
    await space.store(FOUR)
    await until_state(space, store, "active")
    await settled(space)
    after = await space.the(CLAIMS, f"data-{LAST}")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]
    assert await storage_nodes(space) == 4


async def test_a_node_comes_back_when_its_former_volume_is_gone(
    space: Space, store: FakeStore
) -> None:
    claim = f"data-{LAST}"
    await space.store(FOUR)
    await space.until_ready(KV_CLUSTERS)
    # As long as a pod has it, a volume stays.
    await space.the(CLAIMS, claim)
    await space.cluster.merge(CLAIMS, space.name, claim, {"metadata": {"finalizers": [HELD]}})
    await space.store(THREE)
    await until_state(space, store, "draining")
    await space.reason(KV_CLUSTERS, "Reconciling", "NodesLeaving")
    store.nodes[LAST]["status"] = "inactive"
    await until_nodes(space, 3)
    await space.store(FOUR)
    assert (await status(space))["nodes"] == 3
    assert await storage_nodes(space) == 3
    said = (await space.conditions(KV_CLUSTERS))["Reconciling"]
    assert said["message"].startswith("3 storage nodes, 4 wanted")
    await space.cluster.merge(CLAIMS, space.name, claim, {"metadata": {"finalizers": None}})
    await until_nodes(space, 4)
    assert "deletionTimestamp" not in (await space.the(CLAIMS, claim))["metadata"]


async def test_a_member_of_a_former_cluster_gets_its_pod_and_leaves_in_order(
    space: Space, store: FakeStore
) -> None:
    """One of the same name whose volumes and database were kept had more storage nodes."""
    for number in range(4):
        name = f"{STORAGE}-{number}"
        node = {"node_id": name, "host": f"{name}.{STORAGE}.{space.name}.svc", "port": 50052}
        store.nodes[name] = {**node, "zone": "", "virtual_nodes": 150, "status": "active"}
    store.ring = 4
    await space.store(THREE)
    await until_nodes(space, 4)
    await until_state(space, store, "draining")
    assert (await status(space))["leaving"] == [LAST]
    assert await storage_nodes(space) == 4
    store.nodes[LAST]["status"] = "inactive"
    await until_nodes(space, 3)
    await settled(space)


async def test_nodes_and_replicas_may_become_fewer_together(space: Space, store: FakeStore) -> None:
    await space.store(FOUR)
    await space.until_ready(KV_CLUSTERS)
    store.slow = True
    await space.store("{replicas: 2, tenants: [{name: acme, replicationFactor: 2}]}")
    said = await space.reason(KV_CLUSTERS, "Reconciling", "NodesLeaving")
    assert said["message"].endswith("; tenants want 3 replicas")
    store.others = []
    store.tenants["acme"]["replication_factor"] = 2
    await until_state(space, store, "draining")
    events = await space.cluster.list(EVENTS, space.name)
    assert not [each for each in events if "ScaleDownRefused" in str(each.get("note"))]


async def test_no_node_goes_that_a_tenant_of_the_api_needs(space: Space, store: FakeStore) -> None:
    await space.store("replicas: 4")
    await space.until_ready(KV_CLUSTERS)
    store.tenants["other"] = {"tenant_id": "other", "replication_factor": 3}
    await space.store("replicas: 2")
    said = await space.reason(KV_CLUSTERS, "Stalled", "ScaleDownRefused")
    assert said["message"] == (
        "spec.replicas is 2, and 4 storage nodes hold data: none is taken away, for tenants want 3 "
        "replicas; write replicas: 3"
    )
    assert (await status(space))["replicationFactor"] == 3
    assert await storage_nodes(space) == 4
    assert not [call for call in store.calls if call.startswith("remove")]
    await space.store("replicas: 3")
    await until_state(space, store, "draining")


async def test_a_factor_that_is_set_back_is_asked_for_at_once(
    space: Space, store: FakeStore
) -> None:
    await space.store(TENANTS)
    await space.until_ready(KV_CLUSTERS)
    # In force is what is declared, and something else is on its way.
    store.others = [migration("replication_change", "acme")]
    await space.store(f"{{consistency: All, {TENANTS}}}")
    await space.reason(KV_CLUSTERS, "TenantsSettled", "TenantsWaiting")
    assert "factor acme" in store.calls
    store.others = []
    await settled(space)


async def test_more_migrations_than_a_status_has_room_for(space: Space, store: FakeStore) -> None:
    await space.store()
    await space.until_ready(KV_CLUSTERS)
    text = f"waiting for {STORAGE}-1 to answer"
    store.others = [
        migration("replication_change", f"t-{number}", text)
        for number in range(MOST_MIGRATIONS + 5)
    ]
    await space.store("consistency: All")
    shown = (await status(space))["migrations"]
    assert len(shown) == MOST_MIGRATIONS
    assert (shown[0]["stage"], shown[0]["waitingFor"]) == ("copying", text)


async def test_a_database_that_was_put_back_is_told(space: Space, store: FakeStore) -> None:
    await space.store()
    await space.until_ready(KV_CLUSTERS)
    store.ahead = [f"{STORAGE}-0"]
    await space.store("consistency: All")
    said = await space.reason(KV_CLUSTERS, "Stalled", "RingOutdated")
    assert said["message"].startswith(f"{STORAGE}-0 hold a newer ring than the database")
    store.ahead = []
    await settled(space)


async def test_a_drain_is_never_refused_for_ever(space: Space, store: FakeStore) -> None:
    await space.store("tenants: [{name: acme}, {name: small, replicationFactor: 1}]")
    await space.until_ready(KV_CLUSTERS)

    async def allowed() -> bool:
        found = await space.the(DISRUPTION_BUDGETS, STORAGE)
        assert found.get("status", {}).get("disruptionsAllowed") == 1, found
        return True

    await eventually(allowed, what="one storage node may go")


async def test_backups_need_their_volume_and_tell_when_they_fail(
    space: Space, store: FakeStore
) -> None:
    await space.store()
    await space.until_ready(KV_CLUSTERS)
    before = await space.the(STATEFUL_SETS, STORAGE)
    await space.store('backup: {claimName: backups, schedule: "@yearly"}')
    said = await space.reason(KV_CLUSTERS, "Stalled", "ClaimNotFound")
    assert "PersistentVolumeClaim backups is missing" in said["message"]
    after = await space.the(STATEFUL_SETS, STORAGE)
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    volume = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "backups", "namespace": space.name}
    await space.cluster.create(CLAIMS, CLAIMS.manifest(metadata, spec=volume))
    await space.reason(KV_CLUSTERS, "BackedUp", "NoBackup")
    await space.the(CRON_JOBS, "demo-kv-backup")
    begun = datetime.now(UTC).strftime(TIME_FORMAT)
    await written(space, lastScheduleTime=begun)
    said = await space.reason(KV_CLUSTERS, "BackedUp", "BackupFailed")
    assert begun in said["message"]

    async def told() -> bool:
        events = await space.cluster.list(EVENTS, space.name)
        return any(each.get("reason") == "BackupFailed" for each in events)

    await eventually(told, what="an Event about it")
    await written(space, lastScheduleTime=begun, lastSuccessfulTime=begun)
    await space.reason(KV_CLUSTERS, "BackedUp", "BackupMade")
    assert (await status(space))["lastBackup"] == begun


async def test_a_backup_is_restored_once(space: Space, store: FakeStore) -> None:
    volume = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "backups", "namespace": space.name}
    await space.cluster.create(CLAIMS, CLAIMS.manifest(metadata, spec=volume))
    await space.store("backup: {claimName: backups, restore: monday}")
    assert "restored" not in (await space.the(CONFIG_MAPS, STORAGE))["data"]
    await space.until_ready(KV_CLUSTERS)

    async def told() -> bool:
        assert (await status(space)).get("restored") == "monday"
        data = (await space.the(CONFIG_MAPS, STORAGE))["data"]
        return bool(data.get("restored") == "monday")

    await eventually(told, what="storage nodes are told")
    # No pod is replaced for it.
    assert (await space.the(STATEFUL_SETS, STORAGE))["metadata"]["generation"] == 1


async def written(space: Space, **times: str) -> None:
    """Let the CronJob's status say so, as its controller does."""
    metadata = {"name": "demo-kv-backup", "namespace": space.name}
    manifest = CRON_JOBS.manifest(metadata, status=times)
    await space.cluster.apply(CRON_JOBS, manifest, sub="status", manager="cronjob-controller")
