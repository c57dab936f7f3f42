"""The states of workloads and workers, and the only transitions between them.

The database refuses every other transition too (triggers in `store/migrations`); a test compares
the two.
"""

from collections.abc import Mapping
from enum import StrEnum

from muster_coordinator.engine.errors import InvalidState


class State(StrEnum):
    """Where a workload is."""

    PENDING = "PENDING"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    REDISTRIBUTING = "REDISTRIBUTING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class WorkerStatus(StrEnum):
    """What the coordinator thinks of a worker."""

    ACTIVE = "ACTIVE"
    SUSPECT = "SUSPECT"
    DEAD = "DEAD"
    DRAINING = "DRAINING"
    QUARANTINED = "QUARANTINED"


class Wish(StrEnum):
    """What the owner of a running workload asks of its worker."""

    NONE = ""
    PAUSE = "pause"


CLAIMABLE = frozenset({State.PENDING, State.REDISTRIBUTING})
"""Waiting for a worker."""

HELD = frozenset({State.SCHEDULED, State.RUNNING})
"""Assigned to a worker."""

TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.SCHEDULED, State.FAILED, State.CANCELLED}),
    State.SCHEDULED: frozenset({State.RUNNING, State.PENDING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset(
        {
            State.COMPLETED,
            State.FAILED,
            State.CANCELLED,
            State.PAUSED,
            State.PENDING,
            State.REDISTRIBUTING,
        }
    ),
    State.PAUSED: frozenset({State.PENDING, State.CANCELLED}),
    State.REDISTRIBUTING: frozenset({State.SCHEDULED, State.FAILED, State.CANCELLED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

WORKER_TRANSITIONS: Mapping[WorkerStatus, frozenset[WorkerStatus]] = {
    WorkerStatus.ACTIVE: frozenset(
        {WorkerStatus.SUSPECT, WorkerStatus.DRAINING, WorkerStatus.QUARANTINED}
    ),
    WorkerStatus.SUSPECT: frozenset(
        {WorkerStatus.ACTIVE, WorkerStatus.DEAD, WorkerStatus.DRAINING, WorkerStatus.QUARANTINED}
    ),
    WorkerStatus.DEAD: frozenset({WorkerStatus.ACTIVE, WorkerStatus.QUARANTINED}),
    WorkerStatus.DRAINING: frozenset({WorkerStatus.DEAD, WorkerStatus.QUARANTINED}),
    # After a time, or by an administrator's word.
    WorkerStatus.QUARANTINED: frozenset({WorkerStatus.ACTIVE}),
}


def check_transition(before: State, after: State) -> None:
    """Let a legal transition pass.

    Raises:
        InvalidState: `TRANSITIONS` has none from `before` to `after`.
    """
    if after not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(TRANSITIONS[before])) or "nothing, it is final"
        raise InvalidState(f"a {before} workload can't become {after}; allowed: {allowed}")
