"""Micro-batching: what arrives while a batch is under way makes the next one.

An idle batcher adds no delay; a busy one answers many callers with one transaction, and may be
paced, as ten transactions of one cost far more than one of ten.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from muster_coordinator.engine.errors import EngineError

T = TypeVar("T")
R = TypeVar("R")

Handle = Callable[[list[T]], Awaitable[Sequence[R | EngineError]]]


class Pacer:
    """Keeps the beginnings of what is done again and again apart.

    Args:
        seconds: from one beginning to the next, at least.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next beginning; at once, where the last one is long enough ago."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next)
        self._next = begin + self._seconds
        if begin > now:
            await asyncio.sleep(begin - now)

    def forget(self) -> None:
        """What was begun came to nothing: the next one may begin at once."""
        self._next = 0.0


class Width:
    """How much to do at once: less where it takes too long, more where there is time.

    Args:
        most: of what is counted.
        seconds: that one round should take, at most.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._now = most

    @property
    def now(self) -> int:
        """How much the next round is for."""
        return self._now

    def took(self, seconds: float) -> None:
        """Note how long a round took."""
        if seconds > self._seconds:
            self._now = max(1, self._now // 2)
        elif seconds < self._seconds / 4:
            self._now = min(self._most, self._now * 2)


class Batcher(Generic[T, R]):
    """Collects single calls into calls of `handle`.

    Args:
        handle: takes items and answers each, in order; an `EngineError` among the answers is
            raised at its caller, an exception of the whole call at all callers of the batch.
        size: most items in one batch.
        lanes: most batches under way at once.
        pace: seconds from the beginning of one batch to that of the next, at least; what comes
            after a longer pause begins at once.
    """

    def __init__(
        self, handle: Handle[T, R], size: int = 100, lanes: int = 1, pace: float = 0.0
    ) -> None:
        self._handle = handle
        self._size = size
        self._lanes = lanes
        self._pacer = Pacer(pace)
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        # Counted apart from the tasks: a lane whose task has not quite ended takes nothing more.
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, item: T) -> R:
        """The answer to one item.

        Raises:
            EngineError: what `handle` answered to it.
        """
        return await self.put(item)

    def put(self, item: T) -> "asyncio.Future[R]":
        """As a call, for those who have so many items that a task for each costs too much."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._open < self._lanes:
            self._open += 1
            lane = asyncio.create_task(self._drain())
            self._tasks.add(lane)
            lane.add_done_callback(self._tasks.discard)
        return future

    async def idle(self) -> None:
        """Wait until everything that was taken in has been answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._pacer.turn()
                if not self._waiting:
                    # Another lane has taken them meanwhile.
                    return
                count = min(self._size, len(self._waiting))
                await self._answer([self._waiting.popleft() for _ in range(count)])
        finally:
            self._open -= 1

    async def _answer(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        answers: Sequence[R | Exception]
        try:
            answers = await self._handle([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller gets it
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
