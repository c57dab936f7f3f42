"""Reconciling a Coordinator."""

import asyncio
import secrets
from dataclasses import dataclass

from pydantic import ValidationError

from muster_api.conditions import EventReason, Reason
from muster_api.coordinator import CoordinatorSpec, CoordinatorStatus
from muster_api.proverpool import ProverPoolSpec
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.children.coordinator import CoordinatorInput, desired_coordinator
from muster_operator.children.key_volumes import sources
from muster_operator.children.postgres import DSN_KEY, secret
from muster_operator.children.prover_pool import coordinator_of
from muster_operator.cluster import ConflictError
from muster_operator.reconcile.apply import Applied, apply, children
from muster_operator.reconcile.conditions import Finding, Standing, summary
from muster_operator.reconcile.coordinator_status import (
    CoordinatorFacts,
    coordinator_status,
    coordinator_verdicts,
)
from muster_operator.reconcile.plan import Children, Claim, claim
from muster_operator.reconcile.reconciler import (
    Outcome,
    World,
    is_paused,
    outcome,
    write_status,
)
from muster_operator.reconcile.rollout import rollout, trouble, unplaced
from muster_operator.reconcile.secrets import lacking
from muster_operator.reconcile.tls import settle_tls
from muster_operator.resources import (
    COORDINATORS,
    DEPLOYMENTS,
    LEASES,
    OF_COORDINATORS,
    PODS,
    PROVER_POOLS,
    SECRETS,
    STATEFUL_SETS,
    Key,
    Manifest,
)

_FORMER_SECONDS = 2.0
_PASSWORD_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was observed of a Coordinator."""

    body: Manifest
    owner: Owner
    spec: CoordinatorSpec
    pools: dict[str, ProverPoolSpec]
    live: Children


@dataclass(frozen=True, slots=True)
class _Credentials:
    """The state of the Secret with the connection string."""

    version: str = ""
    problem: Finding | None = None
    former: bool = False


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
            return await self._refuse(body, invalid)
        seen = await self._observe(body, spec)
        if is_paused(body):
            return await self._report(seen, Applied(seen.live))
        credentials = await self._credentials(seen.owner, spec)
        tls = await settle_tls(self._cluster, seen.owner, spec)
        if credentials.former or tls.former:
            return Outcome("working", _FORMER_SECONDS)
        problem = credentials.problem or tls.problem or await self._missing_key(seen)
        if problem:
            return await self._report(seen, Applied(seen.live, problem))
        wanted = desired_coordinator(
            CoordinatorInput(seen.owner, spec, credentials.version, seen.pools),
            self._world.defaults,
        )
        applied = await apply(self._cluster, seen.owner, wanted, seen.live)
        for name in applied.pruned:
            await self._world.events.post(body, EventReason.PRUNED, f"removed {name}")
        return await self._report(seen, applied)

    async def _refuse(self, body: Manifest, invalid: ValidationError) -> Outcome:
        problem = Finding(Reason.INVALID_SPEC, str(invalid))
        verdicts = summary(Standing(problem=problem))
        status = CoordinatorStatus(observed_generation=body["metadata"]["generation"])
        await write_status(self._world, COORDINATORS, body, status, verdicts)
        return outcome(verdicts)

    async def _observe(self, body: Manifest, spec: CoordinatorSpec) -> _Seen:
        owner = Owner.of(body)
        live, pools = await asyncio.gather(
            children(self._cluster, owner, OF_COORDINATORS),
            self._cluster.list(PROVER_POOLS, owner.key.namespace),
        )
        return _Seen(body, owner, spec, served(body, pools), live)

    async def _credentials(self, owner: Owner, spec: CoordinatorSpec) -> _Credentials:
        reference = spec.database.secret_ref
        name = reference.name if reference else naming.postgres_name(owner.key.name)
        key = reference.key if reference else DSN_KEY
        found = await self._cluster.get(SECRETS, owner.key.namespace, name)
        if found is None and not reference:
            found = await self._make_secret(owner)
        if found is None:
            message = f"Secret {name} is missing: make it, with the connection string as {key}"
            return _Credentials(problem=Finding(Reason.SECRET_NOT_FOUND, message))
        if not reference and claim(owner, found) is Claim.FORMER:
            return _Credentials(former=True)
        if key not in (found.get("data") or {}):
            message = f"Secret {name} has no key {key}: put the connection string there"
            return _Credentials(problem=Finding(Reason.SECRET_NOT_FOUND, message))
        return _Credentials(version=found["metadata"]["resourceVersion"])

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

    async def _make_secret(self, owner: Owner) -> Manifest | None:
        manifest = secret(owner, secrets.token_urlsafe(_PASSWORD_BYTES))
        try:
            return await self._cluster.create(SECRETS, manifest)
        except ConflictError:
            metadata = manifest["metadata"]
            return await self._cluster.get(SECRETS, metadata["namespace"], metadata["name"])

    async def _report(self, seen: _Seen, applied: Applied) -> Outcome:
        owner = seen.owner
        name = naming.coordinator_name(owner.key.name)
        pods = await self._cluster.list(PODS, owner.key.namespace, naming.owner_selector(owner.key))
        database = None
        if seen.spec.database.managed:
            key = (STATEFUL_SETS.kind, naming.postgres_name(owner.key.name))
            database = rollout(applied.live.get(key))
        facts = CoordinatorFacts(
            owner=owner,
            spec=seen.spec,
            pods=rollout(applied.live.get((DEPLOYMENTS.kind, name))),
            database=database,
            pools=len(seen.pools),
            unplaced=unplaced(pods),
            trouble=trouble(pods),
            leader=_holder(applied.live.get((LEASES.kind, name))),
            report=self._world.reports.fresh(owner.key),
            problem=applied.problem,
            paused=is_paused(seen.body),
        )
        verdicts = coordinator_verdicts(facts)
        status = coordinator_status(facts, seen.body["metadata"]["generation"])
        await write_status(self._world, COORDINATORS, seen.body, status, verdicts)
        await self._tell_of_leader(seen.body, facts.leader)
        return outcome(verdicts, _FORMER_SECONDS if applied.waiting_for else None)

    async def _tell_of_leader(self, body: Manifest, leader: str) -> None:
        before = body.get("status", {}).get("leader", "")
        if before and leader and before != leader:
            note = f"{leader} leads instead of {before}"
            await self._world.events.post(body, EventReason.LEADER_CHANGED, note)


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
