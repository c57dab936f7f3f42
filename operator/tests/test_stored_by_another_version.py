"""Objects whose stored spec this version of the operator can't read."""

import pytest

from muster_operator.children.base import Defaults
from muster_operator.cluster import FIELD_MANAGER, Cluster
from muster_operator.events import EventRecorder
from muster_operator.metrics import OperatorMetrics
from muster_operator.reconcile.coordinator import CoordinatorReconciler
from muster_operator.reconcile.kv.client import faces_in_cluster
from muster_operator.reconcile.kv.reconciler import KvReconciler
from muster_operator.reconcile.prover_pool import PoolReconciler
from muster_operator.reconcile.reconciler import Outcome, Reconciler, World
from muster_operator.resources import (
    COORDINATORS,
    CUSTOM,
    EVENTS,
    KV_CLUSTERS,
    PROVER_POOLS,
    Key,
    Manifest,
    Resource,
)
from muster_operator.telemetry.poll import Telemetry

STATUS = {"certificateRevision": 3, "replicas": 2, "nodes": 5}
METADATA = {"name": "demo", "namespace": "proofs", "uid": "1", "generation": 7}


class Recording(Cluster):
    """Holds one object, which the API server would not let anybody store; notes all writes."""

    def __init__(self, body: Manifest) -> None:
        self._body = body
        self.written: list[tuple[Resource, str, Manifest]] = []

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        return self._body

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        self.written.append((resource, "", manifest))
        return manifest

    async def apply(
        self, resource: Resource, manifest: Manifest, *, sub: str = "", manager: str = FIELD_MANAGER
    ) -> Manifest:
        self.written.append((resource, sub, manifest))
        return manifest


def reconciler(resource: Resource, cluster: Cluster) -> Reconciler:
    world = World(
        cluster,
        Defaults("coordinator", "worker", "postgres", "nats", "IfNotPresent"),
        Telemetry(list, OperatorMetrics()),
        EventRecorder(cluster, "operator-0"),
    )
    reconcilers: dict[Resource, Reconciler] = {
        PROVER_POOLS: PoolReconciler(world),
        COORDINATORS: CoordinatorReconciler(world),
        KV_CLUSTERS: KvReconciler(world, faces_in_cluster),
    }
    return reconcilers[resource]


@pytest.mark.parametrize("resource", CUSTOM, ids=lambda resource: resource.kind)
async def test_it_is_left_as_it_is_and_says_where_it_does_not_fit(resource: Resource) -> None:
    body = resource.manifest(METADATA, spec={"replicas": "some"}, status=STATUS)
    cluster = Recording(body)
    outcome = await reconciler(resource, cluster).reconcile(Key(resource.kind, "proofs", "demo"))
    assert outcome == Outcome("stalled", outcome.again_after)
    (written, sub, manifest), *events = cluster.written
    assert (written, sub) == (resource, "status")
    assert {each for each, _, _ in events} == {EVENTS}
    status = manifest["status"]
    conditions = {each["type"]: each for each in status.pop("conditions")}
    assert status == {**STATUS, "observedGeneration": 7}
    assert conditions["Ready"]["reason"] == conditions["Stalled"]["reason"] == "InvalidSpec"
    said = conditions["Stalled"]["message"]
    assert "spec.replicas: Input should be a valid integer" in said
    assert "pydantic" not in said
