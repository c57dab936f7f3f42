"""What the API server writes in another way than the operator is no difference to put right."""

import random

import pytest

from muster_operator.cluster import FIELD_MANAGER, Cluster
from muster_operator.metrics import FAILED
from muster_operator.reconcile.plan import contains
from muster_operator.reconcile.quantities import same_amount
from muster_operator.resources import (
    AUTOSCALERS,
    CUSTOM,
    DEPLOYMENTS,
    SERVICES,
    STATEFUL_SETS,
    Manifest,
    Resource,
    identity,
)
from muster_testing.waiting import eventually

from .conftest import Replica, Space

pytestmark = pytest.mark.integration

AMOUNTS = """
resources:
  requests: {cpu: 1000m, memory: 1024Mi}
  limits: {cpu: '1.50', memory: 0.1Ti}
"""


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Kind and name of each child that the operator applies, as often as it does."""
    seen: list[tuple[str, str]] = []
    apply = Cluster.apply

    async def noted(
        self: Cluster,
        resource: Resource,
        manifest: Manifest,
        *,
        sub: str = "",
        manager: str = FIELD_MANAGER,
    ) -> Manifest:
        if not sub and manager == FIELD_MANAGER:
            seen.append(identity(manifest))
        return await apply(self, resource, manifest, sub=sub, manager=manager)

    monkeypatch.setattr(Cluster, "apply", noted)
    return seen


def reconciled(replica: Replica) -> dict[str, float]:
    """How often objects of each kind were reconciled, without those that were gone by then."""
    counts = dict.fromkeys((resource.kind for resource in CUSTOM), 0.0)
    for metric in replica.operator.metrics.reconciles.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total") and sample.labels["result"] not in {"gone", FAILED}:
                counts[sample.labels["kind"]] += sample.value
    return counts


async def test_what_is_written_in_other_words_is_applied_once(
    space: Space, operator: Replica, applied: list[tuple[str, str]]
) -> None:
    await space.coordinator(
        "service: {type: LoadBalancer, loadBalancerSourceRanges: [10.1.2.3/8]}\n"
        f"database: {{managed: {{storage: 1024Mi}}}}{AMOUNTS}",
        "front",
    )
    await space.pool(
        f"coordinatorRef: {{name: front}}\nautoscaling: {{targetTasksPerWorker: 1000}}{AMOUNTS}"
    )
    await space.store(f"service: {{type: NodePort}}\nvolume: {{size: 1024Mi}}{AMOUNTS}")
    for resource, name in (
        (DEPLOYMENTS, "front-coordinator"),
        (SERVICES, "front-coordinator-clients"),
        (STATEFUL_SETS, "front-postgres"),
        (AUTOSCALERS, "demo-worker"),
        (STATEFUL_SETS, "demo-kv-storage"),
        (DEPLOYMENTS, "demo-kv-coordinator"),
    ):
        await space.the(resource, name)
    looks, count = reconciled(operator), len(applied)

    async def settled() -> bool:
        nonlocal looks, count
        now = reconciled(operator)
        # The second one is wholly in between.
        assert all(now[kind] >= looks[kind] + 2 for kind in now), f"{now} after {looks}"
        again = applied[count:]
        looks, count = now, len(applied)
        assert not again, again
        return True

    await eventually(settled, deadline=120, what="nothing is applied again")


async def test_the_api_server_says_the_same_amounts_in_its_own_words(space: Space) -> None:
    chance = random.Random(7)
    units = ["", "m", *"kMGTPE", *(f"{unit}i" for unit in "KMGTPE")]
    amounts = [
        f"{number}{unit}"
        for unit in units
        for digits in (1, 4, 9, 19)
        for number in (chance.randrange(10**digits), f"{chance.randrange(10**digits) / 10**6:f}")
    ]
    containers = [
        {"name": f"c{place}", "image": "none", "resources": {"requests": {"cpu": amount}}}
        for place, amount in enumerate(amounts)
    ]
    labels = {"app": "amounts"}
    manifest = DEPLOYMENTS.manifest(
        {"name": "amounts", "namespace": space.name},
        spec={
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    )
    space.made.append((DEPLOYMENTS, "amounts"))
    there = await space.cluster.apply(DEPLOYMENTS, manifest, manager="test")
    said = [
        each["resources"]["requests"]["cpu"]
        for each in there["spec"]["template"]["spec"]["containers"]
    ]
    assert sum(ours != theirs for ours, theirs in zip(amounts, said, strict=True)) > len(units)
    assert [pair for pair in zip(said, amounts, strict=True) if not same_amount(*pair)] == []
    assert contains(there, manifest)
