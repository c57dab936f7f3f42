"""How a Coordinator's own worker pools stand; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from muster_api.conditions import ConditionType, Reason
from muster_api.coordinator import WorkerNumbers
from muster_api.worker_pools import WorkerPoolStatus
from muster_operator.reconcile.conditions import TIME_FORMAT, Finding, Verdict, verdict
from muster_operator.reconcile.numbers import queue_status
from muster_operator.reconcile.plan import Children
from muster_operator.reconcile.rollout import Rollout, Unplaced, rollout, trouble, unplaced
from muster_operator.reconcile.scheduled import scheduled
from muster_operator.reconcile.worker_pools import SeenPool
from muster_operator.resources import DEPLOYMENTS
from muster_operator.telemetry.report import Report


@dataclass(frozen=True, slots=True)
class WorkerPoolFacts:
    """What is said about one pool."""

    seen: SeenPool
    rollout: Rollout

    @property
    def unplaced(self) -> Unplaced:
        """Its pods that find no node."""
        return unplaced(self.seen.pods)

    @property
    def lacking(self) -> Finding | None:
        """What it lacks to be ready."""
        name, pods, needed = self.seen.pool.name, self.rollout, self.seen.needed
        numbers = f"{pods.ready} of {max(pods.wanted, needed)} workers of pool {name} are ready"
        detail = pods.failure or self.unplaced.message or trouble(self.seen.pods)
        if needed and pods.ready == 0:
            return Finding(Reason.NO_PODS_READY, numbers).because(detail)
        if not pods.current or pods.updated < pods.existing:
            message = f"{numbers}, {pods.updated} are of this spec"
            return Finding(Reason.ROLLING_OUT, message).because(detail)
        if pods.ready < needed:
            return Finding(Reason.PODS_STARTING, numbers).because(detail)
        return None


def facts_of(pools: Sequence[SeenPool], live: Children) -> tuple[WorkerPoolFacts, ...]:
    """Facts about pools whose Deployments are in `live`."""
    return tuple(
        WorkerPoolFacts(each, rollout(live.get((DEPLOYMENTS.kind, each.name)))) for each in pools
    )


def first_lack(pools: Sequence[WorkerPoolFacts]) -> Finding | None:
    """What the first pool lacks that is not ready."""
    return next((lack for each in pools if (lack := each.lacking)), None)


def worker_pool_verdicts(pools: Sequence[WorkerPoolFacts]) -> list[Verdict]:
    """The conditions about worker pools; none where there are no pools."""
    if not pools:
        return []
    kind, lack = ConditionType.WORKER_POOLS_READY, first_lack(pools)
    if lack:
        ready = verdict(kind, False, lack.reason, lack.message)
    else:
        ready = verdict(kind, True, Reason.ALL_READY, "every pool has the workers that it needs")
    homeless = [each.unplaced for each in pools if each.unplaced.count]
    found = Unplaced(sum(each.count for each in homeless), homeless[0].message if homeless else "")
    return [ready, scheduled(ConditionType.WORKERS_SCHEDULED, "workers", found)]


def worker_pool_statuses(
    pools: Sequence[WorkerPoolFacts], report: Report | None
) -> list[WorkerPoolStatus]:
    """The numbers of each pool."""
    return [_status(each, report) for each in pools]


def _status(facts: WorkerPoolFacts, report: Report | None) -> WorkerPoolStatus:
    name, idle_since = facts.seen.pool.name, facts.seen.rest.idle_since
    return WorkerPoolStatus(
        name=name,
        replicas=facts.rollout.existing,
        ready_replicas=facts.rollout.ready,
        desired_replicas=facts.rollout.wanted,
        unschedulable_replicas=facts.unplaced.count,
        idle_since=idle_since.strftime(TIME_FORMAT) if idle_since else None,
        queue=queue_status(report.queue(name)) if report else None,
    )


def worker_numbers(report: Report) -> WorkerNumbers:
    """How many workers the coordinator knows."""
    return WorkerNumbers(
        known=len(report.workers),
        active=sum(worker.active for worker in report.workers.values()),
        busy=sum(load > 0 for load in report.loads.values()),
    )
