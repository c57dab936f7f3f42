"""A key-value store keeps what it has acknowledged, whatever becomes of its nodes."""

import asyncio
from pathlib import Path

import pytest
import yaml

from e2e.cluster import CommandError
from e2e.fleet import Fleet
from e2e.installation import next_image
from e2e.store import TENANT, Store, conditions, connected
from muster_testing.waiting import eventually_sync

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[1] / "examples" / "kvcluster.yaml"
LAST = "store-kv-storage-3"
QUORUM = 2


def made(store: Store, **spec: object) -> None:
    """Apply the example with more in its spec, on one machine: there they can share a volume."""
    cluster = store.fleet.cluster
    manifest = yaml.safe_load(EXAMPLE.read_text())
    machine = cluster.list("nodes", "default")[-1]["metadata"]["labels"]["kubernetes.io/hostname"]
    manifest["spec"] |= {"podTemplate": {"nodeSelector": {"kubernetes.io/hostname": machine}}}
    cluster.apply(manifest | {"spec": manifest["spec"] | spec}, store.fleet.namespace)
    store.type("KVCluster", "wait")


def a_volume_for_backups(store: Store) -> None:
    """A claim that all pods on one machine can mount."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}
    store.fleet.cluster.apply(claim | {"metadata": {"name": "backups"}}, store.fleet.namespace)


def a_node_is_killed(store: Store) -> None:
    before = store.fleet.cluster.get("pod", "store-kv-storage-0", store.fleet.namespace)
    store.fleet.kill("store-kv-storage-0")

    def back() -> bool:
        pod = store.fleet.cluster.get("pod", "store-kv-storage-0", store.fleet.namespace)
        assert pod["metadata"]["uid"] != before["metadata"]["uid"]
        states = pod["status"].get("containerStatuses", [])
        return bool(states) and all(each["ready"] for each in states)

    eventually_sync(back, deadline=180, every=0.5, what="the killed node is back")


def a_volume_is_lost(store: Store) -> None:
    """The node gets another one, and on it what the others have."""
    fleet, name = store.fleet, "data-store-kv-storage-0"
    before = fleet.cluster.get("pvc", name, fleet.namespace)
    store.type("Replacing", "delete pvc")
    store.type("Replacing", "delete pod")

    def another() -> bool:
        claims = fleet.cluster.list("pvc", fleet.namespace)
        found = {each["metadata"]["name"]: each["metadata"]["uid"] for each in claims}
        return found.get(name) not in {None, before["metadata"]["uid"]}

    eventually_sync(another, deadline=180, every=0.5, what="there is another volume")
    store.settled(300)


def one_node_fewer(store: Store) -> None:
    before = store.volumes()
    with store.watched() as seen:
        store.type("Scaling", "scale")
        store.type("Scaling", "wait")
        status = store.settled(300)
    assert (status["nodes"], status["members"], status["readyReplicas"]) == (3, 3, 3)
    assert status["leader"].startswith("store-kv-coordinator-")
    moving = [each for each in seen if each.get("leaving") == [LAST]]
    assert moving
    for each in moving:
        found = conditions(each)
        assert found["Ready"]["status"] == "True", each
        assert found["Reconciling"]["reason"] == "NodesLeaving", each
        assert f"leaving: {LAST}" in found["Reconciling"]["message"], each
        assert each["nodes"] == 4, each
    assert any(work["of"] == LAST for each in moving for work in each.get("migrations", []))

    def gone() -> bool:
        assert store.volumes() == before - {f"data-{LAST}"}
        assert LAST not in store.kubectl("get", "pods", "-o", "name")
        return True

    eventually_sync(gone, deadline=240, every=0.5, what="the node and its volume are gone")
    store.tells("NodeLeft", f"{LAST} has left, and its volume is removed")
    assert len(store.events("NodeLeft")) == 1


def too_few_nodes(store: Store) -> None:
    with pytest.raises(CommandError, match="must be at most replicas"):
        store.kubectl("scale", "kvc/store", "--replicas=2")
    # The API server knows declared tenants only.
    store.patch(replicas=2, tenants=None)

    def refused() -> str | None:
        stalled = conditions(store.body()["status"]).get("Stalled", {})
        assert stalled.get("reason") == "ScaleDownRefused", stalled
        return stalled["message"]

    said = eventually_sync(refused, deadline=180, every=0.5, what="it is refused")
    assert said.endswith("for tenants want 3 replicas; write replicas: 3"), said
    store.tells("Stalled", said)
    store.patch(replicas=3, tenants=[{"name": TENANT}])
    store.settled(300)
    assert len(store.volumes()) == 3


def another_version_is_rolled_out(store: Store, values: Path) -> None:
    """One pod after the other gets the next version; storage nodes mount something more besides."""
    a_volume_for_backups(store)
    old, before = pods(store), versions(store)
    worker, coordinator = (next_image(values, name) for name in ("worker", "coordinator"))
    with store.watched() as seen:
        changed = {"image": worker, "backup": {"claimName": "backups"}}
        store.patch(**changed, coordinators={"image": coordinator})
        store.settled(300)
    assert not old & pods(store)
    assert versions(store) == [f"{version}+next" for version in before]
    generation = store.body()["metadata"]["generation"]
    ready = []
    for each in seen:
        assert each["readyReplicas"] >= QUORUM, each
        assert each["coordinators"]["readyReplicas"] >= 1, each
        if each["observedGeneration"] == generation:
            found = conditions(each)["Ready"]
            ready.append(found["status"] == "True")
            assert ready[-1] or found["reason"] == "RollingOut", each
    # It is told from the first moment on, and until all pods are new.
    assert ready[:1] == [False]
    assert ready == sorted(ready)


def versions(store: Store) -> list[str]:
    """What the programs of a storage node and of a coordinator say that they are."""
    found = []
    for component, program in (("sts", "muster-storage"), ("deploy", "muster-kv-coordinator")):
        owner = f"{component}/store-kv-{program.rpartition('-')[2]}"
        said = store.kubectl("exec", owner, "--", program, "--version")
        found.append(said.splitlines()[0].split()[-1])
    return found


def pods(store: Store) -> set[str]:
    """The uids of storage nodes and coordinators."""
    found = (*store.fleet.pods("kv-storage"), *store.fleet.pods("kv-coordinator"))
    return {each["metadata"]["uid"] for each in found}


def a_backup_is_made(store: Store) -> None:
    store.type("Backups", "create job")
    store.kubectl("wait", "job/now", "--for=condition=Complete", "--timeout=6m")

    def told() -> bool:
        return "lastBackup" in store.body()["status"]

    eventually_sync(told, deadline=180, every=0.5, what="the status tells when")


def nothing_is_left(store: Store) -> None:
    store.kubectl("delete", "kvc/store")
    store.kubectl("delete", "service/store-e2e", "pvc/backups")

    def gone() -> bool:
        left = store.fleet.left()
        assert not left, left
        return True

    # The garbage collector takes a while for volumes and what owns them.
    eventually_sync(gone, deadline=300, every=1, what="nothing is left")


async def test_a_store_outlives_its_nodes_and_its_volumes(fleet: Fleet, values: Path) -> None:
    store = Store(fleet)
    await asyncio.to_thread(made, store, replicas=4)
    async with connected(store) as client:
        async with client.writing():
            await asyncio.to_thread(a_node_is_killed, store)
            await asyncio.to_thread(a_volume_is_lost, store)
            await asyncio.to_thread(one_node_fewer, store)
            await asyncio.to_thread(too_few_nodes, store)
            await asyncio.to_thread(another_version_is_rolled_out, store, values)
        await client.read_all()
    await asyncio.to_thread(a_backup_is_made, store)
    await asyncio.to_thread(store.kubectl, "delete", "kvc/store")
    await asyncio.to_thread(made, store, backup={"claimName": "backups", "restore": "now"})
    async with connected(store, client.acknowledged) as client:
        await client.read_all()
        await asyncio.to_thread(store.type, "Backups", "restore --merge")
        await client.read_all()
    await asyncio.to_thread(nothing_is_left, store)
