"""Operators that run against a real API server."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
import yaml
from kubernetes.aio import client, config

from muster_api.crd import KINDS
from muster_operator.cluster import Cluster, ClusterError
from muster_operator.config import OperatorConfig, OperatorSection
from muster_operator.metrics_api import server
from muster_operator.operator import Identity, Operator
from muster_operator.rbac import METRICS_API_SERVICE
from muster_operator.reconcile.kv.client import Faces
from muster_operator.resources import (
    API_SERVICES,
    COORDINATORS,
    CUSTOM,
    KV_CLUSTERS,
    PODS,
    PROVER_POOLS,
    SERVICES,
    Key,
    Manifest,
    Resource,
)
from muster_runtime.election import Timings
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

from .coordinators import FakeCoordinator, pool_numbers
from .plane import NAMESPACES, SECRET, SERVICE, SYSTEM, Plane, grant, ready_status

DEFINITIONS = Resource(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"
)

# With these a leader that gets no turn for seconds still leads.
IMAGES = {
    "coordinator_image": "muster/coordinator:1",
    "worker_image": "muster/worker:1",
    "postgres_image": "postgres:17",
    "nats_image": "nats:2",
}
PATIENT = Timings(lease_duration=15.0, renew_deadline=10.0, retry_period=1.0)


@contextlib.asynccontextmanager
async def admin_of(plane: Plane) -> AsyncIterator[Cluster]:
    """The API as cluster-admin."""
    configuration = client.Configuration()
    await config.load_kube_config(str(plane.kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        yield Cluster(api, deadline=60.0)


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """A control plane that knows our kinds."""

    async def prepare(running: Plane) -> None:
        async with admin_of(running) as admin:
            await grant(admin)
            for kind in KINDS:
                await admin.apply(DEFINITIONS, kind.manifest())

            async def served() -> bool:
                try:
                    for resource in CUSTOM:
                        await admin.list(resource)
                except ClusterError as error:
                    raise AssertionError(str(error)) from error
                return True

            await eventually(served, what="our kinds are served")

    with Plane() as running:
        asyncio.run(prepare(running))
        yield running


@pytest_asyncio.fixture
async def admin(plane: Plane) -> AsyncIterator[Cluster]:
    """The API as cluster-admin."""
    async with admin_of(plane) as cluster:
        yield cluster


@dataclass
class Space:
    """A namespace of the test's own."""

    cluster: Cluster
    name: str
    made: list[tuple[Resource, str]] = field(default_factory=list)

    async def pool(self, text: str = "", name: str = "demo") -> Manifest:
        """Make or change a ProverPool; `text` is its spec beside the keys."""
        spec = {"keys": {"insecureSetup": True}, **(yaml.safe_load(text) or {})}
        return await self._write(PROVER_POOLS, name, spec)

    async def coordinator(self, text: str = "", name: str = "demo") -> Manifest:
        """Make or change a Coordinator."""
        return await self._write(COORDINATORS, name, yaml.safe_load(text) or {})

    async def store(self, text: str = "", name: str = "demo") -> Manifest:
        """Make or change a KVCluster."""
        return await self._write(KV_CLUSTERS, name, yaml.safe_load(text) or {})

    async def _write(self, resource: Resource, name: str, spec: dict[str, Any]) -> Manifest:
        self.made.append((resource, name))
        metadata = {"name": name, "namespace": self.name}
        return await self.cluster.apply(
            resource, resource.manifest(metadata, spec=spec), manager="test"
        )

    async def get(self, resource: Resource, name: str) -> Manifest | None:
        """An object, or None."""
        return await self.cluster.get(resource, self.name, name)

    async def the(self, resource: Resource, name: str) -> Manifest:
        """An object, once it is there."""
        return await eventually(lambda: self.get(resource, name), what=f"{resource.kind} {name}")

    async def list(self, resource: Resource) -> list[Manifest]:
        """All objects of a kind that the operator's labels mark."""
        return await self.cluster.list(resource, self.name, "app.kubernetes.io/managed-by=muster")

    async def conditions(self, resource: Resource, name: str = "demo") -> dict[str, Manifest]:
        """The conditions of an object by type."""
        found = await self.get(resource, name) or {}
        return {each["type"]: each for each in found.get("status", {}).get("conditions", [])}

    async def reason(
        self, resource: Resource, kind: str, reason: str, name: str = "demo"
    ) -> Manifest:
        """A condition, once it has that reason."""

        async def said() -> Manifest:
            condition = (await self.conditions(resource, name)).get(kind)
            assert condition is not None, "no such condition"
            assert condition["reason"] == reason, condition
            return condition

        return await eventually(said, what=f"{kind} of {name} for {reason}")

    async def gone(self, resource: Resource, name: str) -> None:
        """Wait until an object is no more."""

        async def absent() -> bool:
            return await self.get(resource, name) is None

        # The garbage collector looks for new kinds of owners each 30 seconds.
        await eventually(absent, deadline=120, what=f"{resource.kind} {name} is gone")

    async def run_pods(self) -> None:
        """Have every pod run and be ready, as a kubelet would."""
        for pod in await self.list(PODS):
            if pod.get("status", {}).get("phase") != "Running":
                metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
                await self.cluster.apply(
                    PODS,
                    PODS.manifest(metadata, status=ready_status(pod)),
                    sub="status",
                    manager="kubelet",
                )

    async def until_ready(self, resource: Resource, name: str = "demo") -> None:
        """Run pods as they come until the object is ready."""

        async def ready() -> bool:
            await self.run_pods()
            condition = (await self.conditions(resource, name)).get("Ready", {})
            assert condition.get("status") == "True", condition
            return True

        await eventually(ready, what=f"{resource.kind} {name} is ready")


@pytest_asyncio.fixture
async def space(admin: Cluster) -> AsyncIterator[Space]:
    """An empty namespace; what the test makes in it is deleted."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await admin.apply(NAMESPACES, NAMESPACES.manifest({"name": name}))
    found = Space(admin, name)
    yield found
    for resource, made in found.made:
        there = await found.get(resource, made)
        if there is not None:
            await admin.delete(resource, there)


@dataclass
class Replica:
    """An operator that runs in this process."""

    operator: Operator
    task: asyncio.Task[None]
    stop: asyncio.Event
    metrics_port: int

    @property
    def leads(self) -> bool:
        """Whether it leads."""
        return self.operator.metrics.registry.get_sample_value("muster_operator_leading") == 1

    async def close(self) -> None:
        """Stop it in order."""
        self.stop.set()
        await self.task


class Operators:
    """Starts operators.

    Attributes:
        urls: where the coordinators' operations ports really are, and both faces of KVClusters'.
    """

    def __init__(self) -> None:
        self.urls: dict[Key, str] = {}
        self._replicas: list[Replica] = []

    async def start(
        self, name: str = "operator-0", timings: Timings = PATIENT, **settings: Any
    ) -> Replica:
        """Start one replica."""
        port = free_port()
        section = {
            **IMAGES,
            "resync_interval": timedelta(seconds=2),
            "poll_interval": timedelta(seconds=1),
            "ops_port": 0,
            "metrics_api_port": port,
            "metrics_api_service": SERVICE,
            "metrics_api_secret": SECRET,
            **settings,
        }
        operator = Operator(
            OperatorConfig(muster=OperatorSection.model_validate(section)),
            Identity(name, SYSTEM),
            coordinator_url=self._url,
            kv_faces=self._faces,
            timings=timings,
        )
        stop = asyncio.Event()
        replica = Replica(operator, asyncio.create_task(operator.run(stop)), stop, port)
        self._replicas.append(replica)
        return replica

    def _url(self, key: Key) -> str:
        return self.urls.get(key, "http://127.0.0.1:1")

    def _faces(self, key: Key) -> Faces:
        address = self._url(key).removeprefix("http://")
        return Faces(address, address)

    async def close(self) -> None:
        """Stop all that still run."""
        for replica in self._replicas:
            replica.stop.set()
        for replica in self._replicas:
            with contextlib.suppress(asyncio.CancelledError):
                await replica.task


@pytest_asyncio.fixture
async def operators(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Operators]:
    """Starts operators that have the operator's rights alone."""
    monkeypatch.setenv("KUBECONFIG", str(plane.operator_kubeconfig))
    running = Operators()
    yield running
    await running.close()


@pytest_asyncio.fixture
async def operator(operators: Operators) -> Replica:
    """One operator, leading."""
    replica = await operators.start()

    def leads() -> bool:
        assert not replica.task.done(), replica.task
        return replica.leads

    await eventually(leads, what="it leads")
    return replica


@pytest_asyncio.fixture
async def coordinator(operators: Operators, space: Space) -> AsyncIterator[FakeCoordinator]:
    """The coordinator of pool `demo`, with 6 unfinished tasks."""
    numbers = pool_numbers("demo", pending=3, assigned=1, in_progress=2)
    async with FakeCoordinator(numbers).serving() as serving:
        operators.urls[Key("Coordinator", space.name, "demo")] = serving.url
        yield serving


def api_service(service: str, port: int) -> Manifest:
    return API_SERVICES.manifest(
        {"name": METRICS_API_SERVICE},
        spec={
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": service, "namespace": SYSTEM, "port": port},
        },
    )


@pytest_asyncio.fixture
async def registered(
    admin: Cluster, operator: Replica, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Manifest]:
    """The APIService, as the chart makes it, pointing at the operator in this process."""
    monkeypatch.setattr(server, "_REFRESH_SECONDS", 0.5)
    service = SERVICES.manifest(
        {"name": SERVICE, "namespace": SYSTEM},
        spec={"type": "ExternalName", "externalName": "localhost"},
    )
    await admin.apply(SERVICES, service)
    there = await admin.apply(API_SERVICES, api_service(SERVICE, operator.metrics_port))

    async def available() -> bool:
        found = await admin.get(API_SERVICES, None, METRICS_API_SERVICE) or {}
        conditions = found.get("status", {}).get("conditions", [])
        assert [each["status"] for each in conditions] == ["True"], conditions
        return True

    try:
        # The leader may have looked before it was there, and looks each 30 seconds.
        await eventually(available, deadline=120, what="the APIService is available")
        yield there
    finally:
        await admin.delete(API_SERVICES, there)
