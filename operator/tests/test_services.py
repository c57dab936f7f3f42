"""The Service for clients alone: made, changed and taken away, on a real API server."""

from collections.abc import Awaitable, Callable

import pytest

from muster_operator.resources import SERVICES, Manifest
from muster_testing.waiting import eventually

from .conftest import Space

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]

Write = Callable[[str], Awaitable[Manifest]]

LOAD_BALANCER = """
service:
  type: LoadBalancer
  labels: {team: proofs}
  annotations: {example.com/scheme: internal}
  loadBalancerClass: example.com/inner
  loadBalancerSourceRanges: [10.1.2.3/8]
  externalTrafficPolicy: Local
"""


async def with_type(space: Space, name: str, kind: str) -> Manifest:
    """The Service, once it has that type."""

    async def found() -> Manifest:
        there = await space.the(SERVICES, name)
        assert there["spec"]["type"] == kind, there["spec"]
        return there

    return await eventually(found, what=f"Service {name} of type {kind}")


@pytest.mark.parametrize(
    ("workload", "ports"),
    [("demo-coordinator", {"http"}), ("demo-kv-coordinator", {"grpc", "http"})],
)
async def test_clients_get_a_service_with_their_ports_alone(
    space: Space, workload: str, ports: set[str]
) -> None:
    write: Write = space.coordinator if workload == "demo-coordinator" else space.store
    name = f"{workload}-clients"
    await write(LOAD_BALANCER)
    made = await with_type(space, name, "LoadBalancer")
    assert {port["name"] for port in made["spec"]["ports"]} == ports
    assert all(port["nodePort"] for port in made["spec"]["ports"])
    assert made["spec"]["loadBalancerClass"] == "example.com/inner"
    assert made["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert made["spec"]["externalTrafficPolicy"] == "Local"
    assert made["metadata"]["annotations"]["example.com/scheme"] == "internal"
    assert made["metadata"]["labels"]["team"] == "proofs"

    await write("service: {type: ClusterIP}")
    inner = await with_type(space, name, "ClusterIP")
    assert inner["metadata"]["uid"] == made["metadata"]["uid"]
    assert inner["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert not any("nodePort" in port for port in inner["spec"]["ports"])
    left = {"loadBalancerClass", "loadBalancerSourceRanges", "externalTrafficPolicy"}
    assert not (left | {"healthCheckNodePort"}) & inner["spec"].keys()
    assert "example.com/scheme" not in inner["metadata"]["annotations"]
    assert "team" not in inner["metadata"]["labels"]

    await write("service: {type: LoadBalancer, loadBalancerClass: example.com/outer}")
    outer = await with_type(space, name, "LoadBalancer")
    assert outer["spec"]["loadBalancerClass"] == "example.com/outer"

    await write("")
    await space.gone(SERVICES, name)


async def test_the_service_of_the_cluster_stays_as_it_is(space: Space) -> None:
    await space.coordinator()
    before = await space.the(SERVICES, "demo-coordinator")
    await space.coordinator(LOAD_BALANCER)
    await with_type(space, "demo-coordinator-clients", "LoadBalancer")
    after = await space.the(SERVICES, "demo-coordinator")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert {port["name"] for port in after["spec"]["ports"]} == {"grpc", "http", "ops"}
