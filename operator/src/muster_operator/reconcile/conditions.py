"""Conditions: from verdicts to what stands in the status; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from muster_api.conditions import ConditionType, Reason

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""How times stand in a status; they are in UTC."""

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said about one condition."""

    type: ConditionType
    status: Truth
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason, and for people what exactly."""

    reason: Reason
    message: str

    def because(self, detail: str) -> "Finding":
        """The same with what is known about its cause."""
        return Finding(self.reason, f"{self.message}; {detail}") if detail else self


@dataclass(frozen=True, slots=True)
class Standing:
    """How an object stands, from which its summary conditions follow.

    Args:
        obstacle: what keeps it from being ready.
        unfinished: what is still to come although it is ready.
        problem: what will not get better before somebody changes something.
        stopping: pods that are still there although it is suspended; None where it is not.
        good: what to say where it is ready.
        good_reason: why it counts as ready.
    """

    obstacle: Finding | None = None
    unfinished: Finding | None = None
    problem: Finding | None = None
    stopping: int | None = None
    paused: bool = False
    good: str = ""
    good_reason: Reason = Reason.ALL_READY


def summary(standing: Standing) -> list[Verdict]:
    """Ready always; Reconciling, Stalled and Paused only where they hold."""
    verdicts = [_ready(standing)]
    going_on = None if standing.paused else _reconciling(standing)
    if going_on:
        verdicts.append(verdict(ConditionType.RECONCILING, True, going_on.reason, going_on.message))
    if standing.problem:
        problem = standing.problem
        verdicts.append(verdict(ConditionType.STALLED, True, problem.reason, problem.message))
    if standing.paused:
        verdicts.append(verdict(ConditionType.PAUSED, True, Reason.PAUSED, Reason.PAUSED.meaning))
    return verdicts


def _ready(standing: Standing) -> Verdict:
    suspended = Finding(Reason.SUSPENDED, Reason.SUSPENDED.meaning)
    against = (
        standing.problem
        or (suspended if standing.stopping is not None else None)
        or standing.obstacle
    )
    if against:
        return verdict(ConditionType.READY, False, against.reason, against.message)
    return verdict(ConditionType.READY, True, standing.good_reason, standing.good)


def _reconciling(standing: Standing) -> Finding | None:
    if standing.problem:
        return None
    if standing.stopping is not None:
        message = f"{standing.stopping} pods are still stopping"
        return Finding(Reason.SUSPENDED, message) if standing.stopping else None
    return standing.obstacle or standing.unfinished


def verdict(kind: ConditionType, holds: bool, reason: Reason, message: str) -> Verdict:
    """A verdict that is sure."""
    return Verdict(kind, "True" if holds else "False", reason, message)


def merged(
    before: Iterable[Mapping[str, Any]],
    verdicts: Iterable[Verdict],
    generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """The conditions to be written; the time of one whose status did not change is kept."""
    times = {each["type"]: (each["status"], each["lastTransitionTime"]) for each in before}
    stamp = now.strftime(TIME_FORMAT)
    written = []
    for each in verdicts:
        status, since = times.get(each.type.value, ("", stamp))
        written.append(
            {
                "type": each.type.value,
                "status": each.status,
                "observedGeneration": generation,
                "lastTransitionTime": since if status == each.status else stamp,
                "reason": each.reason.value,
                "message": each.message,
            }
        )
    return written


def find(conditions: Sequence[Mapping[str, Any]], kind: ConditionType) -> Mapping[str, Any]:
    """The condition of that type; empty where there is none."""
    return next((each for each in conditions if each["type"] == kind.value), {})
