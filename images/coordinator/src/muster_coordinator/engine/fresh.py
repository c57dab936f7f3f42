"""What was given to workers here a moment ago, so that their reports need not read it again."""

from collections.abc import Iterable
from uuid import UUID

from muster_coordinator.engine.model import Claim, Moved
from muster_coordinator.engine.ports import Statement

_MOST = 5_000
_LARGEST_INPUT = 4096


class Fresh:
    """Assignments as they were stored; the newest 5,000, and none with a large input.

    Nothing is decided by them alone: what is stored on their strength moves only where state and
    generation are still the same, and otherwise is judged anew.
    """

    def __init__(self) -> None:
        self._known: dict[UUID, Statement] = {}

    def note(self, moved: Iterable[Moved]) -> None:
        """Keep what is known whole."""
        for one in moved:
            if one.held is None or one.assignment is None:
                continue
            if len(one.assignment.input) <= _LARGEST_INPUT:
                self._known[one.id] = Statement(one.held, one.assignment.input)
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def take(self, claims: Iterable[Claim]) -> dict[UUID, Statement]:
        """What is known of the assignments that are claimed, and of no others; it is forgotten."""
        taken: dict[UUID, Statement] = {}
        doubtful = set()
        for claim in claims:
            statement = taken.get(claim.workload_id) or self._known.pop(claim.workload_id, None)
            if statement is None:
                continue
            held = statement.held
            if (held.worker_id, held.generation) == (claim.worker_id, claim.generation):
                taken[claim.workload_id] = statement
            else:
                doubtful.add(claim.workload_id)
        return {one: statement for one, statement in taken.items() if one not in doubtful}

    def forget(self, claims: Iterable[Claim]) -> None:
        """These are at another state by now."""
        for claim in claims:
            self._known.pop(claim.workload_id, None)
