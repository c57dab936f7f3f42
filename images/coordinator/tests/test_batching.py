"""Micro-batches and long polls."""

import asyncio
from collections.abc import Sequence

import pytest

from muster_coordinator.engine.batching import Batcher, Pacer, Width
from muster_coordinator.engine.errors import EngineError, NotFound, Unavailable
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.waiters import Waiters


class Doubling:
    """Doubles numbers, once its `gate` is open."""

    def __init__(self, *, gate: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.begun: asyncio.Queue[list[int]] = asyncio.Queue()
        self.gate = asyncio.Event()
        if not gate:
            self.gate.set()

    async def __call__(self, items: list[int]) -> Sequence[int | EngineError]:
        self.batches.append(items)
        self.begun.put_nowait(items)
        await self.gate.wait()
        if items == [13]:
            raise Unavailable("away")
        return [NotFound("none") if item < 0 else 2 * item for item in items]


async def test_an_idle_batcher_does_not_wait_for_more() -> None:
    handle = Doubling()
    batch: Batcher[int, int] = Batcher(handle)
    assert await batch(1) == 2
    assert handle.batches == [[1]]


async def test_one_call_after_the_other_is_answered() -> None:
    batch: Batcher[int, int] = Batcher(Doubling())
    assert [await batch(i) for i in range(3)] == [0, 2, 4]


async def test_what_comes_meanwhile_makes_the_next_batch() -> None:
    handle = Doubling(gate=True)
    batch: Batcher[int, int] = Batcher(handle, size=3)
    first = asyncio.create_task(batch(0))
    await handle.begun.get()
    others = [asyncio.create_task(batch(i)) for i in range(1, 6)]
    await asyncio.sleep(0)
    handle.gate.set()
    assert [await one for one in (first, *others)] == [0, 2, 4, 6, 8, 10]
    assert handle.batches == [[0], [1, 2, 3], [4, 5]]


async def test_lanes_work_side_by_side() -> None:
    handle = Doubling(gate=True)
    batch: Batcher[int, int] = Batcher(handle, size=1, lanes=2)
    calls = [asyncio.create_task(batch(i)) for i in range(3)]
    assert [await handle.begun.get(), await handle.begun.get()] == [[0], [1]]
    handle.gate.set()
    assert await asyncio.gather(*calls) == [0, 2, 4]


async def test_an_error_reaches_its_caller_alone() -> None:
    batch: Batcher[int, int] = Batcher(Doubling())
    answers = await asyncio.gather(batch(1), batch(-1), batch(2), return_exceptions=True)
    assert answers[0] == 2
    assert isinstance(answers[1], NotFound)
    assert answers[2] == 4


async def test_a_failed_batch_fails_all_its_callers_and_no_later_one() -> None:
    batch: Batcher[int, int] = Batcher(Doubling())
    with pytest.raises(Unavailable):
        await batch(13)
    assert await batch(1) == 2


async def test_a_caller_that_left_disturbs_nobody() -> None:
    handle = Doubling(gate=True)
    batch: Batcher[int, int] = Batcher(handle)
    left = asyncio.create_task(batch(1))
    stayed = asyncio.create_task(batch(2))
    await asyncio.sleep(0)
    left.cancel()
    handle.gate.set()
    assert await stayed == 4
    await batch.idle()


async def test_waiters_are_woken_for_their_workload_only() -> None:
    waiters, mine, other = Waiters(), new_id(), new_id()
    with waiters.subscribed(mine) as event, waiters.subscribed(other) as foreign:
        waiters.wake(mine)
        assert event.is_set()
        assert not foreign.is_set()
    waiters.wake(mine)


async def test_nobody_waits_on_a_closed_house() -> None:
    waiters = Waiters()
    with waiters.subscribed(new_id()) as event:
        waiters.close()
        assert event.is_set()
    assert waiters.closed


async def test_a_paced_batcher_answers_at_once_and_then_in_fewer_batches() -> None:
    handle, loop = Doubling(), asyncio.get_running_loop()
    batch: Batcher[int, int] = Batcher(handle, pace=1.0)
    begun = loop.time()
    assert await batch(1) == 2
    assert tuple(await asyncio.gather(batch(2), _later(batch, 3))) == (4, 6)
    assert loop.time() - begun >= 1.0
    assert [handle.begun.get_nowait() for _ in range(2)] == [[1], [2, 3]]
    # Else it would take longer than anybody waits.
    slow: Batcher[int, int] = Batcher(Doubling(), pace=3600.0)
    async with asyncio.timeout(60):
        assert await slow(1) == 2


async def _later(batch: Batcher[int, int], item: int) -> int:
    await asyncio.sleep(0.05)
    return await batch(item)


async def test_what_came_to_nothing_does_not_count_for_the_pace() -> None:
    pacer, loop = Pacer(60.0), asyncio.get_running_loop()
    begun = loop.time()
    await pacer.turn()
    pacer.forget()
    await pacer.turn()
    assert loop.time() - begun < 30.0


def test_rounds_that_take_too_long_are_for_less_until_there_is_time_again() -> None:
    width = Width(100, seconds=1.0)
    for seconds, expected in ((0.9, 100), (1.1, 50), (2.0, 25), (0.5, 25), (0.1, 50), (0.1, 100)):
        width.took(seconds)
        assert width.now == expected
    width.took(0.1)
    assert width.now == 100
    for _ in range(10):
        width.took(5.0)
    assert width.now == 1
