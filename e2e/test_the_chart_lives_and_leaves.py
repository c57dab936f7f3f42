"""Upgrade and uninstall the one Muster of the cluster."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.cluster import Cluster
from e2e.fleet import Fleet
from e2e.installation import CHART
from muster_testing.waiting import eventually_sync

pytestmark = [pytest.mark.e2e, pytest.mark.alone]


def test_an_upgrade_keeps_the_fleets_working(
    cluster: Cluster, values: Path, muster: str, ready: Callable[..., Fleet]
) -> None:
    fleet = ready()
    before = {pod["metadata"]["uid"] for pod in fleet.pods("worker")}
    cluster.helm(
        *("upgrade", "muster", str(CHART), "-n", muster, "--values", str(values)),
        *("--set", "operator.podAnnotations.upgraded=yes", "--wait", "--timeout", "6m"),
    )
    cluster.helm("test", "muster", "-n", muster, "--timeout", "4m")

    def settled() -> bool:
        return fleet.cluster.condition("proverpool", fleet.pool, fleet.namespace, "Ready") == "True"

    eventually_sync(settled, deadline=240, every=1, what="the pool is Ready under the new operator")
    assert {pod["metadata"]["uid"] for pod in fleet.pods("worker")} == before


def test_uninstalling_takes_the_aggregated_api_along_and_keeps_the_custom_resources(
    cluster: Cluster, muster: str
) -> None:
    cluster.helm("uninstall", "muster", "-n", muster, "--wait", "--timeout", "5m")
    services = cluster.kubectl("get", "apiservices", "-o", "name")
    assert "external.metrics.k8s.io" not in services
    assert "proverpools.muster.dev" in cluster.kubectl("get", "crd", "-o", "name")
    # Pods end in their own time after their Deployment is gone, and one may leave a Lease to the
    # garbage collector.
    for kind in ("all", "leases"):

        def gone(kind: str = kind) -> bool:
            return not cluster.list(kind, muster)

        eventually_sync(gone, deadline=240, what=f"no {kind} is left")
