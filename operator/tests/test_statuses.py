"""What the operator says in statuses, on a real API server."""

import pytest

from muster_operator import naming
from muster_operator.resources import (
    CONFIG_MAPS,
    COORDINATORS,
    DEPLOYMENTS,
    PODS,
    PROVER_POOLS,
    SECRETS,
    STATEFUL_SETS,
    Key,
    Manifest,
    Resource,
)
from muster_testing.waiting import eventually

from .conftest import Operators, Space
from .coordinators import FakeCoordinator, pool_numbers

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]

POOL_DEPLOYMENT, COORDINATOR_DEPLOYMENT = "demo-worker", "demo-coordinator"


async def test_a_missing_database_secret_is_said_until_it_is_there(space: Space) -> None:
    await space.coordinator("database: {secretRef: {name: cloud, key: uri}}")
    stalled = await space.reason(COORDINATORS, "Stalled", "SecretNotFound")
    sentence = "Secret cloud is missing: make it, with the connection string as uri"
    assert stalled["message"] == sentence

    async def write(**data: str) -> None:
        metadata = {"name": "cloud", "namespace": space.name}
        await space.cluster.apply(SECRETS, SECRETS.manifest(metadata, stringData=data))

    await write(other="x")

    async def no_key() -> bool:
        conditions = await space.conditions(COORDINATORS)
        assert "Secret cloud has no key uri" in conditions["Stalled"]["message"]
        return True

    await eventually(no_key, what="it says that the key is missing")
    await write(uri="postgresql://u:p@h/d")
    await space.the(DEPLOYMENTS, COORDINATOR_DEPLOYMENT)
    await space.reason(COORDINATORS, "Ready", "NoPodsReady")
    assert "Stalled" not in await space.conditions(COORDINATORS)
    assert await space.get(STATEFUL_SETS, "demo-postgres") is None


async def test_a_missing_secret_with_a_key_is_said_until_it_is_there(space: Space) -> None:
    source = "{secretRef: {name: ceremony, key: final.zkey}}"
    key = f"{{name: addition, source: {source}, sha256: {'ab' * 32}}}"
    await space.pool(f"{{circuits: [{{name: addition}}], keys: {{imported: [{key}]}}}}")
    stalled = await space.reason(COORDINATORS, "Stalled", "SecretNotFound")
    assert stalled["message"] == (
        "Secret ceremony is missing: make it, for ProverPool demo takes a proving key from there"
    )
    metadata = {"name": "ceremony", "namespace": space.name}
    await space.cluster.apply(SECRETS, SECRETS.manifest(metadata, stringData={"other": "x"}))

    async def no_key() -> bool:
        conditions = await space.conditions(COORDINATORS)
        assert "Secret ceremony has no key final.zkey" in conditions["Stalled"]["message"]
        return True

    await eventually(no_key, what="it says that the key is missing")
    await space.cluster.apply(SECRETS, SECRETS.manifest(metadata, stringData={"final.zkey": "x"}))
    await space.the(DEPLOYMENTS, COORDINATOR_DEPLOYMENT)
    await space.until_ready(COORDINATORS)
    config = await space.the(CONFIG_MAPS, COORDINATOR_DEPLOYMENT)
    assert "/var/lib/muster/keys/secret/ceremony/final.zkey" in config["data"]["coordinator.yaml"]


async def test_an_object_of_somebody_else_is_left_alone(space: Space) -> None:
    metadata = {"name": POOL_DEPLOYMENT, "namespace": space.name}
    theirs = await space.cluster.create(
        CONFIG_MAPS, CONFIG_MAPS.manifest(metadata, data={"of": "theirs"})
    )
    await space.pool()
    stalled = await space.reason(PROVER_POOLS, "Stalled", "NameTaken")
    assert stalled["message"] == "ConfigMap demo-worker exists and is not ours: remove or rename it"
    there = await space.the(CONFIG_MAPS, POOL_DEPLOYMENT)
    assert there["data"] == theirs["data"]
    await space.cluster.delete(CONFIG_MAPS, theirs)
    await space.reason(PROVER_POOLS, "Ready", "WaitingForCoordinator")


async def test_what_the_api_server_refuses_is_said(space: Space) -> None:
    await space.pool("podTemplate: {nodeSelector: {'not a label': x}}")
    stalled = await space.reason(PROVER_POOLS, "Stalled", "Refused")
    assert stalled["message"].startswith("Deployment demo-worker: ")
    assert "not a label" in stalled["message"]
    assert await space.get(CONFIG_MAPS, POOL_DEPLOYMENT), "the other children are there"


async def test_a_coordinator_that_is_not_the_pools_is_not_used(space: Space) -> None:
    await space.coordinator()
    # The operator has left its mark in it, which is not that of a maker.
    await eventually(lambda: space.conditions(COORDINATORS, "demo"), what="it has a status")
    await space.pool()
    stalled = await space.reason(PROVER_POOLS, "Stalled", "CoordinatorNotOwned")
    assert "coordinatorRef: {name: demo}" in stalled["message"]
    assert await space.get(DEPLOYMENTS, POOL_DEPLOYMENT) is None


@pytest.mark.parametrize(
    ("resource", "component", "kind"),
    [
        (PROVER_POOLS, naming.WORKER, "WorkersScheduled"),
        (COORDINATORS, naming.COORDINATOR, "PodsScheduled"),
        (COORDINATORS, naming.POSTGRES, "PodsScheduled"),
    ],
)
async def test_pods_that_find_no_node_are_said_until_they_have_one(
    space: Space, resource: Resource, component: str, kind: str
) -> None:
    await space.pool()

    async def pods() -> list[Manifest]:
        return await space.cluster.list(PODS, space.name, f"{naming.COMPONENT}={component}")

    pod = (await eventually(pods, what="pods"))[0]
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient cpu.",
    }
    metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
    await space.cluster.apply(
        PODS, PODS.manifest(metadata, status={"conditions": [condition]}), sub="status"
    )
    said = await space.reason(resource, kind, "Unschedulable")
    assert "Insufficient cpu" in said["message"]
    if resource is PROVER_POOLS:
        there = await space.the(PROVER_POOLS, "demo")
        assert there["status"]["unschedulableReplicas"] == 1
    await space.run_pods()
    assert (await space.reason(resource, kind, "AllScheduled"))["status"] == "True"


async def test_the_keys_in_use_stand_in_the_status(space: Space, operators: Operators) -> None:
    version = "sha256:" + "ab" * 32
    key = {"key_id": "merkle-20-poseidon@bn254", "version": version}
    async with FakeCoordinator(pool_numbers("demo")).serving() as coordinator:
        coordinator.queue["keys"] = [{"pool": "demo", **key}, {"pool": "another", **key}]
        operators.urls[Key("Coordinator", space.name, "demo")] = coordinator.url
        await space.pool()

        async def shown() -> bool:
            status = (await space.the(PROVER_POOLS, "demo")).get("status", {})
            assert status.get("keys") == [{"keyId": key["key_id"], "version": version}]
            return True

        await eventually(shown, what="the key and its version")
