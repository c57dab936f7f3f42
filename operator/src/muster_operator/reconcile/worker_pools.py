"""A Coordinator's own worker pools: what was seen of them, and what follows for their numbers."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from muster_api.coordinator import CoordinatorSpec
from muster_api.worker_pools import WorkerPool
from muster_operator import naming
from muster_operator.children.autoscaler import fewest
from muster_operator.children.coordinator_input import PoolScale
from muster_operator.cluster import Cluster
from muster_operator.reconcile.apply import release_replicas
from muster_operator.reconcile.busy import mark_busy
from muster_operator.reconcile.plan import Children
from muster_operator.reconcile.sleep import Rest, Sleepiness, rest
from muster_operator.reconcile.sparing import spared
from muster_operator.resources import DEPLOYMENTS, Manifest
from muster_operator.telemetry.report import Report


@dataclass(frozen=True, slots=True)
class SeenPool:
    """What was seen of one pool.

    Args:
        name: of its Deployment.
        pods: its workers.
        rest: whether it sleeps.
        spared: workers that are to be kept, because they have tasks.
        suspended: whether no pods are wanted whatever there is to do.
    """

    pool: WorkerPool
    name: str
    pods: tuple[Manifest, ...]
    rest: Rest
    spared: int
    suspended: bool

    @property
    def scale(self) -> PoolScale:
        """What decides about its number of workers beside the spec."""
        return PoolScale(self.rest.asleep, self.spared)

    @property
    def autoscaled(self) -> bool:
        """Whether the autoscaler owns the number of workers."""
        return self.pool.autoscaling.enabled and not (self.suspended or self.rest.asleep)

    @property
    def needed(self) -> int:
        """How many ready workers the spec asks for; what the autoscaler adds comes on top."""
        if self.suspended or self.rest.asleep:
            return 0
        if self.pool.autoscaling.enabled:
            return fewest(self.pool.autoscaling)
        return 1 if self.pool.replicas is None else self.pool.replicas


@dataclass(frozen=True, slots=True)
class Observed:
    """What pools are judged by.

    Args:
        pods: all of the Coordinator's.
        report: what it said; None while unknown.
        idle_since: when each pool was noted to have no work, by name, as in the status.
    """

    live: Children
    pods: Iterable[Manifest]
    report: Report | None
    idle_since: Mapping[str, str]


def seen_pools(
    coordinator: str, spec: CoordinatorSpec, observed: Observed, now: datetime
) -> list[SeenPool]:
    """The pools of a Coordinator, at the time `now`, which has whole seconds; pure."""
    return [_seen(coordinator, spec, pool, observed, now) for pool in spec.worker_pools or []]


def _seen(
    coordinator: str, spec: CoordinatorSpec, pool: WorkerPool, observed: Observed, now: datetime
) -> SeenPool:
    name = naming.worker_pool_name(coordinator, pool.name)
    report, deployment = observed.report, observed.live.get((DEPLOYMENTS.kind, name))
    pods = tuple(pod for pod in observed.pods if pool_of(pod) == pool.name)
    outstanding = report.queue(pool.name).outstanding if report else None
    noted = observed.idle_since.get(pool.name)
    sleepiness = Sleepiness(
        at_zero=deployment is None or deployment["spec"].get("replicas") == 0,
        outstanding=outstanding,
        idle_since=datetime.fromisoformat(noted) if noted else None,
        suspended=spec.suspend,
    )
    kept = 0
    if report and outstanding is not None:
        kept = spared(pods, report.loads, outstanding, pool.autoscaling)
    decided = rest(pool.autoscaling, sleepiness, now)
    return SeenPool(pool, name, pods, decided, kept, spec.suspend)


def pool_of(pod: Manifest) -> str:
    """Which of a Coordinator's worker pools a pod belongs to; empty where to none."""
    return str((pod["metadata"].get("labels") or {}).get(naming.WORKER_POOL, ""))


def look_again(pools: Iterable[SeenPool]) -> float | None:
    """Seconds after which a pool is to be decided about anew although nothing has changed."""
    return min(
        (each.rest.again_after for each in pools if each.rest.again_after is not None),
        default=None,
    )


async def prepare(
    cluster: Cluster, pools: Iterable[SeenPool], live: Children, report: Report | None
) -> None:
    """Mark the busy workers, then give the numbers of workers to their autoscalers.

    Raises:
        ClusterError: a write failed.
    """
    pools = list(pools)
    if report:
        await asyncio.gather(
            *(mark_busy(cluster, each.pods, report.loads, each.pool.concurrency) for each in pools)
        )
    for each in pools:
        deployment = live.get((DEPLOYMENTS.kind, each.name))
        if deployment is not None and each.autoscaled:
            limits = each.pool.autoscaling
            await release_replicas(cluster, deployment, fewest(limits), limits.max_replicas)
