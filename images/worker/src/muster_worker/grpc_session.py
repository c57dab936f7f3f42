"""The contract of one stream for all: reports up, assignments and what becomes of them down."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from muster_protos import coordinator_pb2 as pb
from muster_worker import grpc_messages as messages
from muster_worker.coordinator import CoordinatorError, Registration, Unavailable
from muster_worker.grpc_calls import CALL_SECONDS, HEARTBEAT_SECONDS, Calls
from muster_worker.reporting import Reporting
from muster_worker.tasks import Command, Drain

T = TypeVar("T")

_FRAME_BYTES = 4 * 2**20
"""Of reports in one frame, unless a single one is larger; a message may have 10 MB."""


class Session(Reporting[pb.Report]):
    """A part of a `Coordinator`, as seen by the worker `worker_id`.

    The stream is opened by whatever has to be said first: results of an earlier process go out
    before this worker registers. It lives until it breaks, or is dropped.
    """

    def __init__(self, calls: Calls, worker_id: str) -> None:
        super().__init__(messages)
        self._calls = calls
        self._worker_id = worker_id
        self._stream: _Stream | None = None
        self._greeted: _Stream | None = None

    def drop(self) -> None:
        """End the stream; what waits for an answer on it fails as unavailable."""
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None

    async def close(self) -> None:
        """End the stream, and wait for its end."""
        stream = self._stream
        self.drop()
        if stream is not None:
            await stream.ended()

    async def register(self, registration: Registration) -> float | None:
        """See `Coordinator`."""
        hello = messages.registration(self._worker_id, registration)
        holding = [
            pb.Holding(task_id=ticket.task_id, generation=ticket.generation)
            for ticket in registration.holding
        ]
        stream = self._open()
        welcome = await _within(CALL_SECONDS, stream.hello(hello, holding))
        self._greeted = stream
        return messages.interval(welcome.heartbeat_interval_ms)

    async def heartbeat(self, active_tasks: int) -> bool:
        """See `Coordinator`."""
        return await _within(HEARTBEAT_SECONDS, self._open().beat(active_tasks))

    async def commands(self) -> AsyncIterator[Command]:
        """See `Coordinator`. Where this is left, the stream stays open for reports.

        Only the stream on which this worker has registered brings any.
        """
        stream = self._greeted
        if stream is None or stream.over:
            raise Unavailable("Session: the stream broke as soon as this worker was registered")
        try:
            async for command in stream.commands():
                yield command
        finally:
            stream.leave()

    async def _report(self, *reports: pb.Report) -> None:
        stream = self._open()
        answers = [stream.report(report) for report in reports]
        await _within(CALL_SECONDS, asyncio.gather(*answers))

    def _open(self) -> "_Stream":
        if self._stream is None or self._stream.over:
            self._stream = _Stream(self._calls, self._worker_id)
        return self._stream


class _Stream:
    """One call of `Session`: what waits to be said makes the next frame."""

    def __init__(self, calls: Calls, worker_id: str) -> None:
        self._calls = calls
        self._frame = pb.WorkerFrame(worker_id=worker_id)
        self._reports: deque[pb.Report] = deque()
        self._sequence = 0
        self._wake = asyncio.Event()
        self._wake.set()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._welcomes: deque[asyncio.Future[pb.Welcome]] = deque()
        self._beats: deque[asyncio.Future[bool]] = deque()
        self._inbox: asyncio.Queue[Command | None] = asyncio.Queue()
        self._failure: CoordinatorError | None = None
        self._cancelled = False
        self._run = asyncio.create_task(self._talk())

    @property
    def over(self) -> bool:
        """Whether nothing can be said any more."""
        return self._failure is not None or self._cancelled

    def cancel(self) -> None:
        """End it."""
        self._cancelled = True
        self._run.cancel()

    async def ended(self) -> None:
        """Wait for the end."""
        await asyncio.wait({self._run})

    def hello(
        self, hello: pb.RegisterWorkerRequest, holding: list[pb.Holding]
    ) -> "asyncio.Future[pb.Welcome]":
        """Say who this worker is; gives the answer."""
        self._frame.hello.CopyFrom(hello)
        self._frame.holding.extend(holding)
        return self._awaited(self._welcomes)

    def beat(self, active_tasks: int) -> "asyncio.Future[bool]":
        """Say that this worker lives; gives whether the coordinator knows it."""
        self._frame.heartbeat.CopyFrom(pb.Heartbeat(active_tasks=active_tasks))
        return self._awaited(self._beats)

    def leave(self) -> None:
        """Say that this worker takes nothing more."""
        self._frame.leaving = True
        self._wake.set()

    def report(self, report: pb.Report) -> "asyncio.Future[None]":
        """Report; gives the answer."""
        self._sequence += 1
        report.sequence = self._sequence
        self._reports.append(report)
        answer = self._answers[self._sequence] = asyncio.get_running_loop().create_future()
        self._wake.set()
        return answer

    async def commands(self) -> AsyncIterator[Command]:
        """What the coordinator says of tasks, to the end of the stream.

        Raises:
            CoordinatorError: it broke.
        """
        while (command := await self._inbox.get()) is not None:
            yield command
        if self._failure is not None:
            raise self._failure

    def _awaited(self, waiting: "deque[asyncio.Future[Any]]") -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting.append(answer)
        self._wake.set()
        return answer

    async def _talk(self) -> None:
        opened = time.monotonic()
        failure: CoordinatorError = Unavailable("Session: the connection was replaced")
        try:
            with self._calls.counted("Session"):
                call = self._calls.stub.Session(metadata=self._calls.metadata())
                speaking = asyncio.create_task(self._speak(call))
                try:
                    async for frame in call:
                        self._take(frame)
                finally:
                    speaking.cancel()
                    call.cancel()
            failure = Unavailable("Session: the coordinator ended the stream")
        except CoordinatorError as error:
            failure = error
        finally:
            self._calls.metrics.stream_ended("Session", time.monotonic() - opened)
            self._end(failure)

    async def _speak(self, call: Any) -> None:
        # How the call ends shows where it is read.
        with contextlib.suppress(Exception):
            while True:
                await self._wake.wait()
                self._wake.clear()
                frame, self._frame = self._frame, pb.WorkerFrame()
                size = 0
                while self._reports and size < _FRAME_BYTES:
                    report = self._reports.popleft()
                    size += report.ByteSize()
                    frame.reports.append(report)
                if self._reports:
                    self._wake.set()
                await call.write(frame)

    def _take(self, frame: pb.CoordinatorFrame) -> None:
        for sequence in frame.accepted:
            _answer(self._answers.pop(sequence, None), None)
        for refusal in frame.refused:
            _fail(self._answers.pop(refusal.sequence, None), messages.refusal(refusal))
        if frame.HasField("welcome"):
            # One frame may answer several: a later hello takes the place of an unsent one.
            while self._welcomes:
                _answer(self._welcomes.popleft(), frame.welcome)
        if frame.HasField("heartbeat"):
            while self._beats:
                _answer(self._beats.popleft(), frame.heartbeat.known)
        for stop in frame.stops:
            self._inbox.put_nowait(messages.stop(stop))
        if frame.drain:
            self._inbox.put_nowait(Drain())
        for assignment in frame.assignments:
            self._inbox.put_nowait(messages.assignment(assignment))

    def _end(self, failure: CoordinatorError) -> None:
        self._failure = failure
        for waiting in (self._answers.values(), self._welcomes, self._beats):
            for answer in waiting:
                _fail(answer, failure)
        self._inbox.put_nowait(None)


def _answer(waiting: "asyncio.Future[Any] | None", value: object) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(value)


def _fail(waiting: "asyncio.Future[Any] | None", error: CoordinatorError) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_exception(error)
        # Whoever waited may have given up.
        waiting.exception()


async def _within(seconds: float, answer: Awaitable[T]) -> T:
    """An answer that comes in time.

    Raises:
        Unavailable: it does not.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise Unavailable(f"Session: no answer within {seconds:g} s") from None
