"""The tasks in this worker's hands: the ledger, and who waits for it to change."""

import asyncio
from typing import TypeVar

from muster_worker import ledger as pure
from muster_worker.ledger import Decision, Held, Ledger, Phase
from muster_worker.tasks import Assignment, Ticket

T = TypeVar("T")


class Board:
    """Holds the ledger of one worker."""

    def __init__(self, queue_limit: int) -> None:
        self._ledger = Ledger(queue_limit)
        self._changed = asyncio.Event()

    @property
    def running(self) -> int:
        """Tasks that are being executed."""
        return self._ledger.count(Phase.RUNNING)

    @property
    def queued(self) -> int:
        """Tasks that wait for a free process."""
        return self._ledger.count(Phase.QUEUED)

    @property
    def reporting(self) -> int:
        """Tasks whose result the coordinator has not answered."""
        return self._ledger.count(Phase.REPORTING)

    @property
    def held(self) -> tuple[Held, ...]:
        """All tasks that this worker holds."""
        return self._ledger.held

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    async def work(self) -> None:
        """Wait until a task is queued."""
        while not self.queued:
            await self._changed.wait()

    def offer(self, assignment: Assignment) -> Decision:
        """See `ledger.offer`."""
        return self._apply(pure.offer(self._ledger, assignment))

    def take(self) -> Held | None:
        """See `ledger.take`."""
        return self._apply(pure.take(self._ledger))

    def current(self, attempt: int) -> Ticket | None:
        """The ticket of the run `attempt`; None if it is not wanted any more."""
        run = self._ledger.running(attempt)
        return None if run is None else run.ticket

    def settle(self, attempt: int) -> Ticket | None:
        """See `ledger.settle`."""
        return self._apply(pure.settle(self._ledger, attempt))

    def restore(self, ticket: Ticket) -> None:
        """See `ledger.restore`."""
        self._apply((pure.restore(self._ledger, ticket), None))

    def forget(self, ticket: Ticket) -> None:
        """See `ledger.forget`."""
        self._apply((pure.forget(self._ledger, ticket), None))

    def clear(self) -> tuple[Ticket, ...]:
        """See `ledger.clear`."""
        return self._apply(pure.clear(self._ledger))

    def close(self) -> tuple[Ticket, ...]:
        """See `ledger.close`."""
        return self._apply(pure.close(self._ledger))

    def abandon(self) -> tuple[Ticket, ...]:
        """See `ledger.abandon`."""
        return self._apply(pure.abandon(self._ledger))

    def _apply(self, step: tuple[Ledger, T]) -> T:
        self._ledger, outcome = step
        self._changed.set()
        self._changed = asyncio.Event()
        return outcome
