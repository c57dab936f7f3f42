import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from muster_operator.queue import Backoff, Work, WorkQueue
from muster_operator.resources import Key
from muster_testing.waiting import eventually

QUICK = Backoff(first=0.01, most=0.05)
A, B = Key("ProverPool", "ns", "a"), Key("ProverPool", "ns", "b")


@contextlib.asynccontextmanager
async def open_queue(
    work: Work, at_once: int = 16, backoff: Backoff = QUICK
) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(work, at_once=at_once, backoff=backoff)
    try:
        yield queue
    finally:
        await queue.close()


async def test_an_object_marked_while_worked_on_is_worked_on_once_more() -> None:
    runs = 0
    begun, go = asyncio.Event(), asyncio.Event()

    async def work(_: Key) -> None:
        nonlocal runs
        runs += 1
        begun.set()
        await go.wait()

    async with open_queue(work) as queue:
        queue.mark(A)
        await begun.wait()
        for _ in range(100):
            queue.mark(A)
        go.set()
        await eventually(lambda: queue.depth == 0 and runs == 2, what="two runs")


async def test_an_object_is_worked_on_by_one_worker_at_a_time() -> None:
    active, most, runs = 0, 0, 0

    async def work(_: Key) -> None:
        nonlocal active, most, runs
        active += 1
        most = max(most, active)
        await asyncio.sleep(0)
        active -= 1
        runs += 1

    async with open_queue(work) as queue:
        for _ in range(50):
            queue.mark(A)
            await asyncio.sleep(0)
        await eventually(lambda: queue.depth == 0 and runs > 1, what="the queue is empty")
        assert most == 1


async def test_what_fails_is_tried_again_until_it_works() -> None:
    runs = 0

    async def work(_: Key) -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise RuntimeError("not yet")

    async with open_queue(work) as queue:
        queue.mark(A)
        await eventually(lambda: runs == 4 and queue.depth == 0, what="the fourth run")


async def test_an_object_that_always_fails_starves_nobody() -> None:
    runs: Counter[Key] = Counter()

    async def work(key: Key) -> None:
        runs[key] += 1
        if key == A:
            raise RuntimeError("never")

    async with open_queue(work, at_once=1) as queue:
        queue.mark(A)
        for number in range(50):
            queue.mark(Key("ProverPool", "ns", f"good-{number}"))
        await eventually(lambda: len(runs) == 51, what="everybody had a turn")
        await eventually(lambda: runs[A] > 2, what="and the bad one several")


async def test_pauses_double_up_to_the_most() -> None:
    backoff = Backoff(first=1, most=10)
    for failures, longest in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (500, 10)]:
        assert longest * 0.8 <= backoff.pause(failures) <= longest


async def test_a_pause_after_a_failure_is_ended_only_by_what_is_urgent() -> None:
    runs = 0

    async def work(_: Key) -> None:
        nonlocal runs
        runs += 1
        raise RuntimeError("never")

    async with open_queue(work, backoff=Backoff(first=3600, most=3600)) as queue:
        queue.mark(A)
        await eventually(lambda: runs == 1 and queue.depth == 1, what="the first failure")
        queue.mark(A)
        for _ in range(10):
            await asyncio.sleep(0)
        assert runs == 1
        queue.mark(A, urgent=True)
        await eventually(lambda: runs == 2, what="the second run")


async def test_an_object_is_looked_at_again_when_it_asked_to_be() -> None:
    runs = 0

    async def work(_: Key) -> float | None:
        nonlocal runs
        runs += 1
        return 0.01 if runs == 1 else None

    async with open_queue(work) as queue:
        queue.mark(A)
        await eventually(lambda: runs == 2 and queue.depth == 0, what="the second look")


async def test_a_mark_ends_the_wait_for_the_next_look() -> None:
    runs = 0

    async def work(_: Key) -> float | None:
        nonlocal runs
        runs += 1
        return 3600

    async with open_queue(work) as queue:
        queue.mark(A)
        await eventually(lambda: runs == 1, what="the first run")
        await eventually(lambda: queue.depth == 0, what="it waits")
        queue.mark(A)
        await eventually(lambda: runs == 2, what="the second run")


async def test_closing_stops_in_the_middle_and_for_good() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work(_: Key) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    queue = WorkQueue(work)
    queue.mark(A)
    await begun.wait()
    await queue.close()
    assert cancelled.is_set()
    queue.mark(B)
    assert queue.depth == 0
