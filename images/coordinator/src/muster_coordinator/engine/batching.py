"""Micro-batching: what arrives while a batch is under way makes the next one.

An idle batcher adds no delay; a busy one answers many callers with one transaction.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from muster_coordinator.engine.errors import EngineError

T = TypeVar("T")
R = TypeVar("R")

Handle = Callable[[list[T]], Awaitable[Sequence[R | EngineError]]]


class Batcher(Generic[T, R]):
    """Collects single calls into calls of `handle`.

    Args:
        handle: takes items and answers each, in order; an `EngineError` among the answers is
            raised at its caller, an exception of the whole call at all callers of the batch.
        size: most items in one batch.
        lanes: most batches under way at once.
    """

    def __init__(self, handle: Handle[T, R], size: int = 100, lanes: int = 1) -> None:
        self._handle = handle
        self._size = size
        self._lanes = lanes
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, item: T) -> R:
        """The answer to one item.

        Raises:
            EngineError: what `handle` answered to it.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._running) < self._lanes:
            lane = asyncio.create_task(self._drain())
            self._running.add(lane)
            lane.add_done_callback(self._running.discard)
        return await future

    async def idle(self) -> None:
        """Wait until everything that was taken in has been answered."""
        while self._running:
            await asyncio.wait(self._running)

    async def _drain(self) -> None:
        while self._waiting:
            count = min(self._size, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            try:
                answers = await self._handle([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - every caller gets it
                answers = [error] * count  # type: ignore[list-item]
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
