"""What the reconciling of every kind has in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from muster_api.conditions import ConditionType, EventReason, Reason
from muster_operator import naming
from muster_operator.children.base import Defaults
from muster_operator.cluster import Cluster, NotFoundError
from muster_operator.events import EventRecorder
from muster_operator.reconcile.conditions import (
    Finding,
    Standing,
    Verdict,
    find,
    merged,
    summary,
)
from muster_operator.resources import SCALED_OBJECTS, Key, Manifest, Resource
from muster_operator.telemetry.report import Report

_STALLED_SECONDS = 15.0

Result = Literal["ready", "working", "stalled", "paused", "gone"]
RESULTS: tuple[Result, ...] = ("ready", "working", "stalled", "paused", "gone")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one reconciling ended, and after how many seconds to look again unasked."""

    result: Result
    again_after: float | None = None


class Reports(Protocol):
    """Where the latest reports of coordinators are found."""

    def fresh(self, coordinator: Key) -> Report | None:
        """The report of a Coordinator; None where there is no recent one."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """What reconciling needs of the world."""

    cluster: Cluster
    defaults: Defaults
    reports: Reports
    events: EventRecorder

    def with_scalers(self, resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
        """Kinds of children, and that of KEDA where it scales workers."""
        return (*resources, SCALED_OBJECTS) if self.defaults.keda else resources


class Reconciler(Protocol):
    """Reconciles the objects of one kind."""

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one object from what is there to what is wanted, and write its status.

        Raises:
            ClusterError: try again later.
        """
        ...


def is_paused(body: Manifest) -> bool:
    """Whether the object asks to be left alone."""
    annotations: Mapping[str, str] = body["metadata"].get("annotations") or {}
    return annotations.get(naming.PAUSED) == "true"


def is_serving(coordinator: Manifest) -> bool:
    """Whether a Coordinator hands out work: it is ready, or pods of its former spec still are."""
    found = find(coordinator.get("status", {}).get("conditions", []), ConditionType.READY)
    return found.get("status") == "True" or found.get("reason") == Reason.ROLLING_OUT.value


def ready_message(body: Manifest) -> str:
    """What the object says about being ready or not."""
    conditions = body.get("status", {}).get("conditions", [])
    return str(find(conditions, ConditionType.READY).get("message", ""))


def outcome(verdicts: Sequence[Verdict], again_after: float | None = None) -> Outcome:
    """The outcome that the verdicts amount to."""
    holding = {each.type for each in verdicts if each.status == "True"}
    if ConditionType.STALLED in holding:
        # What it stalls for may be a Secret or a stranger's object, which are not watched.
        return Outcome("stalled", again_after or _STALLED_SECONDS)
    if ConditionType.PAUSED in holding:
        return Outcome("paused", again_after)
    return Outcome("ready" if ConditionType.READY in holding else "working", again_after)


async def refuse(
    world: World, resource: Resource, body: Manifest, invalid: ValidationError
) -> Outcome:
    """Say that the stored spec can't be read; the rest of the status stays as it was.

    Raises:
        ClusterError: the write failed.
    """
    verdicts = summary(Standing(problem=Finding(Reason.INVALID_SPEC, unfit(invalid))))
    kept = {**body.get("status", {}), "observedGeneration": body["metadata"]["generation"]}
    await write_status(world, resource, body, kept, verdicts)
    return outcome(verdicts)


def unfit(invalid: ValidationError) -> str:
    """Where a stored spec does not fit, and what would; pure. Values are not repeated."""
    said = [
        (".".join(["spec", *map(str, error["loc"])]), error["msg"].removeprefix("Value error, "))
        for error in invalid.errors(include_url=False, include_input=False)
    ]
    errors = "; ".join(f"{field}: {why}" for field, why in said)
    return f"{errors}. Upgrade the operator, or write the spec anew"


async def write_status(
    world: World,
    resource: Resource,
    body: Manifest,
    status: Mapping[str, Any],
    verdicts: Sequence[Verdict],
) -> None:
    """Write the status in one patch if it has changed, and tell of what has.

    Args:
        status: all but its conditions.

    Raises:
        ClusterError: the write failed.
    """
    before: dict[str, Any] = body.get("status", {})
    conditions = merged(
        before.get("conditions", []), verdicts, body["metadata"]["generation"], datetime.now(UTC)
    )
    after = {**status, "conditions": conditions}
    if after == before:
        return
    metadata = {key: body["metadata"][key] for key in ("name", "namespace", "uid")}
    try:
        await world.cluster.apply(resource, resource.manifest(metadata, status=after), sub="status")
    except NotFoundError:
        return
    for reason, note in news(before.get("conditions", []), conditions):
        await world.events.post(body, reason, note)


def news(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[tuple[EventReason, str]]:
    """The Events that a change of conditions is worth; pure."""
    was, now = find(before, ConditionType.READY), find(after, ConditionType.READY)
    told = _readiness(was, now)
    stalled = find(after, ConditionType.STALLED)
    if stalled and stalled.get("message") != find(before, ConditionType.STALLED).get("message"):
        told.append((EventReason.STALLED, f"{stalled['reason']}: {stalled['message']}"))
    for kind, reason in _BECOMES_FALSE.items():
        found = find(after, kind)
        if found.get("status") == "False" and find(before, kind).get("status") != "False":
            told.append((reason, found["message"]))
    small, refused = find(after, ConditionType.VOLUMES_TOO_SMALL), Reason.VOLUME_EXPANSION_REFUSED
    former = find(before, ConditionType.VOLUMES_TOO_SMALL).get("reason")
    if small.get("reason") == refused.value != former:
        told.append((EventReason.VOLUME_EXPANSION_REFUSED, small["message"]))
    joined = find(after, ConditionType.NODES_JOINED)
    # Only after it was known that they had not.
    waited = find(before, ConditionType.NODES_JOINED).get("status") == "False"
    if waited and joined.get("status") == "True":
        told.append((EventReason.NODES_JOINED, joined["message"]))
    return told


_BECOMES_FALSE = {
    ConditionType.WORKERS_SCHEDULED: EventReason.UNSCHEDULABLE,
    ConditionType.PODS_SCHEDULED: EventReason.UNSCHEDULABLE,
    ConditionType.BACKED_UP: EventReason.BACKUP_FAILED,
}
_AWAKE = {reason.value for reason in (Reason.ALL_READY, Reason.NO_PODS_READY, Reason.ROLLING_OUT)}


def _readiness(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[EventReason, str]]:
    slept, sleeps = (each.get("reason") == Reason.SCALED_TO_ZERO.value for each in (was, now))
    if sleeps and not slept:
        return [(EventReason.SCALED_TO_ZERO, now["message"])]
    if slept and not sleeps and now["reason"] in _AWAKE:
        return [(EventReason.SCALED_FROM_ZERO, now["message"])]
    if now["status"] == "True" and was.get("status") != "True":
        return [(EventReason.BECAME_READY, now["message"])]
    if now["status"] != "True" and was.get("status") == "True":
        return [(EventReason.NO_LONGER_READY, f"{now['reason']}: {now['message']}")]
    return []
