"""Delivers reports, however long the coordinator is away."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable

from muster_worker.backoff import delay
from muster_worker.board import Board
from muster_worker.coordinator import Coordinator, Fenced, NotKnown, Refused, Unavailable
from muster_worker.metrics import Metrics
from muster_worker.reports import Completion, Failure, Halted, Report
from muster_worker.spool import Spool
from muster_worker.tasks import Reason, Ticket

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 5.0


class Reporter:
    """Hands each report to the coordinator until it is answered, one way or the other.

    A report that does not arrive at the first try is put on the disk before the second. Until
    then the coordinator still counts on this worker, and gives the task to another if it dies.
    """

    def __init__(
        self, coordinator: Coordinator, spool: Spool, board: Board, metrics: Metrics
    ) -> None:
        self._coordinator = coordinator
        self._spool = spool
        self._board = board
        self._metrics = metrics
        self._deliveries: set[asyncio.Task[None]] = set()
        self._hint = asyncio.Event()

    def restore(self) -> None:
        """Go on with the reports of an earlier life of this worker.

        Raises:
            OSError: the spool can't be read.
        """
        for report in self._spool.reports():
            self._board.restore(report.ticket)
            self._watch(asyncio.create_task(self._deliver(report, spooled=True)))

    def submit(self, report: Report, told: Awaitable[Ticket | None]) -> None:
        """Deliver the report of a task that has been settled on the board.

        Args:
            report: what to tell.
            told: gives, soon, the ticket under which the coordinator knows that the task began; all
                else that the run said is told by then, too.
        """
        self._watch(asyncio.create_task(self._follow_up(report, told)))

    async def flush(self) -> None:
        """The coordinator is back: try at once whatever waits, and allow it a few seconds."""
        self._hint.set()
        self._hint = asyncio.Event()
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=_FLUSH_SECONDS)

    async def close(self) -> None:
        """Stop trying; what is undelivered stays in the spool."""
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    def _watch(self, delivery: asyncio.Task[None]) -> None:
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._delivered)

    def _delivered(self, delivery: asyncio.Task[None]) -> None:
        self._deliveries.discard(delivery)
        if not delivery.cancelled() and (defect := delivery.exception()) is not None:
            log.error("delivery of a report broke", exc_info=defect)

    async def _follow_up(self, report: Report, told: Awaitable[Ticket | None]) -> None:
        started = await told == report.ticket
        await self._deliver(report.model_copy(update={"started": started}), spooled=False)

    async def _deliver(self, report: Report, *, spooled: bool) -> None:
        failures = 0
        while (undelivered := await self._attempt(report)) is not None:
            if not spooled:
                spooled = await self._store(report)
            if failures == 0:
                log.warning("report waits", extra={**_about(report), "error": undelivered})
            failures += 1
            await self._pause(delay(failures, random.random()))  # noqa: S311 - jitter
        if spooled:
            await asyncio.to_thread(self._spool.remove, report.ticket)
        self._board.forget(report.ticket)

    async def _attempt(self, report: Report) -> str | None:
        """Try once; the error, if another try makes sense."""
        try:
            await self._send(report)
        except Unavailable as error:
            return str(error)
        except Fenced as error:
            self._drop(report, "fenced", error)
        except NotKnown as error:
            self._drop(report, "unknown", error)
        except Refused as error:
            self._metrics.failed(Reason.REJECTED)
            log.error("report refused", extra={**_about(report), "error": str(error)})  # noqa: TRY400
        else:
            if isinstance(report, Completion):
                self._metrics.completed()
            log.info("task reported", extra=_about(report))
        return None

    async def _send(self, report: Report) -> None:
        if not report.started:
            # A start whose answer was lost is refused the second time; the report decides.
            with contextlib.suppress(Fenced):
                await self._coordinator.start(report.ticket)
        match report:
            case Completion():
                await self._coordinator.complete(report)
            case Failure():
                await self._coordinator.fail(report)
            case Halted():
                await self._coordinator.halted(report)

    def _drop(self, report: Report, reason: str, error: Exception) -> None:
        self._metrics.dropped(reason)
        log.warning("report dropped", extra={**_about(report), "error": str(error)})

    async def _store(self, report: Report) -> bool:
        if isinstance(report, Halted):
            return False
        try:
            await asyncio.to_thread(self._spool.store, report)
        except OSError:
            log.exception("report can't be spooled", extra=_about(report))
            return False
        return True

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hint.wait()
        except TimeoutError:
            return


def _about(report: Report) -> dict[str, object]:
    about: dict[str, object] = {"task_id": report.task_id, "generation": report.generation}
    match report:
        case Failure():
            return {**about, "outcome": "failed", "reason": report.reason.value}
        case Halted():
            return {**about, "outcome": "paused"}
        case Completion():
            return {**about, "outcome": "completed", "duration_ms": report.duration_ms}
