"""Passes on what a task says while it runs, a few times a second at most."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable

from muster_worker.backoff import delay
from muster_worker.coordinator import Coordinator, CoordinatorError, Unavailable
from muster_worker.executor.messages import Event, Logged, Progressed, Saved
from muster_worker.notes import Line, Notes
from muster_worker.tasks import Ticket

log = logging.getLogger(__name__)

_PACE_SECONDS = 0.25
_LINES_AT_ONCE = 500
_LAST_SECONDS = 5.0
"""How long the end of a task waits for what it has said to be told."""


class Relay:
    """Of one run.

    Args:
        current: the ticket of the run, None once it has none any more.
        begun: set once the coordinator knows that the task began, as it must before all else.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        ticket: Ticket,
        current: Callable[[], Ticket | None],
        begun: asyncio.Event,
    ) -> None:
        self._coordinator = coordinator
        self._ticket = ticket
        self._current = current
        self._begun = begun
        self._progress: tuple[float, str] | None = None
        self._lines: deque[Line] = deque()
        self._checkpoint: bytes | None = None
        self._ending = False
        self._news = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    def heard(self, event: Event) -> None:
        """The task says something."""
        match event:
            case Progressed(percent=percent, message=message):
                self._progress = (percent, message)
            case Logged(at_ms=at_ms, level=level, message=message):
                self._lines.append(Line(at_ms, level, message))
            case Saved(blob=blob):
                self._checkpoint = blob
        self._news.set()
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    async def finish(self) -> None:
        """The task has ended: tell the rest, as far as that can be done within seconds."""
        self._ending = True
        self._news.set()
        if self._telling is None:
            return
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._telling
        except TimeoutError:
            log.warning("not all was told", extra={"task_id": self._ticket.task_id})

    def drop(self) -> None:
        """Nobody wants to hear more."""
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self) -> None:
        await self._begun.wait()
        failures = 0
        while True:
            self._ticket = self._current() or self._ticket
            notes = self._notes()
            if notes:
                failures = 0 if await self._told(notes) else failures + 1
                await self._pause(failures)
            elif self._ending:
                return
            else:
                self._news.clear()
                await self._news.wait()

    async def _told(self, notes: Notes) -> bool:
        """Tell; False where that has to be done again."""
        try:
            await self._coordinator.tell(self._ticket, notes)
        except Unavailable:
            self._keep(notes)
            return False
        except CoordinatorError as refusal:
            # Whether the task goes on at all shows elsewhere.
            about = {"task_id": self._ticket.task_id, "error": str(refusal)}
            log.info("notes refused", extra=about)
        return True

    async def _pause(self, failures: int) -> None:
        if failures and not self._ending:
            await asyncio.sleep(delay(failures, random.random()))  # noqa: S311 - jitter
        elif failures or not self._ending:
            await asyncio.sleep(_PACE_SECONDS)

    def _notes(self) -> Notes:
        count = min(_LINES_AT_ONCE, len(self._lines))
        lines = tuple(self._lines.popleft() for _ in range(count))
        notes = Notes(self._progress, lines, self._checkpoint)
        self._progress, self._checkpoint = None, None
        return notes

    def _keep(self, notes: Notes) -> None:
        """They could not be told; what was said since then is newer."""
        self._progress = self._progress or notes.progress
        self._lines.extendleft(reversed(notes.lines))
        if self._checkpoint is None:
            self._checkpoint = notes.checkpoint
