"""Reconciling a ProverPool."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import ValidationError

from muster_api.conditions import EventReason, Reason
from muster_api.coordinator import CoordinatorSpec
from muster_api.duration import format_duration
from muster_api.proverpool import ProverPoolSpec, Quarantine
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.children.prover_pool import PoolInput, desired_pool
from muster_operator.children.security import OPEN, Security
from muster_operator.reconcile.apply import Applied, apply, children, release_replicas
from muster_operator.reconcile.busy import mark_busy
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.plan import Children, Claim, claim
from muster_operator.reconcile.pool_status import PoolFacts, pool_status, pool_verdicts
from muster_operator.reconcile.quarantine import quarantined, told_of_quarantine
from muster_operator.reconcile.reconciler import (
    Outcome,
    World,
    is_paused,
    is_serving,
    outcome,
    ready_message,
    refuse,
    unfit,
    write_status,
)
from muster_operator.reconcile.rollout import rollout, trouble, unplaced
from muster_operator.reconcile.sleep import Rest, Sleepiness, rest
from muster_operator.reconcile.sparing import spared
from muster_operator.reconcile.tls import FIRST_REVISION
from muster_operator.resources import (
    COORDINATORS,
    DEPLOYMENTS,
    OF_POOLS,
    PODS,
    PROVER_POOLS,
    Key,
    Manifest,
)
from muster_operator.telemetry.report import Report

_FORMER_SECONDS = 2.0
_BEATS_BEFORE_SUSPECT = 2


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was observed of a ProverPool, and what follows for its rest."""

    body: Manifest
    given: PoolInput
    coordinator: Manifest | None
    live: Children
    pods: list[Manifest]
    report: Report | None
    rest: Rest

    @property
    def owner(self) -> Owner:
        """The pool as an owner."""
        return self.given.owner


class PoolReconciler:
    """Reconciles ProverPools; see `Reconciler`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cluster = world.cluster

    async def reconcile(self, key: Key) -> Outcome:
        """See `Reconciler.reconcile`."""
        body = await self._cluster.get(PROVER_POOLS, key.namespace, key.name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return Outcome("gone")
        try:
            spec = ProverPoolSpec.model_validate(body.get("spec") or {})
        except ValidationError as invalid:
            return await refuse(self._world, PROVER_POOLS, body, invalid)
        seen = await self._observe(body, spec)
        problem = contradiction(seen.given, seen.coordinator)
        if is_paused(body):
            return await self._report(seen, Applied(seen.live, problem))
        # First, so that a scale-down that is allowed hereafter finds the idle ones.
        if seen.report:
            loads = seen.report.loads
            await mark_busy(self._cluster, seen.pods, loads, spec.concurrency)
        if problem:
            return await self._report(seen, Applied(seen.live, problem))
        await self._release(seen)
        wanted = desired_pool(seen.given, self._world.defaults)
        applied = await apply(self._cluster, seen.owner, wanted, seen.live)
        for name in applied.pruned:
            await self._world.events.post(body, EventReason.PRUNED, f"removed {name}")
        return await self._report(seen, applied)

    async def _observe(self, body: Manifest, spec: ProverPoolSpec) -> _Seen:
        given = PoolInput(Owner.of(body), spec)
        key = given.owner.key
        live, pods, coordinator = await asyncio.gather(
            children(self._cluster, given.owner, self._world.with_scalers(OF_POOLS)),
            self._cluster.list(PODS, key.namespace, naming.owner_selector(key)),
            self._cluster.get(COORDINATORS, key.namespace, given.coordinator),
        )
        if coordinator and spec.coordinator_ref is None:
            live = {**live, (COORDINATORS.kind, given.coordinator): coordinator}
        report = self._world.reports.fresh(Key(COORDINATORS.kind, key.namespace, given.coordinator))
        deployment = live.get((DEPLOYMENTS.kind, naming.worker_name(key.name)))
        decided = rest(spec.autoscaling, sleepiness(body, deployment, report), _now())
        kept = 0
        if report:
            outstanding = report.queue(key.name).outstanding
            kept = spared(pods, report.loads, outstanding, spec.autoscaling)
        given = replace(
            given,
            security=_security(given.coordinator, coordinator),
            asleep=decided.asleep,
            spared=kept,
        )
        return _Seen(body, given, coordinator, live, pods, report, decided)

    async def _release(self, seen: _Seen) -> None:
        deployment = seen.live.get((DEPLOYMENTS.kind, naming.worker_name(seen.owner.key.name)))
        if deployment is None or not seen.given.autoscaled:
            return
        most = seen.given.spec.autoscaling.max_replicas
        await release_replicas(self._cluster, deployment, seen.given.fewest, most)

    async def _report(self, seen: _Seen, applied: Applied) -> Outcome:
        key = seen.owner.key
        deployment = applied.live.get((DEPLOYMENTS.kind, naming.worker_name(key.name)))
        before = [
            Quarantine.model_validate(each)
            for each in seen.body.get("status", {}).get("quarantined", [])
        ]
        after = quarantined(key.name, seen.report, before)
        facts = PoolFacts(
            given=seen.given,
            pods=rollout(deployment),
            unplaced=unplaced(seen.pods),
            trouble=trouble(seen.pods),
            coordinator_ready=seen.coordinator is not None and is_serving(seen.coordinator),
            coordinator_message=ready_message(seen.coordinator) if seen.coordinator else "",
            workers=frozenset(pod["metadata"]["name"] for pod in seen.pods),
            report=seen.report,
            idle_since=seen.rest.idle_since,
            quarantined=tuple(after),
            problem=applied.problem,
            paused=is_paused(seen.body),
        )
        verdicts = pool_verdicts(facts)
        status = pool_status(facts, seen.body["metadata"]["generation"])
        await write_status(self._world, PROVER_POOLS, seen.body, status.to_wire(), verdicts)
        for reason, note in told_of_quarantine(before, after, seen.report):
            await self._world.events.post(seen.body, reason, note)
        return outcome(verdicts, _FORMER_SECONDS if applied.waiting_for else seen.rest.again_after)


def sleepiness(body: Manifest, deployment: Manifest | None, report: Report | None) -> Sleepiness:
    """What decides whether a pool sleeps; pure."""
    name, noted = body["metadata"]["name"], body.get("status", {}).get("idleSince")
    return Sleepiness(
        at_zero=deployment is None or deployment["spec"].get("replicas") == 0,
        outstanding=report.queue(name).outstanding if report else None,
        idle_since=datetime.fromisoformat(noted) if noted else None,
        suspended=bool((body.get("spec") or {}).get("suspend")),
    )


def _security(name: str, coordinator: Manifest | None) -> Security:
    """How the pool's workers connect; one that is not there yet, or wrong, says nothing of it."""
    try:
        spec = CoordinatorSpec.model_validate((coordinator or {}).get("spec") or {})
    except ValidationError:
        return OPEN
    revision = (coordinator or {}).get("status", {}).get("certificateRevision", FIRST_REVISION)
    return Security.of(name, spec, revision)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def contradiction(given: PoolInput, coordinator: Manifest | None) -> Finding | None:
    """What keeps the pool and its Coordinator from working together; pure."""
    name, spec = given.coordinator, given.spec
    if coordinator is None:
        if spec.coordinator_ref is None:
            return None
        message = f"there is no Coordinator {name} in this namespace: make it, or name another"
        return Finding(Reason.COORDINATOR_NOT_FOUND, message)
    if spec.coordinator_ref is None and claim(given.owner, coordinator) is Claim.FOREIGN:
        message = (
            f"Coordinator {name} is not this pool's: to use it, make the pool anew with "
            f"coordinatorRef: {{name: {name}}}"
        )
        return Finding(Reason.COORDINATOR_NOT_OWNED, message)
    try:
        theirs = CoordinatorSpec.model_validate(coordinator.get("spec") or {})
    except ValidationError as invalid:
        # How workers connect to it is not known: those that run do, and are left as they are.
        return Finding(Reason.INVALID_SPEC, f"Coordinator {name}: {unfit(invalid)}")
    return _times(spec, name, theirs)


def _times(spec: ProverPoolSpec, name: str, theirs: CoordinatorSpec) -> Finding | None:
    beat, silence = spec.worker.heartbeat_interval, theirs.heartbeat_timeout
    if beat * _BEATS_BEFORE_SUSPECT > silence:
        message = (
            f"worker.heartbeatInterval {format_duration(beat)} must be at most half of "
            f"Coordinator {name}'s heartbeatTimeout {format_duration(silence)}: lower it"
        )
        return Finding(Reason.TIMEOUTS_CONTRADICT, message)
    limit, stale = spec.worker.task_timeout, theirs.stale_task_timeout
    if limit > stale:
        message = (
            f"worker.taskTimeout {format_duration(limit)} must be at most "
            f"Coordinator {name}'s staleTaskTimeout {format_duration(stale)}: lower it"
        )
        return Finding(Reason.TIMEOUTS_CONTRADICT, message)
    return None
