"""Bringing members and tenants of a running store to what is declared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muster_api.kv_tenants import KVTenant
from muster_api.kvcluster import KVClusterSpec
from muster_operator import naming
from muster_operator.reconcile.kv.client import (
    AnswerError,
    Member,
    SilentError,
    StoreClient,
    Topology,
    policy,
)
from muster_operator.reconcile.kv.size import ACTIVE, DRAINING, INACTIVE
from muster_operator.resources import Key, Manifest

_FACTOR_CHANGE = "replication_change"


@dataclass(frozen=True, slots=True)
class StoreState:
    """What coordinators said.

    Args:
        silent: why nothing is known; empty where they answered.
        members: storage nodes of this cluster that have joined.
        present: declared tenants that exist.
        settled: of these, those that are as declared.
        known: how many storage nodes there must be for each member to have a pod.
        refusal: the first sentence with which a coordinator refused something.
        topology: how the store stands; None where they are silent.
        factor: the largest replication factor of all tenants; None where that is not known.
    """

    silent: str = ""
    ring_version: int | None = None
    members: int = 0
    present: int = 0
    settled: int = 0
    known: int = 0
    refusal: str = ""
    topology: Topology | None = None
    factor: int | None = None


UNKNOWN = StoreState()
"""Where nobody was asked."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is declared of a store.

    Args:
        nodes: how many storage nodes it has.
        leaving: those of them whose records are being moved away.
        running: the ready pods of storage nodes by name, with the zones that they are in.
    """

    cluster: Key
    spec: KVClusterSpec
    nodes: int
    leaving: tuple[str, ...] = ()
    running: Mapping[str, str] = field(default_factory=dict)


async def settle_store(client: StoreClient, wanted: Wanted) -> StoreState:
    """Register storage nodes, then make and change tenants."""
    refusals: list[str] = []
    try:
        listed = await client.members()
        missing = unregistered(wanted, listed)
        for name, member in missing:
            try:
                await client.add(name, member)
            except AnswerError as refused:
                refusals.append(f"storage node {name}: {refused}")
        if missing:
            listed = await client.members()
        members = joined(wanted, listed)
        moving = await _moving(client) if wanted.spec.tenants else frozenset()
        present, settled = 0, 0
        for tenant in wanted.spec.tenants or []:
            # Nodes that come after the first tenant join by moving data; before it, at once.
            if members < wanted.nodes and await client.tenant(tenant.name) is None:
                continue
            try:
                same = await _settle_tenant(client, tenant, moving=tenant.name in moving)
            except AnswerError as refused:
                refusals.append(f"tenant {tenant.name}: {refused}")
                continue
            present, settled = present + 1, settled + same
        topology = await client.topology()
    except SilentError as silent:
        return StoreState(silent=str(silent))
    except AnswerError as refused:
        return StoreState(silent=str(refused))
    refusal = next(iter(refusals), "")
    return StoreState(
        "",
        topology.ring_version,
        members,
        present,
        settled,
        known_nodes(wanted.cluster, listed),
        refusal,
        topology,
        topology.factor,
    )


def unregistered(wanted: Wanted, listed: Mapping[str, Member]) -> list[tuple[str, Member]]:
    """The running storage nodes that aren't listed, or elsewhere, in the order of their names.

    A node that is listed keeps its zone and its number of parts, which can't be changed.
    """
    found = []
    for name in sorted(wanted.running, key=_ordinal):
        if name in wanted.leaving:
            continue
        host, port = naming.kv_node_host(wanted.cluster, name), naming.KV_STORAGE_PORT
        there = listed.get(name)
        if there is None or there.status == INACTIVE:
            zone, parts = wanted.running[name], wanted.spec.virtual_nodes
            found.append((name, Member(host, port, ACTIVE, zone, parts)))
        elif (there.host, there.port) != (host, port):
            found.append((name, Member(host, port, ACTIVE, there.zone, there.virtual_nodes)))
    return found


def joined(wanted: Wanted, listed: Mapping[str, Member]) -> int:
    """How many of the cluster's own storage nodes are members; one that leaves still is."""
    names = {naming.kv_node(wanted.cluster.name, number) for number in range(wanted.nodes)}
    return sum(listed[name].status in {ACTIVE, DRAINING} for name in names & listed.keys())


def known_nodes(cluster: Key, listed: Mapping[str, Member]) -> int:
    """How many storage nodes there must be for each member of the cluster to have a pod; pure.

    There may be more than a status tells of: of a former KVCluster, whose volumes were kept.
    """
    numbers = (
        _ordinal(name)[0] + 1
        for name, member in listed.items()
        if member.status != INACTIVE and name == naming.kv_node(cluster.name, _ordinal(name)[0])
        if member.host == naming.kv_node_host(cluster, name)
    )
    return max(numbers, default=0)


def ready_nodes(pods: Sequence[Manifest], nodes: int) -> dict[str, str]:
    """The ready pods of the first `nodes` storage nodes, with the Kubernetes node of each."""
    return {
        pod["metadata"]["name"]: str(pod.get("spec", {}).get("nodeName", ""))
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(naming.COMPONENT) == naming.KV_STORAGE
        if "deletionTimestamp" not in pod["metadata"] and _is_ready(pod)
        if _ordinal(pod["metadata"]["name"])[0] < nodes
    }


def _is_ready(pod: Manifest) -> bool:
    conditions: list[dict[str, Any]] = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _ordinal(name: str) -> tuple[int, str]:
    number = name.rpartition("-")[2]
    return (int(number) if number.isdecimal() else 0, name)


async def _moving(client: StoreClient) -> frozenset[str]:
    """Tenants whose replication factors are being changed."""
    work = (await client.topology()).work
    return frozenset(each.of for each in work if each.type == _FACTOR_CHANGE)


async def _settle_tenant(client: StoreClient, tenant: KVTenant, *, moving: bool) -> bool:
    """Make or change a tenant; whether it is as declared now, and stays so.

    Args:
        moving: whether its replication factor is being changed.
    """
    there = await client.tenant(tenant.name)
    if there is None:
        await client.create(tenant)
        return True
    held = there.get("policy") or {}
    wanted = policy(tenant)
    if {name: held.get(name) for name in wanted} != wanted:
        await client.set_policy(tenant)
    if there.get("replication_factor") == tenant.replication_factor and not moving:
        return True
    await client.set_factor(tenant)
    return False
