"""The keys that seal inputs, on a real API server."""

import base64
from typing import Any

import pytest

from muster_operator import naming
from muster_operator.resources import (
    CONFIG_MAPS,
    COORDINATORS,
    DEPLOYMENTS,
    SECRETS,
    Manifest,
)
from muster_testing.waiting import eventually

from .conftest import Space

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]

MADE, RETAINED = "demo-coordinator-witness", "demo-coordinator-witness-retained"
KEEP = "database: {managed: {deletionPolicy: Retain}}"


async def deployment(space: Space, source: str) -> Manifest:
    """The Deployment, once its pods have their keys from Secret `source`."""

    async def uses() -> Manifest:
        there = await space.the(DEPLOYMENTS, "demo-coordinator")
        (config,) = [
            volume["projected"]["sources"]
            for volume in there["spec"]["template"]["spec"]["volumes"]
            if volume["name"] == "config"
        ]
        wanted = {"key": "keys", "path": "database/witness-keys"}
        secrets = [each["secret"] for each in config if "secret" in each]
        assert {"name": source, "items": [wanted]} in secrets, secrets
        return there

    return await eventually(uses, what=f"coordinators have {source}")


def key_of(secret: Manifest) -> bytes:
    """The one key in the file."""
    (line,) = base64.b64decode(secret["data"]["keys"]).split()
    return base64.b64decode(line, validate=True)


async def test_a_managed_database_gets_a_key_that_goes_with_it(space: Space) -> None:
    await space.coordinator()
    made = await space.the(SECRETS, MADE)
    assert len(key_of(made)) == 32
    assert made["metadata"]["ownerReferences"][0]["name"] == "demo"
    await deployment(space, MADE)
    config = await space.the(CONFIG_MAPS, "demo-coordinator")
    file = "witness_key_file: /etc/muster/database/witness-keys"
    assert file in config["data"]["coordinator.yaml"]
    await space.reason(COORDINATORS, "InputsSealed", "KeyMade")
    await space.coordinator("replicas: 3")

    async def scaled() -> bool:
        there = await space.the(DEPLOYMENTS, "demo-coordinator")
        return bool(there["spec"]["replicas"] == 3)

    await eventually(scaled, what="the change has arrived")
    assert await space.the(SECRETS, MADE) == made


async def test_a_key_outlives_its_coordinator_where_the_volume_does(space: Space) -> None:
    first = await space.coordinator(KEEP)
    made = await space.the(SECRETS, RETAINED)
    assert "ownerReferences" not in made["metadata"]
    await deployment(space, RETAINED)
    await space.cluster.delete(COORDINATORS, first)
    await space.gone(DEPLOYMENTS, "demo-coordinator")
    await space.coordinator(KEEP)
    await deployment(space, RETAINED)
    assert await space.the(SECRETS, RETAINED) == made


async def test_a_volume_that_is_to_be_kept_takes_its_key_along(space: Space) -> None:
    await space.coordinator()
    made = await space.the(SECRETS, MADE)
    await space.coordinator(KEEP)
    await deployment(space, RETAINED)
    assert (await space.the(SECRETS, RETAINED))["data"] == made["data"]


async def test_a_key_that_is_gone_is_not_followed_by_another(space: Space) -> None:
    await space.coordinator()
    made = await space.the(SECRETS, MADE)
    await deployment(space, MADE)
    await space.cluster.delete(SECRETS, made)
    await space.coordinator("replicas: 3")
    stalled = await space.reason(COORDINATORS, "Stalled", "WitnessKeyLost")
    assert stalled["message"].startswith(f"Secret {MADE} is gone, and inputs that wait are sealed")
    await space.reason(COORDINATORS, "InputsSealed", "WitnessKeyLost")
    assert await space.get(SECRETS, MADE) is None
    metadata: dict[str, Any] = {"name": MADE, "namespace": space.name}
    restored = SECRETS.manifest(metadata, data=made["data"])
    await space.cluster.create(SECRETS, restored)

    async def goes_on() -> bool:
        there = await space.the(DEPLOYMENTS, "demo-coordinator")
        annotations = there["spec"]["template"]["metadata"]["annotations"]
        version = (await space.the(SECRETS, MADE))["metadata"]["resourceVersion"]
        assert annotations[naming.WITNESS] == f"{MADE}.{version}"
        # The status is written after what it tells of.
        assert "Stalled" not in await space.conditions(COORDINATORS)
        return True

    await eventually(goes_on, deadline=60, what="it goes on with the restored key")


async def test_keys_of_ones_own_are_used(space: Space) -> None:
    await space.coordinator("database: {managed: {}, witnessKeySecretRef: {name: own, key: keys}}")
    stalled = await space.reason(COORDINATORS, "Stalled", "SecretNotFound")
    assert stalled["message"] == "Secret own is missing: make it, for inputs are sealed with it"
    metadata = {"name": "own", "namespace": space.name}
    await space.cluster.create(SECRETS, SECRETS.manifest(metadata, stringData={"keys": "x"}))
    await deployment(space, "own")
    assert await space.get(SECRETS, MADE) is None
    await space.reason(COORDINATORS, "InputsSealed", "KeyNamed")


async def test_an_external_database_has_no_key_unless_one_is_named(space: Space) -> None:
    metadata = {"name": "cloud", "namespace": space.name}
    await space.cluster.create(SECRETS, SECRETS.manifest(metadata, stringData={"uri": "x"}))
    await space.coordinator("database: {secretRef: {name: cloud, key: uri}}")
    await space.the(DEPLOYMENTS, "demo-coordinator")
    await space.reason(COORDINATORS, "InputsSealed", "NoKey")
    assert await space.get(SECRETS, MADE) is None
