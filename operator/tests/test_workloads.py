"""Worker pools, broker and accounts of a Coordinator, on a real API server."""

import base64
import hashlib
import re

import pytest
import yaml

from muster_operator import naming
from muster_operator.resources import (
    AUTOSCALERS,
    CONFIG_MAPS,
    COORDINATORS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
)
from muster_testing.waiting import eventually

from .conftest import Space
from .coordinators import FakeCoordinator, pool_numbers

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]

OF_A_POOL = (
    AUTOSCALERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    SERVICE_ACCOUNTS,
)
OF_A_BROKER = (CONFIG_MAPS, NETWORK_POLICIES, SERVICES, STATEFUL_SETS)
POOL = "{name: fast, workloads: [sleep, http]}"


async def settings(space: Space, name: str, file: str) -> dict[str, dict[str, object]]:
    config = await space.the(CONFIG_MAPS, name)
    found: dict[str, dict[str, object]] = yaml.safe_load(config["data"][file])
    return found


async def test_a_worker_pool_comes_with_all_it_needs_and_goes_with_all_it_had(
    space: Space,
) -> None:
    await space.coordinator(f"workerPools: [{POOL}]")
    for resource in OF_A_POOL:
        there = await space.the(resource, "demo-fast-workers")
        assert there["metadata"]["labels"][naming.WORKER_POOL] == "fast"
    worker = await settings(space, "demo-fast-workers", "worker.yaml")
    assert (worker["worker"]["pool"], worker["worker"]["workloads"]) == ("fast", ["sleep", "http"])
    await space.until_ready(COORDINATORS)
    await space.reason(COORDINATORS, "WorkerPoolsReady", "AllReady")

    async def shown() -> bool:
        status = (await space.the(COORDINATORS, "demo"))["status"]
        (pool,) = status["workerPools"]
        assert (pool["name"], pool["readyReplicas"]) == ("fast", 1)
        return True

    await eventually(shown, what="the pool's numbers")
    await space.coordinator("{}")
    for resource in OF_A_POOL:
        await space.gone(resource, "demo-fast-workers")
    assert await space.get(DEPLOYMENTS, "demo-coordinator")


async def test_workers_of_one_pool_are_none_of_another(space: Space) -> None:
    fixed = "autoscaling: {enabled: false}, replicas: 2"
    await space.coordinator(
        f"workerPools: [{{name: a, workloads: [sleep], {fixed}}}, "
        f"{{name: b, workloads: [sleep], autoscaling: {{enabled: false}}}}]"
    )

    async def numbers() -> bool:
        pods = await space.list(PODS)
        found = [each["metadata"]["labels"].get(naming.WORKER_POOL, "") for each in pods]
        assert (found.count("a"), found.count("b")) == (2, 1), found
        return True

    await eventually(numbers, what="two workers of a and one of b")


async def test_a_pool_called_as_a_proverpool_is_said(space: Space) -> None:
    await space.coordinator("workerPools: [{name: fast, workloads: [sleep]}]", name="shared")
    await space.pool("coordinatorRef: {name: shared}", name="fast")
    stalled = await space.reason(COORDINATORS, "Stalled", "PoolNameTaken", "shared")
    assert stalled["message"].startswith("worker pool fast has the name of a ProverPool")


async def test_busy_workers_of_a_pool_cost_more_to_delete(
    space: Space, coordinator: FakeCoordinator
) -> None:
    await space.coordinator(f"workerPools: [{POOL}]")

    async def worker() -> str:
        selector = f"{naming.WORKER_POOL}=fast"
        pods = await space.cluster.list(PODS, space.name, selector)
        return str(pods[0]["metadata"]["name"]) if pods else ""

    name = await eventually(worker, what="a worker")
    coordinator.workers = [{"worker_id": name, "pool": "fast", "active_tasks": 1}]

    async def marked() -> bool:
        pod = await space.the(PODS, name)
        assert pod["metadata"].get("annotations", {}).get(naming.DELETION_COST) == "1"
        return True

    await eventually(marked, what="it costs more")


async def test_a_managed_broker_is_there_for_coordinators_and_workers(space: Space) -> None:
    await space.coordinator(
        "{broker: {managed: {}}, workerPools: [{name: a, workloads: [sleep], transport: NATS}]}"
    )
    for resource in OF_A_BROKER:
        await space.the(resource, "demo-nats")
    made = await space.the(SECRETS, "demo-nats")
    url, auth = (base64.b64decode(made["data"][key]).decode() for key in ("url", "auth.conf"))
    match = re.fullmatch(r"nats://muster:(\S+)@demo-nats\.(\S+)\.svc:4222", url)
    assert match
    assert match[2] == space.name
    assert f'password: "{match[1]}"' in auth
    for name, file in (
        ("demo-coordinator", "coordinator.yaml"),
        ("demo-a-workers", "worker.yaml"),
    ):
        config = await settings(space, name, file)
        assert config["broker"] == {"url_file": "/etc/muster/broker/url"}
        deployment = await space.the(DEPLOYMENTS, name)
        volumes = str(deployment["spec"]["template"]["spec"]["volumes"])
        assert "demo-nats" in volumes
        assert match[1] not in str(deployment) + str(config)
    await space.until_ready(COORDINATORS)
    await space.reason(COORDINATORS, "BrokerReady", "BrokerRunning")
    await space.coordinator("{}")
    for resource in OF_A_BROKER:
        await space.gone(resource, "demo-nats")


async def test_a_broker_of_somebody_else_is_used_when_its_secret_is_there(space: Space) -> None:
    await space.coordinator("broker: {secretRef: {name: bus, key: url}}")
    stalled = await space.reason(COORDINATORS, "Stalled", "SecretNotFound")
    assert stalled["message"] == "Secret bus is missing: make it, for the URL of the broker"
    metadata = {"name": "bus", "namespace": space.name}
    await space.cluster.create(SECRETS, SECRETS.manifest(metadata, stringData={"url": "nats://b"}))
    await space.the(DEPLOYMENTS, "demo-coordinator")
    await space.reason(COORDINATORS, "BrokerReady", "ExternalBroker")
    assert await space.get(STATEFUL_SETS, "demo-nats") is None


async def test_the_first_administrators_key_is_made_once(space: Space) -> None:
    await space.coordinator("accounts: {}")
    made = await space.the(SECRETS, "demo-coordinator-admin")
    key, digest = (base64.b64decode(made["data"][name]).decode() for name in ("key", "sha256"))
    assert re.fullmatch(r"nyt_admin_[A-Za-z0-9]{32}", key)
    assert digest.strip() == hashlib.sha256(key.encode()).hexdigest()
    deployment = await space.the(DEPLOYMENTS, "demo-coordinator")
    config = await settings(space, "demo-coordinator", "coordinator.yaml")
    assert config["accounts"] == {"admin_keys_file": "/etc/muster/accounts/admin-keys"}
    sources = deployment["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
    (shown,) = [
        each["secret"]["items"]
        for each in sources
        if each.get("secret", {}).get("name") == "demo-coordinator-admin"
    ]
    assert shown == [{"key": "sha256", "path": "accounts/admin-keys"}], "the key is in no pod"
    await space.coordinator("{accounts: {}, replicas: 3}")

    async def scaled() -> bool:
        status = (await space.the(COORDINATORS, "demo")).get("status", {})
        assert status.get("adminKeySecret") == "demo-coordinator-admin"
        there = await space.the(DEPLOYMENTS, "demo-coordinator")
        return bool(there["spec"]["replicas"] == 3)

    await eventually(scaled, what="the change has arrived")
    assert await space.the(SECRETS, "demo-coordinator-admin") == made


async def test_what_tokens_are_checked_with_is_mounted(space: Space) -> None:
    jwt = "{secretRef: {name: tokens, key: pem}, algorithm: ES256, issuer: 'https://i.example'}"
    await space.coordinator(f"accounts: {{adminKey: Disabled, jwt: {jwt}}}")
    stalled = await space.reason(COORDINATORS, "Stalled", "SecretNotFound")
    assert stalled["message"] == "Secret tokens is missing: make it, for tokens are checked with it"
    metadata = {"name": "tokens", "namespace": space.name}
    await space.cluster.create(SECRETS, SECRETS.manifest(metadata, stringData={"pem": "x"}))
    await space.the(DEPLOYMENTS, "demo-coordinator")
    config = await settings(space, "demo-coordinator", "coordinator.yaml")
    assert config["accounts"] == {
        "jwt_algorithm": "ES256",
        "jwt_key_file": "/etc/muster/accounts/jwt",
        "jwt_issuer": "https://i.example",
    }
    assert await space.get(SECRETS, "demo-coordinator-admin") is None


@pytest.mark.usefixtures("registered")
async def test_the_autoscaler_follows_the_queue_of_a_pool(
    space: Space, coordinator: FakeCoordinator
) -> None:
    coordinator.queue["pools"] = [pool_numbers("demo", pending=99), pool_numbers("fast", 9)]
    await space.coordinator(f"workerPools: [{POOL}]")

    async def workers(wanted: int) -> bool:
        there = await space.the(DEPLOYMENTS, "demo-fast-workers")
        scaler = await space.the(AUTOSCALERS, "demo-fast-workers")
        assert there["spec"]["replicas"] == wanted, scaler.get("status")
        return True

    # 9 unfinished tasks, 4 for each worker.
    await eventually(lambda: workers(3), deadline=60, what="three workers")
