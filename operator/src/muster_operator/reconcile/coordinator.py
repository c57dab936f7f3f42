"""Reconciling a Coordinator."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import ValidationError

from muster_api.conditions import EventReason, Reason
from muster_api.coordinator import CoordinatorSpec
from muster_api.proverpool import ProverPoolSpec
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.children.coordinator import desired_coordinator
from muster_operator.children.coordinator_input import CoordinatorInput
from muster_operator.children.key_volumes import sources
from muster_operator.children.prover_pool import coordinator_of
from muster_operator.reconcile.apply import Applied, apply, children
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.coordinator_status import (
    CoordinatorFacts,
    coordinator_status,
    coordinator_verdicts,
)
from muster_operator.reconcile.credentials import settle_credentials
from muster_operator.reconcile.expansion import expand, shortfalls
from muster_operator.reconcile.growth import LOOK_SECONDS, Shortfall, Volumes, soonest
from muster_operator.reconcile.plan import Children
from muster_operator.reconcile.reconciler import (
    Outcome,
    World,
    is_paused,
    outcome,
    refuse,
    write_status,
)
from muster_operator.reconcile.rollout import rollout, trouble, unplaced
from muster_operator.reconcile.secrets import lacking
from muster_operator.reconcile.tls import revision_in_use, settle_tls
from muster_operator.reconcile.worker_pool_status import facts_of
from muster_operator.reconcile.worker_pools import (
    Observed,
    SeenPool,
    look_again,
    pool_of,
    prepare,
    seen_pools,
)
from muster_operator.resources import (
    COORDINATORS,
    DEPLOYMENTS,
    LEASES,
    OF_COORDINATORS,
    PODS,
    PROVER_POOLS,
    STATEFUL_SETS,
    Key,
    Manifest,
)
from muster_operator.telemetry.report import Report

_FORMER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was observed of a Coordinator."""

    body: Manifest
    owner: Owner
    spec: CoordinatorSpec
    pools: dict[str, ProverPoolSpec]
    worker_pools: list[SeenPool]
    live: Children
    pods: list[Manifest]
    report: Report | None
    small: tuple[Shortfall, ...]


class CoordinatorReconciler:
    """Reconciles Coordinators; see `Reconciler`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cluster = world.cluster

    async def reconcile(self, key: Key) -> Outcome:
        """See `Reconciler.reconcile`."""
        body = await self._cluster.get(COORDINATORS, key.namespace, key.name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return Outcome("gone")
        try:
            spec = CoordinatorSpec.model_validate(body.get("spec") or {})
        except ValidationError as invalid:
            return await refuse(self._world, COORDINATORS, body, invalid)
        seen = await self._observe(body, spec)
        if is_paused(body):
            return await self._report(seen, Applied(seen.live))
        seen = replace(seen, small=await expand(self._cluster, seen.small))
        held = await settle_credentials(self._cluster, seen.owner, spec, seen.live)
        tls = await settle_tls(self._cluster, seen.owner, spec, seen.live)
        if held.former or tls.former:
            return Outcome("working", _FORMER_SECONDS)
        problem = held.problem or tls.problem or await self._missing_key(seen)
        problem = problem or contradiction(seen.worker_pools, seen.pools)
        if problem:
            return await self._report(seen, Applied(seen.live, problem))
        await prepare(self._cluster, seen.worker_pools, seen.live, seen.report)
        scales = {each.pool.name: each.scale for each in seen.worker_pools}
        wanted = desired_coordinator(
            CoordinatorInput(seen.owner, spec, held.credentials, seen.pools, scales, tls.revisions),
            self._world.defaults,
        )
        applied = await apply(self._cluster, seen.owner, wanted, seen.live)
        for name in applied.pruned:
            await self._world.events.post(body, EventReason.PRUNED, f"removed {name}")
        return await self._report(seen, applied)

    async def _observe(self, body: Manifest, spec: CoordinatorSpec) -> _Seen:
        owner = Owner.of(body)
        live, pools, pods = await asyncio.gather(
            children(self._cluster, owner, self._world.with_scalers(OF_COORDINATORS)),
            self._cluster.list(PROVER_POOLS, owner.key.namespace),
            self._cluster.list(PODS, owner.key.namespace, naming.owner_selector(owner.key)),
        )
        small = await shortfalls(self._cluster, owner, volumes(owner, spec), live)
        report = self._world.reports.fresh(owner.key)
        observed = Observed(live, pods, report, idle_since(body))
        own = seen_pools(owner.key.name, spec, observed, datetime.now(UTC).replace(microsecond=0))
        return _Seen(body, owner, spec, served(body, pools), own, live, pods, report, small)

    async def _missing_key(self, seen: _Seen) -> Finding | None:
        """What is missing of the Secrets with imported keys; without them no pod could start."""
        namespace = seen.owner.key.namespace
        for pool, spec in seen.pools.items():
            why = f"ProverPool {pool} takes a proving key from there"
            for reference in filter(None, (each.secret_ref for each in sources([spec]))):
                name = reference.name
                problem = await lacking(self._cluster, namespace, name, [reference.key], why)
                if problem:
                    return problem
        return None

    async def _report(self, seen: _Seen, applied: Applied) -> Outcome:
        owner = seen.owner
        name = naming.coordinator_name(owner.key.name)
        own = [pod for pod in seen.pods if not pool_of(pod)]
        database, broker = None, None
        if seen.spec.database.managed:
            key = (STATEFUL_SETS.kind, naming.postgres_name(owner.key))
            database = rollout(applied.live.get(key))
        if seen.spec.broker and seen.spec.broker.managed:
            key = (STATEFUL_SETS.kind, naming.nats_name(owner.key.name))
            broker = rollout(applied.live.get(key))
        facts = CoordinatorFacts(
            owner=owner,
            spec=seen.spec,
            pods=rollout(applied.live.get((DEPLOYMENTS.kind, name))),
            database=database,
            broker=broker,
            pools=len(seen.pools),
            unplaced=unplaced(own),
            trouble=trouble(own),
            leader=_holder(applied.live.get((LEASES.kind, name))),
            report=seen.report,
            worker_pools=facts_of(seen.worker_pools, applied.live),
            certificates=revision_in_use(owner, seen.spec, applied.live),
            small=seen.small,
            problem=applied.problem,
            paused=is_paused(seen.body),
        )
        verdicts = coordinator_verdicts(facts)
        status = coordinator_status(facts, seen.body["metadata"]["generation"])
        await write_status(self._world, COORDINATORS, seen.body, status.to_wire(), verdicts)
        await self._tell_of_leader(seen.body, facts.leader)
        again = _FORMER_SECONDS if applied.waiting_for else look_again(seen.worker_pools)
        return outcome(verdicts, soonest(again, LOOK_SECONDS if seen.small else None))

    async def _tell_of_leader(self, body: Manifest, leader: str) -> None:
        before = body.get("status", {}).get("leader", "")
        if before and leader and before != leader:
            note = f"{leader} leads instead of {before}"
            await self._world.events.post(body, EventReason.LEADER_CHANGED, note)


def contradiction(own: Iterable[SeenPool], pools: Mapping[str, ProverPoolSpec]) -> Finding | None:
    """What keeps a Coordinator's own pools and the ProverPools that it serves apart; pure."""
    for each in own:
        name = each.pool.name
        if name in pools:
            message = f"worker pool {name} has the name of a ProverPool: rename one of the two"
            return Finding(Reason.POOL_NAME_TAKEN, message)
    return None


def volumes(owner: Owner, spec: CoordinatorSpec) -> list[Volumes]:
    """The volumes of a Coordinator's managed stores; pure."""
    found, broker = [], spec.broker and spec.broker.managed
    if spec.database.managed:
        found.append(Volumes(naming.postgres_name(owner.key), spec.database.managed.storage))
    if broker:
        found.append(Volumes(naming.nats_name(owner.key.name), broker.storage))
    return found


def idle_since(body: Manifest) -> dict[str, str]:
    """When each worker pool was noted to have no work, by its name; pure."""
    pools = body.get("status", {}).get("workerPools", [])
    return {pool["name"]: pool["idleSince"] for pool in pools if "idleSince" in pool}


def served(coordinator: Manifest, pools: list[Manifest]) -> dict[str, ProverPoolSpec]:
    """The pools that `coordinator` serves: those that name it, and the one that owns it."""
    metadata = coordinator["metadata"]
    owners = {reference["uid"] for reference in metadata.get("ownerReferences", [])}
    found = {}
    for pool in pools:
        if "deletionTimestamp" in pool["metadata"]:
            continue
        try:
            spec = ProverPoolSpec.model_validate(pool["spec"])
        except ValidationError:
            continue  # its own status says so
        name = pool["metadata"]["name"]
        named = spec.coordinator_ref is not None or pool["metadata"]["uid"] in owners
        if named and coordinator_of(name, spec) == metadata["name"]:
            found[name] = spec
    return found


def _holder(lease: Manifest | None) -> str:
    return str((lease or {}).get("spec", {}).get("holderIdentity") or "")
