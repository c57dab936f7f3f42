"""Operations without end: outcomes leave as they come, many in one message where many wait."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from muster_front import Streams
from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.service import Service
from muster_protos import kv_pb2 as pb

log = logging.getLogger(__name__)

Begin = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

_AT_ONCE = 1024
_LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
_UNREAD_BYTES = 1024 * 1024
"""Of answers that may be on their way to a client that is slow to read."""

_INVALID_ARGUMENT: int = grpc.StatusCode.INVALID_ARGUMENT.value[0]
_INTERNAL: int = grpc.StatusCode.INTERNAL.value[0]


class NativeStreams:
    """Answers the streams of a front in this loop.

    Of each at most 1,024 operations are begun whose outcomes have not been sent. No more is read
    while that many are, so that flow control holds back a client that sends faster than it is
    served, and one that does not read.
    """

    def __init__(self, front: Streams, service: Service, begin: Begin) -> None:
        self._front = front
        self._service = service
        self._begin = begin
        self._open: dict[int, _Stream] = {}
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to serve."""
        self._loop.add_reader(self._front.fileno(), self._look)

    def stop(self) -> None:
        """Give up what is left; nothing comes any more."""
        self._loop.remove_reader(self._front.fileno())
        for stream in self._open.values():
            stream.cancel()
        self._open.clear()

    def _look(self) -> None:
        opened, messages, ended, sent, over = self._front.drain()
        streams = self._open
        for number, authorization, name in opened:
            # A stream lasts; its deadline is not that of its operations.
            caller = Caller(authorization or "", name or "")
            streams[number] = _Stream(self, number, caller)
        for number, data in messages:
            if number in streams:
                self._take(number, data)
        for number in ended:
            if number in streams:
                streams[number].end()
        for number, size in sent:
            if number in streams:
                streams[number].left(size)
        for number in over:
            stream = streams.pop(number, None)
            if stream is not None:
                stream.cancel()

    def _take(self, number: int, data: bytes) -> None:
        try:
            batch = pb.BatchRequest.FromString(data)
        except DecodeError:
            text = "a request is no message of Stream; allowed: its protobuf form"
            self.fail(number, _INVALID_ARGUMENT, text)
        else:
            self._open[number].take(iter(batch.operations), len(data))

    # What streams call

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin with an operation."""
        return self._begin(work)

    async def outcome(self, operation: pb.Operation, caller: Caller) -> bytes:
        """The outcome of an operation, as a part of an answer.

        Answers have but a list of outcomes, so parts that follow each other are an answer too.
        """
        outcome = await self._service.operate(operation, caller)
        return pb.BatchResponse(outcomes=(outcome,)).SerializeToString()

    def begun(self, number: int, size: int) -> None:
        """All operations of a message are begun."""
        self._front.begun(number, size)

    def send(self, number: int, answer: bytes) -> int:
        """Send an answer; the bytes that will have left with it."""
        return self._front.send(number, answer)

    def over(self, number: int) -> None:
        """End a stream whose client sends no more, and whose operations are done."""
        if self._open.pop(number, None) is not None:
            self._front.end(number)

    def fail(self, number: int, code: int, text: str) -> None:
        """End a stream for what is wrong with it."""
        stream = self._open.pop(number, None)
        if stream is not None:
            stream.cancel()
            self._front.fail(number, code, text)


class _Stream:
    def __init__(self, streams: NativeStreams, number: int, caller: Caller) -> None:
        self._streams = streams
        self._number = number
        self._caller = caller
        self._waiting: deque[tuple[Iterator[pb.Operation], int]] = deque()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._done: deque[bytes] = deque()
        # Operations that were begun ever, and those of them whose outcomes were sent.
        self._begun = self._sent = 0
        self._unread = 0
        self._flushing = False
        self._ended = False

    def take(self, operations: Iterator[pb.Operation], size: int) -> None:
        """Begin with the operations of a message, as far as there is room."""
        self._waiting.append((operations, size))
        self._go_on()

    def end(self) -> None:
        """The client sends no more."""
        self._ended = True
        self._flush_soon()

    def left(self, size: int) -> None:
        """So many bytes of answers have left."""
        self._unread -= size
        self._flush_soon()

    def cancel(self) -> None:
        """Give up what is under way."""
        self._waiting.clear()
        for task in self._tasks.values():
            task.cancel()

    def _go_on(self) -> None:
        while self._waiting and self._begun - self._sent < _AT_ONCE:
            operations, size = self._waiting[0]
            operation = next(operations, None)
            if operation is None:
                self._waiting.popleft()
                self._streams.begun(self._number, size)
                continue
            self._begun += 1
            task = self._streams.begin(self._operate(self._begun, operation))
            if not task.done():
                self._tasks[self._begun] = task

    async def _operate(self, number: int, operation: pb.Operation) -> None:
        try:
            self._done.append(await self._streams.outcome(operation, self._caller))
        except Exception:
            log.exception("an outcome can't be sent")
            text = "internal error; see the coordinator's log"
            self._streams.fail(self._number, _INTERNAL, text)
        else:
            self._flush_soon()
        finally:
            self._tasks.pop(number, None)

    def _flush_soon(self) -> None:
        # Whatever else is done in this turn of the loop goes in the same message.
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        while self._done and self._unread < _UNREAD_BYTES:
            parts = []
            size = 0
            while self._done and size < _LARGEST_ANSWER_BYTES:
                parts.append(self._done.popleft())
                size += len(parts[-1])
            self._sent += len(parts)
            self._unread += self._streams.send(self._number, b"".join(parts))
        self._go_on()
        if self._ended and not self._waiting and self._begun == self._sent:
            self._streams.over(self._number)
