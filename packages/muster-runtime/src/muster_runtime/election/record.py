"""The Lease record and the decision what to write into it; pure.

The algorithm is client-go's (`k8s.io/client-go/tools/leaderelection`): a record is expired when
it has not changed for its own duration on the observer's monotonic clock. Timestamps that others
wrote are never compared with the local time, so clock skew can't elect two leaders.
"""

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Timings:
    """How fast a lost leader is replaced, in seconds.

    Args:
        lease_duration: how long a record that does not change keeps others away.
        renew_deadline: how long a leader tries to renew before it steps down.
        retry_period: the pause between two tries.

    Raises:
        ValueError: not `retry_period < renew_deadline < lease_duration`.
    """

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_period < self.renew_deadline < self.lease_duration:
            raise ValueError(
                f"retry_period {self.retry_period:g}s, renew_deadline {self.renew_deadline:g}s, "
                f"lease_duration {self.lease_duration:g}s: each must be less than the next"
            )


@dataclass(frozen=True, slots=True)
class Term:
    """One reign: who leads, and a number that rises whenever the holder changes."""

    holder: str
    number: int


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says: `holder` is empty where it was released, `duration` is in seconds."""

    holder: str
    duration: float
    acquired: datetime
    renewed: datetime
    transitions: int


@dataclass(frozen=True, slots=True)
class Observation:
    """A record, and since when (seconds, local monotonic clock) it has not changed."""

    record: LeaseRecord
    since: float

    def is_free(self, identity: str, now: float) -> bool:
        """Whether `identity` may take or renew the lease at monotonic time `now`."""
        record = self.record
        return record.holder in {"", identity} or now >= self.since + record.duration


def observe(before: Observation | None, record: LeaseRecord, now: float) -> Observation:
    """Take note of `record`; its age starts anew only where it has changed."""
    if before is not None and before.record == record:
        return before
    return Observation(record, now)


def first(identity: str, timings: Timings, wall: datetime) -> LeaseRecord:
    """The record of a lease that nobody has held yet."""
    return LeaseRecord(identity, timings.lease_duration, wall, wall, 0)


def held(record: LeaseRecord, identity: str, timings: Timings, wall: datetime) -> LeaseRecord:
    """The record that takes over or renews `record` for `identity`."""
    if record.holder == identity:
        return replace(record, duration=timings.lease_duration, renewed=wall)
    return LeaseRecord(identity, timings.lease_duration, wall, wall, record.transitions + 1)


def released(record: LeaseRecord, wall: datetime) -> LeaseRecord:
    """The record that lets the next candidate in at once."""
    return replace(record, holder="", duration=1.0, renewed=wall)
