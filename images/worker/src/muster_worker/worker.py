"""The worker as a whole: its parts put together, its life from start to end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from muster_runtime.ops import Health, OpsServer
from muster_runtime.tracing import Off, Tracer
from muster_worker import __version__
from muster_worker.board import Board
from muster_worker.config import WorkerConfig
from muster_worker.connection import Connection
from muster_worker.coordinator import Coordinator, CoordinatorError, Fenced
from muster_worker.executor.process import Settings
from muster_worker.executor.supervisor import Executor
from muster_worker.keys import KeyStore
from muster_worker.lanes import Instruments, Lane, Patience, Pool
from muster_worker.ledger import Decision, Phase
from muster_worker.metrics import Metrics
from muster_worker.reporter import Reporter
from muster_worker.shutdown import Step, hurry, next_deadline, next_step, plan
from muster_worker.spool import Spool
from muster_worker.tasks import Assignment, Cancel, Command, Drain, Pause, Ticket
from muster_worker.workloads import PROOFS

log = logging.getLogger(__name__)

QUEUE_FACTOR = 2
"""Tasks that may wait for each one that runs."""


class Worker:
    """One worker.

    Args:
        config: validated.
        coordinator: makes the way to the coordinator, given the metrics to count its calls in.
        tracer: where spans go; nowhere by default.
    """

    def __init__(
        self,
        config: WorkerConfig,
        coordinator: Callable[[Metrics], Coordinator],
        tracer: Tracer | None = None,
    ) -> None:
        settings = config.worker
        self._settings = settings
        self._metrics = Metrics(settings.id, settings.concurrency)
        self._coordinator = coordinator(self._metrics)
        self._board = Board(QUEUE_FACTOR * settings.concurrency)
        self._reporter = Reporter(
            self._coordinator, Spool(settings.spool_dir, settings.id), self._board, self._metrics
        )
        instruments = Instruments(self._metrics, tracer or Off())
        executors = _executors(config)
        patience = Patience(
            settings.task_timeout.total_seconds(), settings.pause_timeout.total_seconds()
        )
        self._pool = Pool(
            [
                Lane(
                    Executor(executors, self._metrics.executor_replaced),
                    self._board,
                    self._coordinator,
                    self._reporter,
                    instruments,
                    patience,
                )
                for _ in range(settings.concurrency)
            ]
        )
        keys = KeyStore(settings.cache_dir, self._coordinator, config.keys)
        self._connection = Connection(
            settings, self._coordinator, keys, self._pool, self._metrics, self
        )
        self._releases: set[asyncio.Task[None]] = set()
        self._draining = False
        self._metrics.seed_types(settings.served())
        self._metrics.watch_tasks(
            active=lambda: self._board.running,
            queued=lambda: self._board.queued,
            reports=lambda: self._board.reporting,
        )

    async def run(self, stop: asyncio.Event, now: asyncio.Event) -> None:
        """Work until `stop` is set, then leave in order; `now` cuts that short.

        Raises:
            OSError: the port of the operations endpoints is taken, or the spool can't be read.
        """
        ops = OpsServer(
            service="muster-worker",
            version=__version__,
            port=self._settings.ops_port,
            registry=self._metrics.registry,
            health=self._health,
            ready=self._ready,
        )
        try:
            async with ops:
                log.info("worker starts", extra={**self._state(), "ops_port": ops.bound_port})
                self._reporter.restore()
                await self._work(stop, now)
        finally:
            await self._reporter.close()
            await self._pool.close()
            await self._coordinator.close()
        log.info("worker left", extra=self._state())

    def commanded(self, command: Command) -> None:
        """The coordinator said something about a task, or about this worker."""
        match command:
            case Assignment():
                self._assigned(command)
            case Cancel(ticket=ticket):
                log.info("task cancelled", extra=_about(ticket))
                self._board.forget(ticket)
            case Pause(ticket=ticket):
                self._pause(ticket)
            case Drain():
                log.info("drained by the coordinator")
                self._draining = True
                self._release(self._board.clear(), "this worker is drained")

    def holding(self) -> list[Ticket]:
        """What runs here, or waits to be reported."""
        return [held.ticket for held in self._board.held if held.phase is not Phase.QUEUED]

    def _assigned(self, assignment: Assignment) -> None:
        ticket = assignment.ticket
        decision = self._board.offer(assignment)
        log.info(
            "task assigned",
            extra={
                **_about(ticket),
                "task_type": assignment.task_type,
                "decision": decision.name.lower(),
            },
        )
        if decision is Decision.REFUSE:
            self._release([ticket], "the queue of this worker is full")

    def _pause(self, ticket: Ticket) -> None:
        for held in self._board.held:
            if held.ticket != ticket:
                continue
            log.info("task to be paused", extra={**_about(ticket), "phase": held.phase.name})
            if held.phase is Phase.RUNNING:
                self._pool.pause(held.attempt)
            elif held.phase is Phase.QUEUED:
                self._board.forget(ticket)
                self._release([ticket], "paused before it began")

    async def reachable(self) -> None:
        """Report what waits before registering; a new process is taken to hold nothing any more."""
        self._draining = False
        await self._reporter.flush()

    def stream_ended(self) -> None:
        """Hand back what waits: another stream brings what is still meant for this worker."""
        self._release(self._board.clear(), "the stream of assignments ended")

    async def _work(self, stop: asyncio.Event, now: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            lanes = group.create_task(self._pool.run(self._connection.executors_lost))
            heartbeats = group.create_task(self._connection.heartbeats(self._unfinished))
            connection = group.create_task(self._connection.run())
            await stop.wait()
            connection.cancel()
            await asyncio.wait({connection})
            await self._leave(now)
            lanes.cancel()
            heartbeats.cancel()

    async def _leave(self, now: asyncio.Event) -> None:
        """Finish what can be finished, hand back the rest, and say goodbye."""
        log.info("worker leaves", extra=self._state())
        clock = asyncio.get_running_loop().time
        deadlines = plan(clock(), self._settings.shutdown_timeout.total_seconds())
        self._release(self._board.close(), "the worker shuts down")
        while True:
            if now.is_set():
                deadlines = hurry(deadlines, clock())
            running = self._board.running
            match next_step(deadlines, clock(), running, self._board.reporting):
                case Step.WAIT:
                    await self._change_until(next_deadline(deadlines, running), now)
                case Step.RELEASE:
                    self._release(self._board.abandon(), "the worker shuts down unfinished")
                case Step.LEAVE:
                    break
        await asyncio.gather(*self._releases)
        if self._board.reporting:
            log.warning("reports stay in the spool", extra={"reports": self._board.reporting})
        if self._connection.registered:
            try:
                await self._coordinator.deregister()
            except CoordinatorError as error:
                log.warning("not deregistered", extra={"error": str(error)})

    async def _change_until(self, deadline: float, now: asyncio.Event) -> None:
        """Wait for a change on the board, for `now` if that is not set yet, or the deadline."""
        signs: list[Coroutine[Any, Any, object]] = [self._board.changed()]
        if not now.is_set():
            signs.append(now.wait())
        waits = {asyncio.create_task(sign) for sign in signs}
        remaining = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.wait(waits, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _release(self, tickets: Iterable[Ticket], reason: str) -> None:
        for ticket in tickets:
            release = asyncio.create_task(self._hand_back(ticket, reason))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)

    async def _hand_back(self, ticket: Ticket, reason: str) -> None:
        about = {**_about(ticket), "reason": reason}
        try:
            await self._coordinator.release(ticket, reason)
        except Fenced:
            log.info("task was taken back already", extra=about)
        except CoordinatorError as error:
            # It is not lost: a worker that is gone or silent has its tasks taken away.
            log.warning("task not released", extra={**about, "error": str(error)})
        else:
            log.info("task released", extra=about)

    def _unfinished(self) -> int:
        return self._board.running + self._board.queued

    def _state(self) -> dict[str, object]:
        return {
            "worker_id": self._settings.id,
            "version": __version__,
            "pool_concurrency": self._settings.concurrency,
            "active_tasks": self._board.running,
            "queued_tasks": self._board.queued,
            "pending_reports": self._board.reporting,
            "connected": self._connection.serving,
            "draining": self._draining,
        }

    async def _health(self) -> Health:
        return Health(ok=True, body={"status": "healthy", **self._state()})

    async def _ready(self) -> Health:
        ready = self._connection.serving and self._pool.loaded
        return Health(
            ok=ready,
            body={
                "ready": ready,
                "connected": self._connection.serving,
                "registered": self._connection.registered,
                "keys_loaded": self._pool.loaded,
                "problem": self._connection.problem,
            },
        )


def _executors(config: WorkerConfig) -> Settings:
    worker = config.worker
    types = worker.served()
    curves = {name: {"curve": config.zkp.curve} for name in types if name.startswith(PROOFS)}
    return Settings(
        types,
        {**curves, **config.options},
        worker.task_memory_limit,
        worker.checkpoint_interval.total_seconds(),
    )


def _about(ticket: Ticket) -> dict[str, object]:
    return {"task_id": ticket.task_id, "generation": ticket.generation}
