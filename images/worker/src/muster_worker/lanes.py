"""Lanes: each takes one task at a time off the board, runs it, and hands on the outcome."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from muster_runtime.tracing import Step, Tracer
from muster_sdk import Wish
from muster_worker.backoff import delay
from muster_worker.board import Board
from muster_worker.coordinator import Coordinator, CoordinatorError, Unavailable
from muster_worker.executor.messages import Event, Executed, Stopped
from muster_worker.executor.supervisor import Executor, LoadFailed
from muster_worker.ledger import Held
from muster_worker.metrics import Metrics
from muster_worker.relay import Relay
from muster_worker.reporter import Reporter
from muster_worker.reports import Completion, Failure, Halted, Report
from muster_worker.tasks import Assignment, TaskFailed, Ticket
from muster_worker.workloads import Key

log = logging.getLogger(__name__)

_PARDON_SECONDS = 0.5
"""A run that nobody wants may still end by itself: less than what a new process takes."""

Outcome = Executed | Stopped | TaskFailed


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a lane waits for a task, in seconds.

    Attributes:
        limit: for its end, where its assignment says nothing.
        pause: for its stop, where it is to pause; then it is killed.
    """

    limit: float
    pause: float


@dataclass(frozen=True, slots=True)
class Instruments:
    """What a lane is observed with."""

    metrics: Metrics
    tracer: Tracer


class Lane:
    """One executor and what it is working on."""

    def __init__(
        self,
        executor: Executor,
        board: Board,
        coordinator: Coordinator,
        reporter: Reporter,
        instruments: Instruments,
        patience: Patience,
    ) -> None:
        self._executor = executor
        self._board = board
        self._coordinator = coordinator
        self._reporter = reporter
        self._metrics = instruments.metrics
        self._tracer = instruments.tracer
        self._patience = patience
        self._keys: Sequence[Key] = ()
        self._usable = asyncio.Event()
        self._busy = asyncio.Lock()
        self._attempt = 0
        self._pausing: asyncio.Task[None] | None = None
        self._killed = False

    @property
    def usable(self) -> bool:
        """Whether tasks can be executed, at once or as soon as a dead process is replaced."""
        return self._usable.is_set()

    async def load(self, keys: Sequence[Key]) -> None:
        """Have these keys loaded; if they are not, a running task ends first.

        Raises:
            LoadFailed: they can't be.
        """
        if self.usable and keys == self._keys:
            return
        async with self._busy:
            await self._executor.load(keys)
            self._keys = keys
            self._usable.set()

    async def run(self, on_lost: Callable[[LoadFailed], None]) -> None:
        """Execute tasks for ever.

        Args:
            on_lost: told when no process can be had any more; after that, only a successful
                `load` makes the lane usable again.
        """
        while True:
            await self._usable.wait()
            await self._work_or_death()
            async with self._busy:
                try:
                    await self._executor.load(self._keys)
                except LoadFailed as failure:
                    self._usable.clear()
                    on_lost(failure)
                    continue
                held = self._board.take()
                if held is not None and held.assignment is not None:
                    await self._execute(held, held.assignment)

    async def close(self) -> None:
        """End the process."""
        await self._executor.kill()

    async def _work_or_death(self) -> None:
        waits = {
            asyncio.create_task(self._board.work()),
            asyncio.create_task(self._executor.died()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def pause(self, attempt: int) -> None:
        """Have the run `attempt` stop with a checkpoint; without one, if it takes too long."""
        if self._attempt == attempt and self._pausing is None:
            self._executor.stop(Wish.PAUSE)
            self._pausing = asyncio.create_task(self._insist())

    async def _insist(self) -> None:
        await asyncio.sleep(self._patience.pause)
        log.warning("task did not pause by itself; its process is killed")
        self._killed = True
        await self._executor.kill()

    async def _execute(self, held: Held, assignment: Assignment) -> None:
        self._attempt = held.attempt
        begun = asyncio.Event()
        minder = asyncio.create_task(self._mind(held.attempt, begun))
        relay = Relay(
            self._coordinator, held.ticket, lambda: self._board.current(held.attempt), begun
        )
        try:
            outcome, traceparent = await self._outcome(held.ticket, assignment, relay.heard)
        except asyncio.CancelledError:
            minder.cancel()
            relay.drop()
            raise
        finally:
            self._attempt = 0
            killed = self._calm()
        if killed and isinstance(outcome, TaskFailed):
            outcome = Stopped(Wish.PAUSE)
        ticket = self._board.settle(held.attempt)
        if ticket is None:
            log.info("result not wanted any more", extra={"task_id": held.ticket.task_id})
            minder.cancel()
            relay.drop()
            return
        report = self._report(ticket, assignment, outcome)
        report = report.model_copy(update={"traceparent": traceparent})
        self._reporter.submit(report, _all_told(minder, relay))

    def _calm(self) -> bool:
        """The run has ended, so it need not be paused; whether it was killed for that."""
        if self._pausing is not None:
            self._pausing.cancel()
            self._pausing = None
        killed, self._killed = self._killed, False
        return killed

    async def _outcome(
        self, ticket: Ticket, assignment: Assignment, hear: Callable[[Event], None]
    ) -> tuple[Outcome, str]:
        """Run a task: what that gives, and the traceparent of its span."""
        step = Step(assignment.task_type.partition(".")[0], assignment.traceparent, "consumer")
        with self._tracer.span(
            step,
            type=assignment.task_type,
            task_id=ticket.task_id,
            generation=ticket.generation,
        ) as span:
            limit = assignment.time_limit or self._patience.limit
            try:
                return await self._executor.execute(assignment, limit, hear), span.traceparent
            except TaskFailed as failure:
                span.failed(failure.reason.value)
                return failure, span.traceparent

    def _report(self, ticket: Ticket, assignment: Assignment, outcome: Outcome) -> Report:
        match outcome:
            case TaskFailed():
                self._metrics.failed(outcome.reason)
                return Failure(
                    task_id=ticket.task_id,
                    generation=ticket.generation,
                    reason=outcome.reason,
                    message=outcome.message,
                    permanent=outcome.permanent,
                )
            case Stopped():
                return Halted(
                    task_id=ticket.task_id,
                    generation=ticket.generation,
                    checkpoint=outcome.blob if outcome.kept else None,
                )
            case Executed():
                self._metrics.executed(assignment.task_type, outcome.seconds)
                return Completion(
                    task_id=ticket.task_id,
                    generation=ticket.generation,
                    output=outcome.blob,
                    metadata_json=outcome.metadata_json,
                    merkle_root=outcome.merkle_root,
                    duration_ms=round(outcome.seconds * 1000),
                    proof=outcome.proof,
                )

    async def _mind(self, attempt: int, begun: asyncio.Event) -> Ticket | None:
        """Beside a run: tell the coordinator that it began, and stop it once nobody wants it.

        Returns:
            The ticket under which the coordinator knows that the task began.
        """
        told: Ticket | None = None
        failures = 0
        while (ticket := self._board.current(attempt)) is not None:
            if ticket == told:
                await self._board.changed()
                continue
            try:
                await self._coordinator.start(ticket)
                told = ticket
                begun.set()
            except Unavailable:
                failures += 1
                await self._change_within(delay(failures, random.random()))  # noqa: S311 - jitter
            except CoordinatorError as refusal:
                about = {"task_id": ticket.task_id, "generation": ticket.generation}
                log.warning("task given up", extra={**about, "error": str(refusal)})
                self._board.forget(ticket)
        if self._attempt == attempt:
            self._executor.stop(Wish.CANCEL)
            await asyncio.sleep(_PARDON_SECONDS)
        if self._attempt == attempt:
            await self._executor.kill()
        return told

    async def _change_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._board.changed()


async def _all_told(minder: asyncio.Task[Ticket | None], relay: Relay) -> Ticket | None:
    """What the minder gives, once what the run has said is told, too."""
    told = await minder
    if told is None:
        relay.drop()
    else:
        await relay.finish()
    return told


class Pool:
    """All lanes of a worker."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes

    @property
    def loaded(self) -> bool:
        """Whether every lane can execute tasks."""
        return all(lane.usable for lane in self._lanes)

    async def load(self, keys: Sequence[Key]) -> None:
        """Have these keys loaded in every lane.

        Raises:
            LoadFailed: a lane can't.
        """
        outcomes = await asyncio.gather(
            *(lane.load(keys) for lane in self._lanes), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    def pause(self, attempt: int) -> None:
        """See `Lane.pause`."""
        for lane in self._lanes:
            lane.pause(attempt)

    async def run(self, on_lost: Callable[[LoadFailed], None]) -> None:
        """Execute tasks for ever; see `Lane.run`."""
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes:
                lanes.create_task(lane.run(on_lost))

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(lane.close() for lane in self._lanes))
