"""Which tasks this worker holds, and what an arriving assignment means: pure decisions.

A task is QUEUED until a process is free, RUNNING in it, then REPORTING until the coordinator has
answered. Every function takes a ledger and returns the next one.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto

from muster_worker.tasks import Assignment, Ticket


class Phase(Enum):
    """How far a held task has come."""

    QUEUED = auto()
    RUNNING = auto()
    REPORTING = auto()


class Decision(Enum):
    """What becomes of an arriving assignment."""

    QUEUE = auto()
    """It waits for a free process."""
    IGNORE = auto()
    """This or a later assignment of the task is held already."""
    ADOPT = auto()
    """The same work runs here already; its result is reported under the new assignment."""
    RESTART = auto()
    """Other work runs under an older assignment of the task; that run stops, this one waits."""
    REFUSE = auto()
    """There is no room; it goes back to the coordinator."""


@dataclass(frozen=True, slots=True)
class Held:
    """A task in this worker's hands."""

    ticket: Ticket
    phase: Phase
    assignment: Assignment | None = None
    """None while a result of an earlier life of this worker is reported."""
    attempt: int = 0
    """Number of the run, from 1; 0 before it runs."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All held tasks, in order of arrival.

    Attributes:
        queue_limit: most tasks that may wait.
        accepting: false once the worker is leaving.
        attempts: runs so far.
    """

    queue_limit: int
    accepting: bool = True
    held: tuple[Held, ...] = ()
    attempts: int = 0

    def count(self, phase: Phase) -> int:
        """Number of held tasks in `phase`."""
        return sum(1 for held in self.held if held.phase is phase)

    def running(self, attempt: int) -> Held | None:
        """The task that runs as `attempt`, if it still does."""
        return next((held for held in self.held if _runs(held, attempt)), None)

    def holding(self, task_id: str) -> Held | None:
        """The task with this id, if held."""
        return next((held for held in self.held if held.ticket.task_id == task_id), None)


def offer(ledger: Ledger, assignment: Assignment) -> tuple[Ledger, Decision]:
    """Decide on an arriving assignment."""
    old = ledger.holding(assignment.ticket.task_id)
    if old is not None and old.ticket.generation >= assignment.ticket.generation:
        return ledger, Decision.IGNORE
    new = Held(assignment.ticket, Phase.QUEUED, assignment)
    if old is None:
        return _enqueue(ledger, new)
    if old.phase is Phase.QUEUED:
        return _swap(ledger, old, new), Decision.QUEUE
    if old.phase is Phase.REPORTING:
        # The report waits for its answer by itself and will be refused as out of date.
        return _enqueue(_without(ledger, old), new)
    if old.assignment is not None and old.assignment.same_work(assignment):
        adopted = replace(old, ticket=assignment.ticket, assignment=assignment)
        return _swap(ledger, old, adopted), Decision.ADOPT
    return replace(_without(ledger, old), held=(*_without(ledger, old).held, new)), Decision.RESTART


def take(ledger: Ledger) -> tuple[Ledger, Held | None]:
    """Start the task that has waited longest; None where none waits."""
    for waiting in ledger.held:
        if waiting.phase is Phase.QUEUED:
            attempt = ledger.attempts + 1
            started = replace(waiting, phase=Phase.RUNNING, attempt=attempt)
            return replace(_swap(ledger, waiting, started), attempts=attempt), started
    return ledger, None


def settle(ledger: Ledger, attempt: int) -> tuple[Ledger, Ticket | None]:
    """The run `attempt` has a result: under which ticket to report it; None if nobody wants it."""
    run = ledger.running(attempt)
    if run is None:
        return ledger, None
    return _swap(ledger, run, replace(run, phase=Phase.REPORTING)), run.ticket


def restore(ledger: Ledger, ticket: Ticket) -> Ledger:
    """A result of an earlier life of this worker is still to be reported."""
    return replace(ledger, held=(*ledger.held, Held(ticket, Phase.REPORTING)))


def forget(ledger: Ledger, ticket: Ticket) -> Ledger:
    """The assignment is answered for, or given up; a later one of the same task stays."""
    return replace(ledger, held=tuple(held for held in ledger.held if held.ticket != ticket))


def clear(ledger: Ledger) -> tuple[Ledger, tuple[Ticket, ...]]:
    """Give up what waits; the tickets are to be released."""
    return _release(ledger, Phase.QUEUED)


def close(ledger: Ledger) -> tuple[Ledger, tuple[Ticket, ...]]:
    """Take nothing more, and give up what waits; the tickets are to be released."""
    return clear(replace(ledger, accepting=False))


def abandon(ledger: Ledger) -> tuple[Ledger, tuple[Ticket, ...]]:
    """Give up what runs; the tickets are to be released."""
    return _release(ledger, Phase.RUNNING)


def _release(ledger: Ledger, phase: Phase) -> tuple[Ledger, tuple[Ticket, ...]]:
    released = tuple(held.ticket for held in ledger.held if held.phase is phase)
    kept = tuple(held for held in ledger.held if held.phase is not phase)
    return replace(ledger, held=kept), released


def _enqueue(ledger: Ledger, new: Held) -> tuple[Ledger, Decision]:
    if not ledger.accepting or ledger.count(Phase.QUEUED) >= ledger.queue_limit:
        return ledger, Decision.REFUSE
    return replace(ledger, held=(*ledger.held, new)), Decision.QUEUE


def _swap(ledger: Ledger, old: Held, new: Held) -> Ledger:
    return replace(ledger, held=tuple(new if held is old else held for held in ledger.held))


def _without(ledger: Ledger, old: Held) -> Ledger:
    return replace(ledger, held=tuple(held for held in ledger.held if held is not old))


def _runs(held: Held, attempt: int) -> bool:
    return held.phase is Phase.RUNNING and held.attempt == attempt
