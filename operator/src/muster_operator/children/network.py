"""Which connections the pods take and make."""

from dataclasses import dataclass
from typing import Any

from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.resources import NETWORK_POLICIES, Manifest

DNS = {
    "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
}


def tcp(*ports: int) -> list[dict[str, Any]]:
    """TCP ports, as rules name them."""
    return [{"protocol": "TCP", "port": port} for port in ports]


def _pods(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}


_COMPONENT = "app.kubernetes.io/component"
ANY_POD: dict[str, Any] = {"namespaceSelector": {}}


def policy(owner: Owner, name: str, component: str, **rules: list[dict[str, Any]]) -> Manifest:
    """The NetworkPolicy of one component; `rules` are its ingress and egress."""
    kinds = {"ingress": "Ingress", "egress": "Egress"}
    return NETWORK_POLICIES.manifest(
        owner.metadata(name, component),
        spec={
            "podSelector": {"matchLabels": owner.selecting(component)},
            "policyTypes": [kinds[direction] for direction in rules],
            **rules,
        },
    )


def coordinator_policy(owner: Owner, keda: str = "") -> Manifest:
    """Workers reach gRPC, pods of the cluster the operations port, everyone the HTTP API.

    Everyone is also who comes from outside of the cluster, by a load balancer say. What it
    connects to is not restricted: the database may be anywhere.

    Args:
        keda: the namespace whose pods reach the port of KEDA; without one there is no such port.
    """
    workers = {"podSelector": {"matchLabels": {_COMPONENT: naming.WORKER}}}
    scaler = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": keda}}}
    return policy(
        owner,
        naming.coordinator_name(owner.key.name),
        naming.COORDINATOR,
        ingress=[
            {"from": [workers], "ports": tcp(naming.GRPC_PORT)},
            {"ports": tcp(naming.HTTP_PORT)},
            {"from": [ANY_POD], "ports": tcp(naming.OPS_PORT)},
            *([{"from": [scaler], "ports": tcp(naming.SCALER_PORT)}] if keda else []),
        ],
    )


def postgres_policy(owner: Owner) -> Manifest:
    """Only the owner's coordinators reach the database, which reaches nothing."""
    client = naming.selecting(owner.key, naming.postgres_client(owner.key))
    coordinators = {"podSelector": {"matchLabels": client}}
    return policy(
        owner,
        naming.postgres_name(owner.key),
        naming.POSTGRES,
        ingress=[{"from": [coordinators], "ports": tcp(naming.POSTGRES_PORT)}],
        egress=[],
    )


def nats_policy(owner: Owner) -> Manifest:
    """Only this Coordinator's pods and workers reach the broker, which reaches nothing."""
    peers = [
        {"podSelector": {"matchLabels": naming.selecting(owner.key, component)}}
        for component in (naming.COORDINATOR, naming.WORKER)
    ]
    return policy(
        owner,
        naming.nats_name(owner.key.name),
        naming.NATS,
        ingress=[
            {"from": peers, "ports": tcp(naming.NATS_PORT)},
            {"from": [ANY_POD], "ports": tcp(naming.NATS_MONITOR_PORT)},
        ],
        egress=[],
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """What workers connect to beside their coordinator.

    Args:
        broker: the managed NATS of the coordinator.
        anything: no restriction at all.
    """

    broker: bool = False
    anything: bool = False


def worker_policy(owner: Owner, name: str, coordinator: str, reach: Reach) -> Manifest:
    """Workers reach their coordinator and DNS; only their operations port is reached."""
    target = {
        _COMPONENT: naming.COORDINATOR,
        naming.OF_COORDINATOR: coordinator,
    }
    egress = [
        DNS,
        {"to": [_pods(**target)], "ports": tcp(naming.GRPC_PORT)},
    ]
    if reach.broker:
        nats = {_COMPONENT: naming.NATS, naming.OF_COORDINATOR: coordinator}
        egress.append({"to": [_pods(**nats)], "ports": tcp(naming.NATS_PORT)})
    if reach.anything:
        egress = [{}]
    return policy(
        owner,
        name,
        naming.WORKER,
        ingress=[{"from": [ANY_POD], "ports": tcp(naming.WORKER_OPS_PORT)}],
        egress=egress,
    )
