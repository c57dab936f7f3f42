"""How a Coordinator stands; pure."""

from dataclasses import dataclass, field

from muster_api.conditions import ConditionType, Reason
from muster_api.coordinator import CoordinatorSpec, CoordinatorStatus, Endpoints
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.reconcile.conditions import Finding, Standing, Verdict, summary, verdict
from muster_operator.reconcile.growth import Shortfall, growing, volume_verdicts
from muster_operator.reconcile.managed import BROKER, DATABASE, managed
from muster_operator.reconcile.numbers import queue_status
from muster_operator.reconcile.rollout import Rollout, Unplaced
from muster_operator.reconcile.scheduled import scheduled
from muster_operator.reconcile.worker_pool_status import (
    WorkerPoolFacts,
    first_lack,
    worker_numbers,
    worker_pool_statuses,
    worker_pool_verdicts,
)
from muster_operator.telemetry.report import Report

_ENOUGH_FOR_LOSS = 2


@dataclass(frozen=True, slots=True)
class CoordinatorFacts:
    """What was seen of a Coordinator.

    Args:
        pods: of the coordinators.
        database: of the managed PostgreSQL; None where the database is external.
        broker: of the managed NATS; None where there is none.
        unplaced: pods of coordinators and managed stores that find no node.
        trouble: what keeps a pod from running; empty where nothing is known.
        leader: the holder of the Lease; empty where nobody leads.
        report: what it said about its queue; None while unknown.
        worker_pools: its own.
        certificates: the revision of its managed certificates; None where there are none.
        small: volumes that are smaller than the spec says.
    """

    owner: Owner
    spec: CoordinatorSpec
    pods: Rollout
    database: Rollout | None
    broker: Rollout | None = None
    pools: int = 0
    unplaced: Unplaced = field(default_factory=Unplaced)
    trouble: str = ""
    leader: str = ""
    report: Report | None = None
    worker_pools: tuple[WorkerPoolFacts, ...] = ()
    certificates: int | None = None
    small: tuple[Shortfall, ...] = ()
    problem: Finding | None = None
    paused: bool = False


def coordinator_verdicts(facts: CoordinatorFacts) -> list[Verdict]:
    """Every condition of a Coordinator."""
    detail = facts.pods.failure or facts.unplaced.message or facts.trouble
    obstacle, unfinished = _obstacle(facts), _unfinished(facts)
    standing = Standing(
        obstacle=obstacle.because(detail) if obstacle else None,
        unfinished=unfinished.because(detail) if unfinished else None,
        problem=facts.problem,
        stopping=facts.pods.existing if facts.spec.suspend else None,
        paused=facts.paused,
        good=_numbers(facts),
    )
    placed = scheduled(ConditionType.PODS_SCHEDULED, "pods", facts.unplaced)
    return [
        *summary(standing),
        placed,
        managed(DATABASE, facts.database),
        *_broker(facts),
        _sealed(facts),
        *worker_pool_verdicts(facts.worker_pools),
        *volume_verdicts(facts.small),
        _available(facts),
    ]


def coordinator_status(facts: CoordinatorFacts, generation: int) -> CoordinatorStatus:
    """The status but for its conditions."""
    owner, report = facts.owner, facts.report
    host = f"{naming.coordinator_name(owner.key.name)}.{owner.key.namespace}.svc"
    return CoordinatorStatus(
        observed_generation=generation,
        replicas=facts.pods.existing,
        ready_replicas=facts.pods.ready,
        selector=naming.as_selector(naming.selecting(owner.key, naming.COORDINATOR)),
        leader=facts.leader or None,
        endpoints=Endpoints(
            grpc=f"{host}:{naming.GRPC_PORT}",
            http=f"{host}:{naming.HTTP_PORT}",
            ops=f"{host}:{naming.OPS_PORT}",
        ),
        pools=facts.pools,
        queue=queue_status(report.total) if report else None,
        workers=worker_numbers(report) if report else None,
        worker_pools=worker_pool_statuses(facts.worker_pools, report) or None,
        admin_key_secret=_admin_key_secret(facts),
        certificate_revision=facts.certificates,
    )


def _admin_key_secret(facts: CoordinatorFacts) -> str | None:
    accounts = facts.spec.accounts
    if accounts is None or accounts.admin_key != "Managed":
        return None
    return naming.admin_secret(facts.owner.key.name)


def _numbers(facts: CoordinatorFacts) -> str:
    return f"{facts.pods.ready} of {facts.pods.wanted} coordinators are ready"


def _obstacle(facts: CoordinatorFacts) -> Finding | None:
    pods = facts.pods
    if facts.database is not None and facts.database.ready == 0:
        return Finding(Reason.WAITING_FOR_DATABASE, "the managed PostgreSQL is not ready")
    if pods.ready == 0:
        return Finding(Reason.NO_PODS_READY, _numbers(facts))
    if not pods.complete:
        message = f"{_numbers(facts)}, {pods.updated} are of this spec"
        return Finding(Reason.ROLLING_OUT, message)
    return None


def _unfinished(facts: CoordinatorFacts) -> Finding | None:
    if facts.pods.ready < facts.pods.wanted:
        return Finding(Reason.PODS_STARTING, _numbers(facts))
    if facts.broker is not None and facts.broker.ready == 0:
        return Finding(Reason.WAITING_FOR_BROKER, "the managed NATS is not ready")
    return first_lack(facts.worker_pools) or growing(facts.small)


def _broker(facts: CoordinatorFacts) -> list[Verdict]:
    broker = facts.spec.broker
    if broker is None:
        return []
    return [managed(BROKER, facts.broker if broker.managed else None)]


def _sealed(facts: CoordinatorFacts) -> Verdict:
    kind, database = ConditionType.INPUTS_SEALED, facts.spec.database
    if facts.problem and facts.problem.reason is Reason.WITNESS_KEY_LOST:
        return verdict(kind, False, facts.problem.reason, facts.problem.message)
    if database.witness_key_secret_ref:
        return verdict(kind, True, Reason.KEY_NAMED, Reason.KEY_NAMED.meaning)
    if database.managed:
        return verdict(kind, True, Reason.KEY_MADE, Reason.KEY_MADE.meaning)
    return verdict(kind, False, Reason.NO_KEY, Reason.NO_KEY.meaning)


def _available(facts: CoordinatorFacts) -> Verdict:
    kind = ConditionType.HIGHLY_AVAILABLE
    if facts.spec.replicas < _ENOUGH_FOR_LOSS:
        return verdict(kind, False, Reason.SINGLE_REPLICA, "write spec.replicas: 2 or more")
    if facts.database is not None:
        return verdict(kind, False, Reason.MANAGED_DATABASE, Reason.MANAGED_DATABASE.meaning)
    if facts.pods.ready < _ENOUGH_FOR_LOSS:
        return verdict(kind, False, Reason.PODS_STARTING, _numbers(facts))
    return verdict(kind, True, Reason.REPLICATED, _numbers(facts))
