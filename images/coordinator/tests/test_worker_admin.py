"""Workers in the hands of an administrator: listed, drained, removed."""

import pytest

from muster_coordinator.engine.errors import InvalidState, NotFound
from muster_coordinator.engine.model import Drain, Share
from muster_coordinator.engine.states import State, WorkerStatus

from .harness import rows
from .parts import Settings, parts

pytestmark = pytest.mark.integration


async def test_a_drained_worker_is_told_finishes_and_gets_nothing_more(dsn: str) -> None:
    async with parts(dsn, Settings(poll=3600)) as made, made.running(), made.worker() as hand:
        first = await made.submit()
        given = await hand.begun(first)
        await made.registry.drain("w-0")
        await hand.told(Drain())
        [worker] = await made.registry.workers()
        assert (worker.status, worker.shares) == (
            WorkerStatus.DRAINING,
            (Share("default", "sleep", 1),),
        )
        await made.registry.beat("w-0", 1)
        await made.registry.drain("w-0")
        second = await made.submit()
        assert (await hand.completes(given)).accepted
        async with made.worker("w-1") as other:
            await other.begun(second)
        assert hand.commands == [given, Drain()]


async def test_who_opens_a_stream_anew_is_told_again(dsn: str) -> None:
    async with parts(dsn) as made, made.running():
        async with made.worker():
            await made.registry.drain("w-0")
        async with made.delivery.open("w-0") as stream:
            async for command in stream.commands():
                assert command == Drain()
                break


async def test_a_removed_worker_loses_what_it_holds_and_may_come_back(dsn: str) -> None:
    async with parts(dsn) as made, made.running():
        async with made.worker() as hand:
            task = await made.submit()
            await hand.begun()
            await made.registry.remove("w-0")
            assert await made.registry.workers() == []
            assert (await made.queue.get(task)).state is State.REDISTRIBUTING
            assert not await made.registry.beat("w-0", 1)
        async with made.worker() as hand:
            await hand.begun(task)


async def test_what_is_not_there_or_gets_nothing_anyway_is_refused(dsn: str) -> None:
    async with parts(dsn) as made:
        for change in (made.registry.drain, made.registry.remove):
            with pytest.raises(NotFound, match="worker w-9: unknown"):
                await change("w-9")
        async with made.worker():
            await made.workers.quarantine("w-0", "it lied", 60)
            with pytest.raises(InvalidState, match="it is QUARANTINED; allowed: ACTIVE, SUSPECT"):
                await made.registry.drain("w-0")
        await made.registry.remove("w-0")
        events = await rows(
            dsn, "SELECT event, actor FROM audit WHERE worker_id = 'w-0' ORDER BY seq"
        )
        assert events[-1] == ("worker.removed", "administrator")
