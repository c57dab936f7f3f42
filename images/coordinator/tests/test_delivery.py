"""Delivery beside trouble: nothing that it looks after holds up what it sends."""

import asyncio
import functools
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from muster_coordinator.engine.delivery import Delivery, Stream
from muster_coordinator.engine.errors import NotFound
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import Assignment, Claim, Requirement
from muster_coordinator.engine.ports import AssignmentStore, Deliverable, Orders, WorkerStore
from muster_coordinator.engine.retry import RetryPolicy
from muster_coordinator.store.migrate import migrate
from muster_testing.waiting import eventually

from .parts import parts


class Assignments:
    """A store of assignments: what waits at workers, and how much is asked about at once."""

    def __init__(self) -> None:
        self.waiting: dict[UUID, Assignment] = {}
        self.looks = 0
        self.asked: list[int] = []
        self.found = asyncio.Event()
        self.found.set()
        self.answers = asyncio.Event()
        self.answers.set()

    def add(self, stream: Stream) -> Assignment:
        one = Assignment(
            new_id(), stream.worker_id, Requirement("p", "t"), 1, b"", cast("Any", None), ""
        )
        self.waiting[one.workload_id] = one
        return one

    async def deliverable(self, workers: Collection[str], known: Mapping[UUID, int]) -> Deliverable:
        self.looks += 1
        mine = [one for one in self.waiting.values() if one.worker_id in workers]
        fresh = [one for one in mine if known.get(one.workload_id) != one.generation]
        await asyncio.sleep(0)
        await self.found.wait()
        return Deliverable(fresh, {one.workload_id for one in mine})

    async def orders(self, _workers: Collection[str], given: Collection[Claim]) -> Orders:
        self.asked.append(len(given))
        await self.answers.wait()
        return Orders([], {claim.workload_id for claim in given})


class Workers:
    """A registry that knows everybody."""

    async def open_stream(self, *_: object) -> bool:
        return True

    async def close_streams(self, *_: object) -> list[str]:
        return []


class Replicas(Workers):
    """A registry of one replica, which is known as alive only once `answers` is set."""

    def __init__(self) -> None:
        self.known = False
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def replica_lives(self, _replica_id: str) -> Collection[UUID]:
        self.asked.set()
        await self.answers.wait()
        self.known = True
        return ()

    async def replica_stopped(self, _replica_id: str) -> None:
        self.known = False


def _delivery(store: Assignments, poll: float, workers: Workers | None = None) -> Delivery:
    registry = cast("WorkerStore", workers or Workers())
    return Delivery(cast("AssignmentStore", store), registry, RetryPolicy(), "c-0", poll)


@pytest_asyncio.fixture
async def store() -> Assignments:
    return Assignments()


@pytest_asyncio.fixture
async def delivery(store: Assignments) -> AsyncIterator[Delivery]:
    made = _delivery(store, poll=0.05)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.wait({running})


def _has(stream: Stream, count: int) -> bool:
    return _count(stream) == count


def _count(stream: Stream) -> int:
    return len(stream._queue)


async def test_what_workers_must_be_told_does_not_hold_up_assignments(
    store: Assignments, delivery: Delivery
) -> None:
    store.answers.clear()
    async with delivery.open("w-0") as stream:
        await eventually(lambda: store.asked)
        for number in range(3):
            store.add(stream)
            delivery.wake("w-0")
            await eventually(functools.partial(_has, stream, number + 1))


async def test_what_a_worker_has_done_is_asked_about_no_more(delivery: Delivery) -> None:
    async with delivery.open("w-0", [Claim(new_id(), "w-0", 3)]) as stream:
        [claim] = stream.given()
        delivery.finished(Claim(claim.workload_id, "w-0", 2))
        assert stream.given() == [claim]
        delivery.finished(claim)
        assert stream.given() == []


async def test_what_a_worker_has_done_is_looked_for_no_more(
    store: Assignments, delivery: Delivery
) -> None:
    async with delivery.open("w-0") as stream:
        one = store.add(stream)
        again = replace(one, generation=2)
        for given in (one, again):
            stream.put(given)
            stream.put(given)
        assert (stream.look(), _count(stream)) == ({one.workload_id: 2}, 2)
        stream.settle({}, ())
        for ended in (1, 2):
            assert stream.look()
            stream.settle({}, ())
            delivery.finished(Claim(one.workload_id, "w-0", ended))
        assert stream.look() == {}


async def test_what_ended_while_it_was_looked_for_is_not_sent_again(
    store: Assignments, delivery: Delivery
) -> None:
    async with delivery.open("w-0") as stream:
        store.found.clear()
        one = store.add(stream)
        looks = store.looks
        delivery.wake("w-0")
        await eventually(lambda: store.looks > looks)
        stream.put(one)
        store.waiting.clear()
        delivery.finished(Claim(one.workload_id, "w-0", one.generation))
        looks = store.looks
        store.found.set()
        await eventually(lambda: store.looks > looks)
        assert _count(stream) == 1
        await eventually(lambda: not stream.look())


async def test_everything_at_work_is_asked_about_in_parts(
    store: Assignments, delivery: Delivery
) -> None:
    holding = [Claim(new_id(), "w-0", 1) for _ in range(5000)]
    async with delivery.open("w-0", holding) as stream:
        await eventually(lambda: sum(store.asked) >= len(holding))
        assert max(store.asked) <= 2000
        assert len(stream.given()) == len(holding)


async def test_all_are_looked_after_also_where_it_never_rests(
    store: Assignments, delivery: Delivery
) -> None:
    """Nobody is woken for the second worker."""
    async with delivery.open("w-0"), delivery.open("w-1") as other:
        await eventually(lambda: store.looks)
        store.add(other)

        def busy() -> bool:
            delivery.wake("w-0")
            return _count(other) == 1

        await eventually(busy, every=0.001)


async def test_a_replica_that_has_left_is_known_no_more(store: Assignments) -> None:
    """It says that it lives while it leaves."""
    replicas = Replicas()
    made = _delivery(store, 0.001, replicas)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(made.hold())
        await replicas.asked.wait()
        group.create_task(made.leave())
        await asyncio.sleep(0)
        replicas.answers.set()
    assert not replicas.known


async def _times_read_whole(dsn: str) -> int:
    """How often the table of workloads was read from one end to the other."""
    connection = await asyncpg.connect(dsn)
    try:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"

        async def alone() -> bool:
            return bool(await connection.fetchval(others) == 1)

        # Each connection tells at its end what it did.
        await eventually(alone)
        read = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'workloads'"
        count: int = await connection.fetchval(read)
        return count
    finally:
        await connection.close()


@pytest.mark.integration
async def test_no_plan_that_is_kept_reads_all_workloads(dsn: str) -> None:
    """Plans are made while the table is small, and few of its rows are as good as all."""
    await migrate(dsn)
    before = await _times_read_whole(dsn)
    async with parts(dsn) as made:
        epoch, since = await made.leadership.take_epoch("c-0")
        ids = [new_id() for _ in range(3)]
        claims = [Claim(one, "w-0", 1) for one in ids]
        # PostgreSQL thinks about a statement five times, and then keeps a plan.
        for _ in range(8):
            await made.submit()
            assert await made.leadership.waiting()
            await made.assignments.orders(["w-0"], claims)
            await made.assignments.deliverable(["w-0"], dict.fromkeys(ids, 1))
            await made.assignments.statements(ids)
            with pytest.raises(NotFound):
                await made.reports.fail(claims[0], "a test")
            await made.leadership.recover(
                epoch, since, made.settings.health, made.settings.policy.lost
            )
    assert await _times_read_whole(dsn) == before
