"""What follows a failure: another try elsewhere after a pause, or the end."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from muster_coordinator.engine.model import Held, Move
from muster_coordinator.engine.states import State, Wish


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential pauses in seconds: `first`, twice that, and so on up to `longest`."""

    first: float = 1.0
    longest: float = 60.0
    jitter: float = 0.2

    def after(self, retries: int) -> float:
        """The pause before the next try, where `retries` were made before it."""
        pause = min(self.longest, self.first * 2.0 ** min(retries, 30))
        return pause * (1 + self.jitter * random.random())  # noqa: S311 - jitter is no secret


# The worker is told the limit itself, and should be the first to act on it.
_PART_BEYOND_THE_LIMIT = 1.1
_SECONDS_BEYOND_THE_LIMIT = 5.0


def running_lease(held: Held, general: float) -> float:
    """For how many seconds a workload may run, from its start, before it counts as stuck."""
    if held.timeout_seconds is None:
        return general
    return held.timeout_seconds * _PART_BEYOND_THE_LIMIT + _SECONDS_BEYOND_THE_LIMIT


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Decides about workloads whose worker failed them.

    Args:
        backoff: the pauses between tries.
        max_redistributions: how often a workload may lose its worker while it runs; one that
            does so more often is taken to be what kills them.
    """

    backoff: Backoff = Backoff()
    max_redistributions: int = 5

    def failed(self, held: Held, message: str, *, transient: bool) -> Move:
        """A worker reported a failure."""
        if not transient:
            return _ended(held, message, failed_on=held.worker_id)
        if held.retry_count >= held.max_retries:
            tries = held.retry_count + 1
            return _ended(held, f"{message} (given up after {tries} tries)", held.worker_id)
        return Move(
            held.id,
            held.state,
            _again(held),
            "workload.retried",
            message,
            delay=self.backoff.after(held.retry_count),
            retried=True,
            failed_on=held.worker_id,
        )

    def refused(self, held: Held, message: str) -> Move:
        """A worker's result was wrong: elsewhere at once, the pause is of no use."""
        if held.retry_count >= held.max_retries:
            return _ended(held, message, held.worker_id)
        return Move(
            held.id,
            held.state,
            _again(held),
            "workload.result_refused",
            message,
            retried=True,
            failed_on=held.worker_id,
        )

    def released(self, held: Held, reason: str) -> Move:
        """A worker handed its assignment back unfinished; that is no failure."""
        return Move(held.id, held.state, _again(held), "workload.released", reason)

    def paused(self, held: Held) -> Move:
        """A worker stopped, as the owner asked; where nobody asked, it hands back."""
        if _again(held) is State.PAUSED:
            return Move(held.id, held.state, State.PAUSED, "workload.paused")
        return self.released(held, "paused without being asked to")

    def expired(self, held: Held, deadline: datetime) -> Move:
        """It still waits for a worker at its deadline."""
        when = deadline.astimezone(UTC).isoformat(timespec="milliseconds")
        return _ended(held, f"its deadline, {when}, passed while it waited for a worker", None)

    def lost(self, held: Held, reason: str) -> Move:
        """The worker is gone, or stuck."""
        reason = f"worker {held.worker_id}: {reason}"
        if held.state is State.SCHEDULED:
            return Move(held.id, held.state, State.PENDING, "workload.unscheduled", reason)
        if held.redistributions >= self.max_redistributions:
            times = held.redistributions + 1
            message = f"its worker was lost {times} times, the last time: {reason}"
            return _ended(held, message, None, "workload.poisoned")
        after = _again(held)
        return Move(
            held.id,
            held.state,
            State.REDISTRIBUTING if after is State.PENDING else after,
            "workload.redistributing",
            reason,
            redistributed=True,
        )


def _again(held: Held) -> State:
    """Where a workload goes that is not at its end: back into the queue, unless it should rest."""
    if held.wish is Wish.PAUSE and held.state is State.RUNNING:
        return State.PAUSED
    return State.PENDING


def _ended(held: Held, message: str, failed_on: str | None, event: str = "workload.failed") -> Move:
    return Move(
        held.id,
        held.state,
        State.FAILED,
        event,
        message,
        failed_on=failed_on,
        error=message,
    )
