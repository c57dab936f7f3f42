"""Reconciling a KVCluster."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from muster_api.conditions import EventReason, Reason
from muster_api.kvcluster import KVClusterSpec
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.children.kv.coordinators import autoscaled
from muster_operator.children.kv.desired import desired_kv_cluster
from muster_operator.children.kv.given import KvInput
from muster_operator.reconcile.apply import Applied, apply, children, release_replicas
from muster_operator.reconcile.expansion import expand, shortfalls
from muster_operator.reconcile.growth import LOOK_SECONDS, Shortfall, Volumes, soonest
from muster_operator.reconcile.kv.access import Access
from muster_operator.reconcile.kv.backups import backups, lacking_claim
from muster_operator.reconcile.kv.client import Faces, StoreClient
from muster_operator.reconcile.kv.secrets import settle_secrets
from muster_operator.reconcile.kv.size import Size, Sizing, settle_size
from muster_operator.reconcile.kv.status import KvFacts, kv_status, kv_verdicts
from muster_operator.reconcile.kv.store import (
    UNKNOWN,
    StoreState,
    Wanted,
    ready_nodes,
    settle_store,
)
from muster_operator.reconcile.plan import Children
from muster_operator.reconcile.reconciler import (
    Outcome,
    World,
    is_paused,
    outcome,
    refuse,
    write_status,
)
from muster_operator.reconcile.rollout import Rollout, rollout, trouble, unplaced
from muster_operator.resources import (
    CLAIMS,
    DEPLOYMENTS,
    KV_CLUSTERS,
    LEASES,
    NODES,
    OF_KV_CLUSTERS,
    PODS,
    STATEFUL_SETS,
    Key,
    Manifest,
)

_FORMER_SECONDS = 2.0
_UNFINISHED_SECONDS = 3.0
_LOOK_SECONDS = 30.0

_ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was observed of a KVCluster."""

    body: Manifest
    owner: Owner
    spec: KVClusterSpec
    live: Children
    pods: list[Manifest]
    small: tuple[Shortfall, ...] = ()

    @property
    def sizing(self) -> Sizing:
        """How many storage nodes there are and should be."""
        return Sizing(
            self.owner.key.name,
            held_nodes(self.body, self.storage),
            self.spec.replicas,
            tuple(self.body.get("status", {}).get("leaving", [])),
        )

    @property
    def storage(self) -> Manifest | None:
        """The StatefulSet of storage nodes."""
        name = naming.kv_storage_name(self.owner.key.name)
        return self.live.get((STATEFUL_SETS.kind, name))

    @property
    def volumes(self) -> list[Volumes]:
        """The volumes of storage nodes, and of the managed database."""
        owner, spec, managed = self.owner, self.spec, self.spec.database.managed
        storage = naming.kv_storage_name(owner.key.name)
        found = [Volumes(storage, spec.volume.size, self.sizing.held)]
        if managed:
            found.append(Volumes(naming.postgres_name(owner.key), managed.storage))
        return found


class KvReconciler:
    """Reconciles KVClusters; see `Reconciler`.

    Args:
        faces: where the coordinators of a KVCluster are reached.
    """

    def __init__(self, world: World, faces: Callable[[Key], Faces]) -> None:
        self._world = world
        self._cluster = world.cluster
        self._faces = faces

    async def reconcile(self, key: Key) -> Outcome:
        """See `Reconciler.reconcile`."""
        body = await self._cluster.get(KV_CLUSTERS, key.namespace, key.name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return Outcome("gone")
        try:
            spec = KVClusterSpec.model_validate(body.get("spec") or {})
        except ValidationError as invalid:
            return await refuse(self._world, KV_CLUSTERS, body, invalid)
        seen = await self._observe(body, spec)
        if is_paused(body):
            return await self._report(seen, Applied(seen.live))
        seen = replace(seen, small=await expand(self._cluster, seen.small))
        held = await settle_secrets(self._cluster, seen.owner, spec)
        if held.former:
            return Outcome("working", _FORMER_SECONDS)
        problem = held.problem or await lacking_claim(self._cluster, seen.owner, spec)
        if problem:
            return await self._report(seen, Applied(seen.live, problem))
        size = await self._with_room(seen, await self._size(seen, held.access))
        given = KvInput(
            *(seen.owner, spec, size.nodes, held.database, held.token, held.redis),
            *(held.keys, held.admin, held.node_tls, restored_from(seen.body)),
        )
        await self._release(given, seen.live)
        if size.left:
            await self._drop_volume(seen, size.left)
        wanted = desired_kv_cluster(given, self._world.defaults)
        applied = await apply(self._cluster, seen.owner, wanted, seen.live)
        for name in applied.pruned:
            await self._world.events.post(body, EventReason.PRUNED, f"removed {name}")
        store = await self._settle(seen, applied, size, held.access)
        return await self._report(seen, applied, store, size.with_all(store.known))

    async def _observe(self, body: Manifest, spec: KVClusterSpec) -> _Seen:
        owner = Owner.of(body)
        live, pods = await asyncio.gather(
            children(self._cluster, owner, OF_KV_CLUSTERS),
            self._cluster.list(PODS, owner.key.namespace, naming.owner_selector(owner.key)),
        )
        seen = _Seen(body, owner, spec, live, pods)
        return replace(seen, small=await shortfalls(self._cluster, owner, seen.volumes, live))

    async def _release(self, given: KvInput, live: Children) -> None:
        name = naming.kv_coordinator_name(given.owner.key.name)
        deployment = live.get((DEPLOYMENTS.kind, name))
        if deployment is not None and autoscaled(given):
            limits = given.spec.coordinators.autoscaling
            await release_replicas(
                self._cluster, deployment, limits.min_replicas, limits.max_replicas
            )

    async def _size(self, seen: _Seen, access: Access) -> Size:
        sizing, silent = seen.sizing, _coordinators(seen.owner, seen.live).ready == 0
        enough = sizing.wanted >= sizing.held and not sizing.leaving
        if enough or silent or seen.spec.suspend:
            return sizing.unchanged
        async with StoreClient(self._faces(seen.owner.key), access) as client:
            return await settle_size(client, sizing)

    async def _with_room(self, seen: _Seen, size: Size) -> Size:
        """The size that there can be now: a node comes back when its former volume has gone.

        A StatefulSet that is smaller only for a moment may keep the pod that was to go, with a
        volume that goes when its pod does.
        """
        # Without any the StatefulSet itself waits for volumes that go.
        held = seen.sizing.held or size.nodes
        for number in range(held, size.nodes):
            name = naming.claim(naming.kv_node(seen.owner.key.name, number))
            claim = await self._cluster.get(CLAIMS, seen.owner.key.namespace, name)
            if claim and "deletionTimestamp" in claim["metadata"]:
                return replace(size, nodes=number)
        return size

    async def _drop_volume(self, seen: _Seen, node: str) -> None:
        """Remove the volume of a storage node that has left; it goes when its pod is gone."""
        key = seen.owner.key
        there = await self._cluster.get(CLAIMS, key.namespace, naming.claim(node))
        if there is None or "deletionTimestamp" in there["metadata"]:
            return
        labels = there["metadata"].get("labels") or {}
        if seen.owner.selecting(naming.KV_STORAGE).items() <= labels.items():
            await self._cluster.delete(CLAIMS, there)
            await self._world.events.post(
                seen.body, EventReason.NODE_LEFT, f"{node} has left, and its volume is removed"
            )

    async def _settle(
        self, seen: _Seen, applied: Applied, size: Size, access: Access
    ) -> StoreState:
        if seen.spec.suspend or _coordinators(seen.owner, applied.live).ready == 0:
            return StoreState()
        running = ready_nodes(seen.pods, size.nodes)
        zones = await self._zones(set(running.values()))
        wanted = Wanted(
            seen.owner.key,
            seen.spec,
            size.nodes,
            size.leaving,
            {pod: zones.get(node, "") for pod, node in running.items()},
        )
        async with StoreClient(self._faces(seen.owner.key), access) as client:
            return await settle_store(client, wanted)

    async def _zones(self, nodes: set[str]) -> dict[str, str]:
        """The zones of Kubernetes nodes by name; those without a zone are left out."""
        named = sorted(filter(None, nodes))
        found = await asyncio.gather(*(self._cluster.get(NODES, None, name) for name in named))
        labels = ((each or {"metadata": {}})["metadata"].get("labels") or {} for each in found)
        return {
            name: held[_ZONE] for name, held in zip(named, labels, strict=True) if _ZONE in held
        }

    async def _report(
        self,
        seen: _Seen,
        applied: Applied,
        store: StoreState = UNKNOWN,
        size: Size | None = None,
    ) -> Outcome:
        owner, size = seen.owner, size or seen.sizing.unchanged
        database = None
        if seen.spec.database.managed:
            key = (STATEFUL_SETS.kind, naming.postgres_name(owner.key))
            database = rollout(applied.live.get(key))
        name = naming.kv_storage_name(owner.key.name)
        facts = KvFacts(
            owner=owner,
            spec=seen.spec,
            size=size,
            storage=rollout(applied.live.get((STATEFUL_SETS.kind, name))),
            coordinators=_coordinators(owner, applied.live),
            database=database,
            store=remembered(store, seen.body),
            unplaced=unplaced(seen.pods),
            trouble=trouble(seen.pods),
            problem=applied.problem,
            paused=is_paused(seen.body),
            leader=_leader(owner, applied.live),
            backups=backups(owner, applied.live),
            restored=restored_from(seen.body),
            small=seen.small,
        )
        verdicts = kv_verdicts(facts)
        status = kv_status(facts, seen.body["metadata"]["generation"])
        await write_status(self._world, KV_CLUSTERS, seen.body, status.to_wire(), verdicts)
        if applied.waiting_for:
            return outcome(verdicts, _FORMER_SECONDS)
        grows = LOOK_SECONDS if seen.small else None
        if facts.paused or facts.problem or seen.spec.suspend:
            return outcome(verdicts, grows)
        whole = is_whole(store, size, seen.spec)
        return outcome(verdicts, soonest(_LOOK_SECONDS if whole else _UNFINISHED_SECONDS, grows))


def held_nodes(body: Manifest, storage: Manifest | None) -> int:
    """How many storage nodes there have been, by the status and by their StatefulSet; pure."""
    said = int(body.get("status", {}).get("nodes", 0))
    return max(said, int(storage["spec"].get("replicas", 0)) if storage else 0)


def restored_from(body: Manifest) -> str:
    """The backup that all storage nodes have begun with, by the status; empty without; pure."""
    return str(body.get("status", {}).get("restored", ""))


def is_whole(store: StoreState, size: Size, spec: KVClusterSpec) -> bool:
    """Whether the store is as wanted, so that a look now and then is enough; pure."""
    return (
        store.members >= size.nodes == spec.replicas
        and not size.leaving
        and store.settled >= len(spec.tenants or [])
        and not (store.topology and store.topology.under_replicated)
    )


def remembered(store: StoreState, body: Manifest) -> StoreState:
    """What coordinators say, or said last as the status has it where they are silent; pure."""
    before: dict[str, Any] = body.get("status", {})
    if store.ring_version is not None or before.get("ringVersion") is None:
        return store
    settled = before.get("tenants", 0)
    return StoreState(
        silent=store.silent or Reason.STORE_SILENT.meaning,
        ring_version=before["ringVersion"],
        members=before.get("members", 0),
        present=settled,
        settled=settled,
        factor=before.get("replicationFactor"),
    )


def _coordinators(owner: Owner, live: Children) -> Rollout:
    name = naming.kv_coordinator_name(owner.key.name)
    return rollout(live.get((DEPLOYMENTS.kind, name)))


def _leader(owner: Owner, live: Children) -> str:
    """Who holds the Lease; empty where nobody does."""
    lease = live.get((LEASES.kind, naming.kv_coordinator_name(owner.key.name)), {})
    return str((lease.get("spec") or {}).get("holderIdentity") or "")
