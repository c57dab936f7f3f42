"""One write on its way to its replicas: how it begins, and what its end means.

What happens between is not here but where the connections are (`muster_front`): a write of a
tenant that keeps siblings is taken by one replica, which makes its dot, and merged by the others.
One where the last one wins is merged by all at once.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from muster_kv.clock import VectorClock
from muster_kv.consistency import Progress
from muster_kv.merging import Intent, Outcome
from muster_kv.wire.messages import Failure
from muster_kv_coordinator.core import failures
from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_kv_coordinator.core.failures import StaleRingError


@dataclass(frozen=True, slots=True)
class Taking:
    """Begins with one replica that takes the write, a healthy one if there is any.

    Args:
        base: a record that it joins before.
        late: nodes that were asked before, and did not say in time; they come last. One of those
            may have taken it, whatever others say now.
    """

    intent: Intent
    base: bytes = b""
    late: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Merging:
    """Begins with a record that is made already.

    Args:
        holders: nodes that have it.
    """

    record: bytes
    outcome: Outcome
    clock: VectorClock
    holders: tuple[str, ...] = ()


Start = Taking | Merging


@dataclass(frozen=True, slots=True)
class Way:
    """Where a write goes.

    Args:
        writers: all nodes that get it, in the order of preference; the first `natural` of them
            hold the key now.
        end: when replicas must have answered, by the loop's clock.
        unsynced: whether replicas may answer before it is on their disks.
    """

    ring_version: int
    writers: tuple[str, ...]
    natural: int
    slot: bytes
    progress: Progress
    end: float
    unsynced: bool = False


class Verdict(StrEnum):
    """How a write ended, as far as its client goes."""

    REACHED = "reached"
    CONFLICT = "conflict"
    # The last failure says why nobody will ever take it.
    REFUSED = "refused"
    # A replica holds a newer ring.
    STALE = "stale"
    # One node may have taken it, or not, and will not from now on.
    UNSURE = "unsure"
    # Too few replicas are left.
    SHORT = "short"


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a write.

    Args:
        late: the node that may have taken it, where that is unsure.
        answered: how many replicas of those that are read have it.
        siblings: versions that live there now.
        record: what replicas were or are to be brought; empty where nobody has taken it.
        acked: nodes that have it.
        unsure: whether it may have happened although it failed.
    """

    verdict: Verdict
    late: str | None
    outcome: Outcome
    clock: VectorClock
    answered: int
    siblings: int
    record: bytes
    acked: tuple[str, ...]
    failures: tuple[Failure, ...]
    unsure: bool


@dataclass(frozen=True, slots=True)
class BegunWrite:
    """A write that was begun elsewhere, and how that ended.

    Args:
        intent: what replicas were asked for.
    """

    intent: Intent
    ending: Ending


@dataclass(frozen=True, slots=True)
class Spread:
    """A write that enough replicas hold."""

    outcome: Outcome
    clock: VectorClock
    replicas: int
    siblings: int


class UnsureError(Exception):
    """The node `late` may have taken the write, or not, and will not from now on."""

    def __init__(self, error: KvError, late: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.late = late


class HalfSpreadError(StaleRingError):
    """A replica holds a newer ring, under which what was made already goes on."""

    def __init__(self, version: int, made: Merging) -> None:
        super().__init__(version)
        self.made = made


def judged(ending: Ending, progress: Progress) -> Spread:
    """What came of a write that began with this progress.

    Raises:
        KvError: IDEMPOTENCY_KEY_CONFLICT, INVALID_REQUEST, QUORUM_NOT_REACHED.
        StaleRingError, HalfSpreadError: it has to be tried with a newer ring.
        UnsureError: nobody knows whether it was taken.
    """
    match ending.verdict:
        case Verdict.REACHED:
            return Spread(ending.outcome, ending.clock, ending.answered, ending.siblings)
        case Verdict.CONFLICT:
            raise conflict()
        case Verdict.REFUSED:
            with failures.perhaps_done(ending.unsure):
                raise failures.refused(ending.failures) or _short(ending, progress)
        case Verdict.STALE:
            raise _stale(ending) or _short(ending, progress)
        case Verdict.UNSURE if ending.late is not None:
            raise UnsureError(_short(ending, progress), ending.late)
    raise _short(ending, progress)


def _stale(ending: Ending) -> StaleRingError | None:
    stale = failures.stale(ending.failures)
    if stale is None or not ending.record:
        return stale
    made = Merging(ending.record, ending.outcome, ending.clock)
    return HalfSpreadError(stale.version, made)


def _short(ending: Ending, progress: Progress) -> KvError:
    for node in ending.acked:
        progress = progress.ack(node)
    return failures.not_reached(progress.shortfall(), ending.failures, unsure=ending.unsure)


def conflict() -> KvError:
    """The error of an idempotency key that came with another value before."""
    return KvError(
        ErrorCode.IDEMPOTENCY_KEY_CONFLICT,
        "this idempotency key came with another value before; a new value takes a new key",
    )
