"""A thread that works on all that waits at once: what comes while it works is the next batch.

This is where group commit comes from. One batch costs one hand-over between threads and, for
writes, one fsync, however many requests are in it; under load batches grow by themselves.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

J = TypeVar("J")
R = TypeVar("R")


class LaneFullError(Exception):
    """More waits than the lane may hold; nothing was done."""


class _Waiting(NamedTuple, Generic[J, R]):
    job: J
    weight: int
    future: "asyncio.Future[R]"


class Lane(Generic[J, R]):
    """Jobs from an event loop, worked on in a thread of their own, in order.

    Args:
        name: of the thread.
        work: given the jobs of a batch, returns one result or exception for each, in order. What
            it raises itself is the result of every job of the batch.
        most: weight of jobs in one batch; a heavier job is a batch of its own.
        queued: weight of jobs that may wait.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[J]], Sequence[R | Exception]],
        *,
        most: int,
        queued: int,
    ) -> None:
        self._work = work
        self._most = most
        self._queued = queued
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting[J, R]] = deque()
        self._weight = 0
        self._ready = threading.Condition()
        self._closed = False
        self._idle = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Weight of the jobs that wait."""
        return self._weight

    def submit(self, job: J, weight: int = 1) -> "asyncio.Future[R]":
        """Have `job` worked on; called in the event loop.

        Raises:
            LaneFullError: too much waits already, or the lane is closed.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        with self._ready:
            if self._closed or (self._weight and self._weight + weight > self._queued):
                raise LaneFullError
            self._waiting.append(_Waiting(job, weight, future))
            self._weight += weight
            if self._idle:
                self._ready.notify()
        return future

    async def close(self) -> None:
        """Take no more jobs, and return when those that wait are done."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            batch = self._next()
            if not batch:
                return
            results: Sequence[R | Exception]
            try:
                results = self._work([waiting.job for waiting in batch])
            except BaseException as error:  # noqa: BLE001 - it is the answer of each job
                # A panic in Rust is no Exception, and must end neither this thread nor who waits.
                failed = error if isinstance(error, Exception) else RuntimeError(repr(error))
                results = [failed] * len(batch)
            self._loop.call_soon_threadsafe(_answer, batch, results)

    def _next(self) -> list[_Waiting[J, R]]:
        with self._ready:
            while not self._waiting and not self._closed:
                self._idle = True
                self._ready.wait()
            self._idle = False
            batch: list[_Waiting[J, R]] = []
            weight = 0
            while self._waiting and (not batch or weight + self._waiting[0].weight <= self._most):
                batch.append(self._waiting.popleft())
                weight += batch[-1].weight
            self._weight -= weight
            return batch


def _answer(batch: list[_Waiting[J, R]], results: Sequence[R | Exception]) -> None:
    for (_, _, future), result in zip(batch, results, strict=True):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
