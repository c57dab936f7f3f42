"""Volumes that grow, on a real API server with its controllers; the tests are storage's driver."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from muster_operator import naming
from muster_operator.reconcile.expansion import expand
from muster_operator.reconcile.growth import shortfall
from muster_operator.resources import (
    CLAIMS,
    COORDINATORS,
    DEPLOYMENTS,
    EVENTS,
    KV_CLUSTERS,
    STATEFUL_SETS,
    Key,
    Manifest,
    Resource,
)
from muster_testing.waiting import eventually

from .conftest import Operators, Space
from .stores import FakeStore

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]

CLASSES = Resource("storage.k8s.io/v1", "StorageClass", "storageclasses")
DISKS = Resource("v1", "PersistentVolume", "persistentvolumes")
POSTGRES, NATS, STORAGE = "demo-postgres", "demo-nats", "demo-kv-storage"


@dataclass
class Driver:
    """A storage class of the test's own, with what its driver does for claims of the space."""

    space: Space
    name: str

    async def allow(self, expansion: bool) -> None:
        """Let volumes of the class expand, or not."""
        patch = {"allowVolumeExpansion": expansion}
        await self.space.cluster.merge(CLASSES, None, self.name, patch)

    async def claims(self) -> dict[str, Manifest]:
        """All claims, by name."""
        found = await self.space.cluster.list(CLAIMS, self.space.name)
        return {each["metadata"]["name"]: each for each in found}

    async def asked(self) -> dict[str, str]:
        """The size that each claim asks for."""
        found = await self.claims()
        return {
            name: each["spec"]["resources"]["requests"]["storage"] for name, each in found.items()
        }

    async def until_bound(self, *names: str) -> None:
        """Make volumes for claims as they come, until those of these names have theirs."""

        async def bound() -> bool:
            claims = await self.claims()
            for claim in claims.values():
                if claim["status"]["phase"] == "Pending":
                    await self._provide(claim)
            phases = {name: claims[name]["status"]["phase"] for name in names if name in claims}
            assert phases == dict.fromkeys(names, "Bound")
            return True

        await eventually(bound, what="the claims are bound")

    async def _provide(self, claim: Manifest) -> None:
        metadata = claim["metadata"]
        disk = DISKS.manifest(
            {"name": f"disk-{metadata['uid']}"},
            spec={
                "capacity": claim["spec"]["resources"]["requests"],
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": self.name,
                "claimRef": {
                    "apiVersion": CLAIMS.api_version,
                    "kind": CLAIMS.kind,
                    **{key: metadata[key] for key in ("name", "namespace", "uid")},
                },
                "csi": {"driver": "disks.example.com", "volumeHandle": metadata["uid"]},
            },
        )
        await self.space.cluster.apply(DISKS, disk, manager="driver")

    async def say(self, name: str, **status: Any) -> None:
        """Write that into the status of a claim."""
        metadata = {"name": name, "namespace": self.space.name}
        manifest = CLAIMS.manifest(metadata, status=status)
        await self.space.cluster.apply(CLAIMS, manifest, sub="status", manager="driver")

    async def expand(self) -> None:
        """Give every claim what it asks for."""
        for name, claim in (await self.claims()).items():
            capacity = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
            disk = claim["spec"]["volumeName"]
            await self.space.cluster.merge(DISKS, None, disk, {"spec": {"capacity": capacity}})
            await self.say(name, capacity=capacity)

    def store(self, size: str) -> str:
        """How a managed store with such a volume stands in a spec."""
        return f"{{managed: {{storage: {size}, storageClassName: {self.name}}}}}"


@pytest_asyncio.fixture
async def driver(space: Space) -> AsyncIterator[Driver]:
    made = CLASSES.manifest(
        {"name": space.name}, provisioner="disks.example.com", allowVolumeExpansion=True
    )
    there = await space.cluster.create(CLASSES, made)
    yield Driver(space, space.name)
    await space.cluster.delete(CLASSES, there)
    for disk in await space.cluster.list(DISKS):
        if disk["spec"].get("storageClassName") == space.name:
            await space.cluster.delete(DISKS, disk)


@pytest_asyncio.fixture
async def store(operators: Operators, space: Space) -> AsyncIterator[FakeStore]:
    async with FakeStore().serving() as serving:
        operators.urls[Key("KVCluster", space.name, "demo")] = serving.url
        yield serving


async def settled(space: Space, resource: Resource) -> None:
    """Run pods as they come until the object is ready and nothing is still to come."""

    async def so() -> bool:
        await space.run_pods()
        body = await space.the(resource, "demo")
        assert body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
        said = await space.conditions(resource)
        assert said["Ready"]["status"] == "True", said["Ready"]
        assert not said.keys() & {"Reconciling", "Stalled", "VolumesTooSmall"}, said
        return True

    await eventually(so, what=f"{resource.kind} demo is settled")


async def until_asked(driver: Driver, **sizes: str) -> None:
    """Wait until the claims of these pods, with _ for -, ask for these sizes."""
    wanted = {naming.claim(pod.replace("_", "-")): size for pod, size in sizes.items()}

    async def so() -> bool:
        asked = await driver.asked()
        assert {name: asked.get(name) for name in wanted} == wanted
        return True

    await eventually(so, what="the claims ask for other sizes")


async def test_the_volumes_of_managed_stores_grow_in_place(space: Space, driver: Driver) -> None:
    await space.coordinator(f"{{database: {driver.store('1Gi')}, broker: {driver.store('1Gi')}}}")
    await driver.until_bound(naming.claim(f"{POSTGRES}-0"), naming.claim(f"{NATS}-0"))
    await settled(space, COORDINATORS)
    before = [await space.the(STATEFUL_SETS, name) for name in (POSTGRES, NATS)]
    await space.coordinator(f"{{database: {driver.store('2Gi')}, broker: {driver.store('1.5Gi')}}}")
    await until_asked(driver, demo_postgres_0="2Gi", demo_nats_0="1536Mi")
    said = await space.reason(COORDINATORS, "VolumesTooSmall", "VolumesGrowing")
    assert said["message"] == "data-demo-postgres-0 has 1Gi of 2Gi; and 1 more"
    doing = await space.reason(COORDINATORS, "Reconciling", "VolumesGrowing")
    assert doing["message"] == said["message"]
    assert (await space.conditions(COORDINATORS))["Ready"]["status"] == "True"
    pending = {"type": "FileSystemResizePending", "status": "True", "message": "it is mounted"}
    await driver.say(naming.claim(f"{POSTGRES}-0"), conditions=[pending])

    async def told() -> bool:
        found = (await space.conditions(COORDINATORS))["VolumesTooSmall"]
        assert "of 2Gi: FileSystemResizePending: it is mounted" in found["message"], found
        return True

    await eventually(told, what="how far it is")
    await driver.expand()
    await settled(space, COORDINATORS)
    for there in before:
        after = await space.the(STATEFUL_SETS, there["metadata"]["name"])
        for key in ("uid", "generation"):
            assert after["metadata"][key] == there["metadata"][key]


async def test_what_may_not_grow_is_told_and_holds_up_nothing(space: Space, driver: Driver) -> None:
    await driver.allow(False)
    await space.coordinator(f"database: {driver.store('1Gi')}")
    await driver.until_bound(naming.claim(f"{POSTGRES}-0"))
    await settled(space, COORDINATORS)
    await space.coordinator(f"{{replicas: 3, database: {driver.store('2Gi')}}}")
    said = await space.reason(COORDINATORS, "VolumesTooSmall", "VolumeExpansionRefused")
    assert said["message"].startswith("data-demo-postgres-0 stays at 1Gi of 2Gi: ")
    assert "the storageclass that provisions the pvc must support resize" in said["message"]
    assert f"StorageClass ({space.name}) has to say allowVolumeExpansion" in said["message"]

    async def told() -> bool:
        events = await space.cluster.list(EVENTS, space.name)
        notes = [each for each in events if each["reason"] == "VolumeExpansionRefused"]
        assert [(each["type"], each["note"]) for each in notes] == [("Warning", said["message"])]
        return True

    await eventually(told, what="one Event about it")

    async def scaled() -> bool:
        await space.run_pods()
        found = await space.the(DEPLOYMENTS, "demo-coordinator")
        assert found.get("status", {}).get("readyReplicas") == 3, found
        conditions = await space.conditions(COORDINATORS)
        assert conditions["Ready"]["status"] == "True", conditions
        assert not conditions.keys() & {"Reconciling", "Stalled"}, conditions
        return True

    await eventually(scaled, what="all else is as the spec says")
    assert await driver.asked() == {"data-demo-postgres-0": "1Gi"}
    await driver.allow(True)
    await until_asked(driver, demo_postgres_0="2Gi")
    await driver.expand()
    await settled(space, COORDINATORS)


async def test_nothing_grows_that_is_paused(space: Space, driver: Driver) -> None:
    await space.coordinator(f"database: {driver.store('1Gi')}")
    await driver.until_bound(naming.claim(f"{POSTGRES}-0"))
    await settled(space, COORDINATORS)
    paused = {"metadata": {"annotations": {naming.PAUSED: "true"}}}
    await space.cluster.merge(COORDINATORS, space.name, "demo", paused)
    await space.reason(COORDINATORS, "Paused", "Paused")
    await space.coordinator(f"database: {driver.store('2Gi')}")
    await space.reason(COORDINATORS, "VolumesTooSmall", "VolumesGrowing")
    assert await driver.asked() == {"data-demo-postgres-0": "1Gi"}
    paused["metadata"]["annotations"][naming.PAUSED] = "false"
    await space.cluster.merge(COORDINATORS, space.name, "demo", paused)
    await until_asked(driver, demo_postgres_0="2Gi")


async def test_what_somebody_made_larger_meanwhile_stays_so(space: Space, driver: Driver) -> None:
    name = naming.claim(f"{POSTGRES}-0")
    await space.coordinator(f"database: {driver.store('1Gi')}")
    await driver.until_bound(name)
    read = shortfall(await space.the(CLAIMS, name), "2Gi")
    assert read is not None
    more = {"spec": {"resources": {"requests": {"storage": "5Gi"}}}}
    await space.cluster.merge(CLAIMS, space.name, name, more)
    assert await expand(space.cluster, [read]) == (read,)
    assert (await driver.asked())[name] == "5Gi"


async def test_storage_nodes_that_come_later_grow_too(
    space: Space, driver: Driver, store: FakeStore
) -> None:
    nodes = [f"{STORAGE}-{number}" for number in range(4)]

    def spec(replicas: int, size: str) -> str:
        volume = f"{{size: {size}, storageClassName: {driver.name}}}"
        return f"{{replicas: {replicas}, volume: {volume}, database: {driver.store('1Gi')}}}"

    await space.store(spec(3, "1Gi"))
    await driver.until_bound(*map(naming.claim, nodes[:3]), naming.claim("demo-kv-postgres-0"))
    await settled(space, KV_CLUSTERS)
    before = await space.the(STATEFUL_SETS, STORAGE)
    # An operator that was killed then had asked for one of them.
    larger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    await space.cluster.merge(CLAIMS, space.name, naming.claim(nodes[0]), larger)
    await space.store(spec(4, "2Gi"))
    names = [node.replace("-", "_") for node in nodes]
    await until_asked(driver, **dict.fromkeys(names[:3], "2Gi"))
    # The template in the StatefulSet can't be changed.
    await until_asked(driver, **{names[3]: "1Gi"})
    await driver.until_bound(naming.claim(nodes[3]))
    await until_asked(driver, **{names[3]: "2Gi"}, demo_kv_postgres_0="1Gi")
    await driver.expand()
    await settled(space, KV_CLUSTERS)
    after = await space.the(STATEFUL_SETS, STORAGE)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["volumeClaimTemplates"] == before["spec"]["volumeClaimTemplates"]
    # They go with the store as before.
    claims = await driver.claims()
    for node in nodes:
        (owner,) = claims[naming.claim(node)]["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("StatefulSet", after["metadata"]["uid"])
    await space.cluster.delete(KV_CLUSTERS, await space.the(KV_CLUSTERS, "demo"))
    for node in nodes:
        await space.gone(CLAIMS, naming.claim(node))
