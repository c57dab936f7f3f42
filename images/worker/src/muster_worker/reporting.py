"""Reports where each is one thing to say, whatever carries it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from muster_worker.notes import Notes
from muster_worker.reports import Completion, Failure, Halted
from muster_worker.tasks import Ticket

Said = TypeVar("Said")
Said_co = TypeVar("Said_co", covariant=True)


class Words(Protocol[Said_co]):
    """A contract's word for each report."""

    def started(self, ticket: Ticket) -> Said_co:
        """The task began."""
        ...

    def notes(self, ticket: Ticket, told: Notes) -> Sequence[Said_co]:
        """How the task goes."""
        ...

    def completion(self, report: Completion) -> Said_co:
        """The task has a result."""
        ...

    def failure(self, report: Failure) -> Said_co:
        """The task failed."""
        ...

    def halted(self, report: Halted) -> Said_co:
        """The task stopped as it was asked to."""
        ...

    def released(self, ticket: Ticket, reason: str) -> Said_co:
        """The task is handed back."""
        ...


class Reporting(ABC, Generic[Said]):
    """The part of a `Coordinator` that reports."""

    def __init__(self, words: Words[Said]) -> None:
        self._words = words

    @abstractmethod
    async def _report(self, *reports: Said) -> None:
        """Report, and wait until all is taken in.

        Raises:
            CoordinatorError: it is not, or is refused.
        """

    async def start(self, ticket: Ticket) -> None:
        """See `Coordinator`."""
        await self._report(self._words.started(ticket))

    async def tell(self, ticket: Ticket, notes: Notes) -> None:
        """See `Coordinator`."""
        await self._report(*self._words.notes(ticket, notes))

    async def complete(self, report: Completion) -> None:
        """See `Coordinator`."""
        await self._report(self._words.completion(report))

    async def fail(self, report: Failure) -> None:
        """See `Coordinator`."""
        await self._report(self._words.failure(report))

    async def halted(self, report: Halted) -> None:
        """See `Coordinator`."""
        await self._report(self._words.halted(report))

    async def release(self, ticket: Ticket, reason: str) -> None:
        """See `Coordinator`."""
        await self._report(self._words.released(ticket, reason))
