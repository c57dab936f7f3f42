"""How a ProverPool stands; pure."""

from dataclasses import dataclass, field
from datetime import datetime

from muster_api.conditions import ConditionType, Reason
from muster_api.proverpool import KeyStatus, ProverPoolStatus, Quarantine
from muster_operator import naming
from muster_operator.children.prover_pool import PoolInput, fixed_replicas
from muster_operator.reconcile.conditions import (
    TIME_FORMAT,
    Finding,
    Standing,
    Verdict,
    summary,
    verdict,
)
from muster_operator.reconcile.numbers import queue_status
from muster_operator.reconcile.rollout import Rollout, Unplaced
from muster_operator.reconcile.scheduled import scheduled
from muster_operator.telemetry.report import Report


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What was seen of a ProverPool.

    Args:
        pods: of the workers.
        coordinator_ready: whether its Coordinator hands out work, with what it says of itself.
        workers: names of the worker pods.
        report: what its Coordinator said; None while unknown.
        idle_since: since when it has had no work, where that matters.
        quarantined: workers that get no tasks because they lied.
    """

    given: PoolInput
    pods: Rollout
    unplaced: Unplaced = field(default_factory=Unplaced)
    trouble: str = ""
    coordinator_ready: bool = False
    coordinator_message: str = ""
    workers: frozenset[str] = frozenset()
    report: Report | None = None
    idle_since: datetime | None = None
    quarantined: tuple[Quarantine, ...] = ()
    problem: Finding | None = None
    paused: bool = False


def pool_verdicts(facts: PoolFacts) -> list[Verdict]:
    """Every condition of a ProverPool."""
    spec = facts.given.spec
    detail = facts.pods.failure or facts.unplaced.message or facts.trouble
    unfinished = _unfinished(facts)
    standing = Standing(
        obstacle=_obstacle(facts, detail),
        unfinished=unfinished.because(detail) if unfinished else None,
        problem=facts.problem,
        stopping=facts.pods.existing if spec.suspend else None,
        paused=facts.paused,
        good=Reason.SCALED_TO_ZERO.meaning if facts.given.asleep else _numbers(facts),
        good_reason=Reason.SCALED_TO_ZERO if facts.given.asleep else Reason.ALL_READY,
    )
    verdicts = [*summary(standing), _scheduled(facts), _coordinator(facts)]
    if spec.keys and spec.keys.insecure_setup:
        reason = Reason.KEYS_MADE_IN_CLUSTER
        verdicts.append(verdict(ConditionType.INSECURE_SETUP, True, reason, reason.meaning))
    if spec.verification == "None":
        reason = Reason.VERIFICATION_OFF
        verdicts.append(verdict(ConditionType.PROOFS_VERIFIED, False, reason, reason.meaning))
    return verdicts


def pool_status(facts: PoolFacts, generation: int) -> ProverPoolStatus:
    """The status but for its conditions."""
    key, report = facts.given.owner.key, facts.report
    keys = report.keys.get(key.name, {}) if report else {}
    busy = None
    if report:
        busy = sum(1 for name in facts.workers if report.loads.get(name, 0) > 0)
    return ProverPoolStatus(
        observed_generation=generation,
        replicas=facts.pods.existing,
        ready_replicas=facts.pods.ready,
        desired_replicas=facts.pods.wanted,
        unschedulable_replicas=facts.unplaced.count,
        busy_replicas=busy,
        idle_since=facts.idle_since.strftime(TIME_FORMAT) if facts.idle_since else None,
        selector=naming.as_selector(naming.selecting(key, naming.WORKER)),
        coordinator=facts.given.coordinator,
        queue=queue_status(report.queue(key.name)) if report else None,
        keys=[KeyStatus(key_id=each, version=keys[each]) for each in sorted(keys)],
        quarantined=list(facts.quarantined) or None,
    )


def needed(facts: PoolFacts) -> int:
    """How many ready workers the spec asks for; what the autoscaler adds comes on top."""
    fixed = fixed_replicas(facts.given)
    return facts.given.fewest if fixed is None else fixed


def _numbers(facts: PoolFacts) -> str:
    return f"{facts.pods.ready} of {max(facts.pods.wanted, needed(facts))} workers are ready"


def _obstacle(facts: PoolFacts, detail: str) -> Finding | None:
    pods = facts.pods
    if not facts.coordinator_ready:
        return Finding(Reason.WAITING_FOR_COORDINATOR, _waiting(facts))
    differing = _differing_key(facts)
    if differing:
        return Finding(Reason.KEY_VERSION_DIFFERS, differing)
    if facts.given.asleep:
        return None
    if needed(facts) > 0 and pods.ready == 0:
        return Finding(Reason.NO_PODS_READY, _numbers(facts)).because(detail)
    if not pods.current or pods.updated < pods.existing:
        message = f"{_numbers(facts)}, {pods.updated} are of this spec"
        return Finding(Reason.ROLLING_OUT, message).because(detail)
    return None


def _differing_key(facts: PoolFacts) -> str:
    keys, report = facts.given.spec.keys, facts.report
    in_use = report.keys.get(facts.given.owner.key.name, {}) if report else {}
    for key in (keys and keys.imported) or []:
        version = in_use.get(key.key_id)
        if version and key.version and version != key.version:
            return (
                f"the key {key.key_id} in use is {version}, and keys.imported pins {key.version}: "
                "correct the pin or the key"
            )
    return ""


def _unfinished(facts: PoolFacts) -> Finding | None:
    if facts.pods.ready < needed(facts):
        reason = Reason.UNSCHEDULABLE if facts.unplaced.count else Reason.PODS_STARTING
        return Finding(reason, _numbers(facts))
    return None


def _scheduled(facts: PoolFacts) -> Verdict:
    return scheduled(ConditionType.WORKERS_SCHEDULED, "workers", facts.unplaced)


def _coordinator(facts: PoolFacts) -> Verdict:
    kind, name = ConditionType.COORDINATOR_READY, facts.given.coordinator
    if facts.coordinator_ready:
        return verdict(kind, True, Reason.ALL_READY, f"Coordinator {name} hands out work")
    return verdict(kind, False, Reason.WAITING_FOR_COORDINATOR, _waiting(facts))


def _waiting(facts: PoolFacts) -> str:
    said = f": {facts.coordinator_message}" if facts.coordinator_message else ""
    return f"Coordinator {facts.given.coordinator} is not ready{said}"
