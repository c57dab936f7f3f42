"""`Session`: one stream for all that a worker and the engine say to each other."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from muster_coordinator.engine.errors import EngineError, InvalidRequest
from muster_coordinator.engine.model import Assignment, Cancel, Claim, Command, Drain, Pause
from muster_coordinator.grpc_face import messages, reported
from muster_coordinator.grpc_face.callee import Engine, Terms
from muster_coordinator.grpc_face.outbox import Outbox
from muster_protos import coordinator_pb2 as pb
from muster_runtime.tracing import Tracer

log = logging.getLogger(__name__)

_MOST_UNANSWERED = 1000
"""Reports of one stream; whoever sends more is not listened to until some are answered."""

_LAST_ANSWERS_SECONDS = 2.0
"""How long a stream that ends waits for the answers to what was reported on it."""


class Session:
    """One stream.

    Args:
        tracer: where spans go.
    """

    def __init__(self, engine: Engine, terms: Terms, tracer: Tracer) -> None:
        self._engine = engine
        self._terms = terms
        self._tracer = tracer
        self._worker_id = ""
        self._outbox = Outbox()
        self._waiting: set[asyncio.Future[object]] = set()
        self._fewer = asyncio.Event()
        self._delivering: asyncio.Task[None] | None = None

    async def frames(
        self, heard: AsyncIterator[pb.WorkerFrame]
    ) -> AsyncIterator[pb.CoordinatorFrame]:
        """What is said: in answer to what is `heard`, and of the engine's own accord.

        Raises:
            EngineError: what the worker says can't be right, or can't be taken in now.
        """
        listening = asyncio.create_task(self._listen(heard))
        try:
            async for frame in self._outbox.frames():
                yield frame
        finally:
            await _end(listening)
            await self._stop_delivering()

    async def _listen(self, heard: AsyncIterator[pb.WorkerFrame]) -> None:
        try:
            async for frame in heard:
                await self._take(frame)
        except Exception as error:  # noqa: BLE001 - raised where the frames are taken
            self._outbox.end(error)
        else:
            await self._finish()

    async def _take(self, frame: pb.WorkerFrame) -> None:
        self._named(frame.worker_id)
        for report in frame.reports:
            self._report(report)
        if frame.HasField("hello"):
            await self._hello(frame)
        if frame.HasField("heartbeat"):
            active = messages.active(frame.heartbeat.active_tasks)
            self._await(self._engine.registry.beat(self._worker_id, active), self._beaten)
        if frame.leaving:
            await self._stop_delivering()
        while len(self._waiting) >= _MOST_UNANSWERED:
            self._fewer.clear()
            await self._fewer.wait()

    def _named(self, name: str) -> None:
        if not self._worker_id:
            self._worker_id = messages.worker_id(name)
        elif name not in {"", self._worker_id}:
            raise InvalidRequest(
                f"worker_id is {name[:64]!r}; allowed: {self._worker_id!r}, whose stream this is"
            )

    async def _hello(self, frame: pb.WorkerFrame) -> None:
        self._named(frame.hello.worker_id)
        frame.hello.worker_id = self._worker_id
        holding = [messages.claim_of(one, self._worker_id) for one in frame.holding]
        pool = self._engine.offers.pool(frame.hello.pool)
        await self._engine.registry.register(messages.registration(frame.hello, pool.name))
        if self._delivering is None:
            self._delivering = asyncio.create_task(self._deliver(pool.name, holding))
        else:
            self._welcome(pool.name)

    def _welcome(self, pool: str) -> None:
        self._outbox.welcome(
            pb.Welcome(
                heartbeat_interval_ms=self._terms.heartbeat_ms,
                message=f"registered in pool {pool}",
            )
        )

    async def _deliver(self, pool: str, holding: Sequence[Claim]) -> None:
        """Say what the engine has to say, until it ends that; then there is nothing more to say."""
        try:
            async with self._engine.delivery.open(self._worker_id, holding) as stream:
                self._welcome(pool)
                async for command in stream.commands():
                    self._command(command)
        except EngineError as error:
            self._outbox.end(error)
        except Exception as error:
            log.exception("delivery broke", extra={"worker_id": self._worker_id})
            self._outbox.end(error)
        else:
            await self._finish()

    def _command(self, command: Command) -> None:
        match command:
            case Assignment():
                self._outbox.assign(messages.sent(command, self._terms.timeout_ms, self._tracer))
            case Cancel() | Pause():
                self._outbox.stop(messages.stop(command))
            case Drain():
                self._outbox.drain()

    async def _stop_delivering(self) -> None:
        if self._delivering is not None:
            delivering, self._delivering = self._delivering, None
            await _end(delivering)

    async def _finish(self) -> None:
        """Answer what was reported, as far as that takes no time, and end."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=_LAST_ANSWERS_SECONDS)
        self._outbox.end()

    def _report(self, report: pb.Report) -> None:
        try:
            taking = reported.take(report, self._worker_id, self._engine.reports, self._tracer)
        except EngineError as error:
            self._outbox.refused(reported.refusal(report.sequence, error))
        else:
            self._await(taking, partial(self._reported, report.sequence))

    def _reported(self, sequence: int, answer: "asyncio.Future[object]") -> None:
        refusal = reported.answer(sequence, answer)
        if refusal is None:
            self._outbox.accepted(sequence)
        else:
            self._outbox.refused(refusal)

    def _beaten(self, answer: "asyncio.Future[object]") -> None:
        # One that can't be noted now is not answered, like one that did not arrive.
        if answer.exception() is None:
            self._outbox.heartbeat(known=bool(answer.result()))

    def _await(
        self, call: Awaitable[object], answered: Callable[["asyncio.Future[object]"], None]
    ) -> None:
        future = asyncio.ensure_future(call)
        self._waiting.add(future)
        future.add_done_callback(partial(self._answered, answered))

    def _answered(
        self,
        answered: Callable[["asyncio.Future[object]"], None],
        future: "asyncio.Future[object]",
    ) -> None:
        self._waiting.discard(future)
        self._fewer.set()
        if not future.cancelled():
            answered(future)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel and wait; what went wrong in it is told elsewhere."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
