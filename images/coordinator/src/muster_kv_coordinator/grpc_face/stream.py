"""Operations without end: outcomes leave as they come, many in one message where many wait."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.service import Service
from muster_protos import kv_pb2 as pb

_AT_ONCE = 1024
_LARGEST_ANSWER_BYTES = 4 * 1024 * 1024


async def outcomes(
    service: Service, batches: AsyncIterator[pb.BatchRequest], caller: Caller
) -> AsyncIterator[pb.BatchResponse]:
    """Answer the operations of all batches, at most 1,024 of them at once.

    No more is read while that many are under way, so that flow control holds back the client.
    """
    # A stream lasts; its deadline is not that of its operations.
    each = Caller(caller.authorization, caller.common_name)
    work = _Work(service, each)
    reader = asyncio.create_task(work.read(batches))
    try:
        while (answer := await work.next()) is not None:
            yield answer
        await reader
    finally:
        reader.cancel()
        work.cancel()


class _Work:
    def __init__(self, service: Service, caller: Caller) -> None:
        self._service = service
        self._caller = caller
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()
        self._done: deque[pb.Outcome] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    async def read(self, batches: AsyncIterator[pb.BatchRequest]) -> None:
        """Start what the client sends, until it sends no more."""
        try:
            async for batch in batches:
                for operation in batch.operations:
                    await self._room.acquire()
                    task = asyncio.create_task(self._operate(operation))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
        finally:
            self._ended = True
            self._changed.set()

    async def next(self) -> pb.BatchResponse | None:
        """What is done and not sent yet; None after the last."""
        while not self._done:
            if self._ended and not self._under_way:
                return None
            self._changed.clear()
            await self._changed.wait()
        answer = pb.BatchResponse()
        size = 0
        while self._done and size < _LARGEST_ANSWER_BYTES:
            outcome = self._done.popleft()
            size += outcome.ByteSize()
            answer.outcomes.append(outcome)
        return answer

    def cancel(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()

    async def _operate(self, operation: pb.Operation) -> None:
        try:
            self._done.append(await self._service.operate(operation, self._caller))
        finally:
            self._room.release()
            # After this task is no longer under way, or the last one would wake nobody.
            asyncio.get_running_loop().call_soon(self._changed.set)
