"""What waits while a lane works is its next batch."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from muster_storage.lane import Lane, LaneFullError


class Gate:
    """Work that stops in its first batch until it is let go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, jobs: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(jobs))
        self.entered.set()
        assert self.open.wait(60)
        return [ValueError(str(job)) if job < 0 else job * 2 for job in jobs]


async def test_what_waits_is_one_batch_in_order() -> None:
    gate = Gate()
    lane = Lane[int, int]("test", gate, most=100, queued=100)
    first = lane.submit(1)
    await asyncio.to_thread(gate.entered.wait, 60)
    rest = [lane.submit(job) for job in (2, 3, 4)]
    gate.open.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    await lane.close()
    assert gate.batches == [[1], [2, 3, 4]]


async def test_a_batch_weighs_no_more_than_allowed_except_a_single_job() -> None:
    gate = Gate()
    lane = Lane[int, int]("test", gate, most=4, queued=100)
    futures = [lane.submit(1)]
    await asyncio.to_thread(gate.entered.wait, 60)
    futures += [lane.submit(2, 3), lane.submit(3, 2), lane.submit(4, 9), lane.submit(5)]
    gate.open.set()
    await asyncio.gather(*futures)
    await lane.close()
    assert gate.batches == [[1], [2], [3], [4], [5]]


async def test_an_exception_is_the_answer_of_its_job_only() -> None:
    gate = Gate()
    gate.open.set()
    lane = Lane[int, int]("test", gate, most=4, queued=100)
    good, bad = lane.submit(3), lane.submit(-1)
    assert await good == 6
    with pytest.raises(ValueError, match="-1"):
        await bad
    await lane.close()


async def test_what_the_work_raises_is_the_answer_of_all() -> None:
    def fail(jobs: Sequence[int]) -> list[int | Exception]:
        raise OSError("gone")

    lane = Lane[int, int]("test", fail, most=4, queued=100)
    for future in (lane.submit(1), lane.submit(2)):
        with pytest.raises(OSError, match="gone"):
            await future
    await lane.close()


async def test_a_panic_ends_neither_the_lane_nor_who_waits() -> None:
    class Panic(BaseException):
        pass

    def fail(jobs: Sequence[int]) -> list[int | Exception]:
        raise Panic("out of bounds")

    lane = Lane[int, int]("test", fail, most=4, queued=100)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of bounds"):
            await asyncio.wait_for(lane.submit(1), 60)
    await lane.close()


async def test_a_full_or_closed_lane_refuses() -> None:
    gate = Gate()
    lane = Lane[int, int]("test", gate, most=1, queued=2)
    futures = [lane.submit(1)]
    await asyncio.to_thread(gate.entered.wait, 60)
    futures += [lane.submit(2), lane.submit(3)]
    with pytest.raises(LaneFullError):
        lane.submit(4)
    gate.open.set()
    await lane.close()
    assert [future.result() for future in futures] == [2, 4, 6]
    with pytest.raises(LaneFullError):
        lane.submit(5)


async def test_a_caller_that_gave_up_does_not_disturb_the_others() -> None:
    gate = Gate()
    lane = Lane[int, int]("test", gate, most=10, queued=10)
    given_up, kept = lane.submit(1), lane.submit(2)
    given_up.cancel()
    gate.open.set()
    assert await kept == 4
    await lane.close()
