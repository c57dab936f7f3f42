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

    def take(self, claims: Iterable[Claim]) -> list[Statement | None]:
        """What is known of the assignments that are claimed, each of which is forgotten.

        None where something else is known, or nothing.
        """
        taken = []
        for claim in claims:
            statement = self._known.pop(claim.workload_id, None)
            if statement is not None:
                held = statement.held
                if held.generation != claim.generation or held.worker_id != claim.worker_id:
                    statement = None
            taken.append(statement)
        return taken

    def forget(self, claims: Iterable[Claim]) -> None:
        """These are at another state by now."""
        for claim in claims:
            self._known.pop(claim.workload_id, None)
