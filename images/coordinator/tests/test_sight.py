"""Scheduling where little waits: all of it is seen at once, and workers are remembered."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Requirement, Result, Share
from muster_coordinator.engine.ports import Sight
from muster_coordinator.engine.scheduling import Placement
from muster_coordinator.store import waiting
from muster_coordinator.store.queue import PostgresQueue
from muster_testing.waiting import eventually

from .parts import NEED, Parts, Settings, parts

pytestmark = pytest.mark.integration

_NEVER = 3600.0


async def _seen(made: Parts, most: int = 10) -> Sight | None:
    """What the leader sees where it gives nothing away."""
    seen = []

    async def look(sight: Sight) -> Sequence[Placement]:
        seen.append(sight)
        return []

    await made.leadership.assign_few(1, most, look, 60.0)
    return seen[0] if seen else None


async def _store(made: Parts, *batch: NewWorkload) -> None:
    """As another replica takes work in."""
    await PostgresQueue(made.database).submit(batch)


async def test_all_that_waits_is_seen_in_the_order_of_the_queue(dsn: str) -> None:
    async with parts(dsn) as made, made.running(leads=False):
        epoch, _ = await made.leadership.take_epoch("c-0")
        customer = await made.customer(max_concurrent=2)
        first = NewWorkload(new_id(), NEED, b"{}")
        second = NewWorkload(new_id(), Requirement("general", "other"), b"{}")
        urgent = NewWorkload(new_id(), NEED, b"{}", priority=900, customer_id=customer.id)
        async with made.worker(capacity=2) as hand:
            held = NewWorkload(new_id(), NEED, b"{}", customer_id=customer.id)
            assert len(await made.leadership.hand_over(epoch, [held], [hand.name], 60.0)) == 1
            await _store(made, first, second, urgent)
            sight = await _seen(made)
        assert sight is not None
        assert [one.id for one in sight.candidates] == [urgent.id, first.id, second.id]
        assert {(kind.need, kind.customer_id, kind.most) for kind in sight.kinds} == {
            (NEED, "default", 0),
            (second.requirement, "default", 0),
            (NEED, customer.id, 2),
        }
        assert dict(sight.holding) == {hand.name: (Share(customer.id, NEED.type, 1),)}


async def test_what_is_not_due_is_not_given_away(dsn: str) -> None:
    async with parts(dsn) as made:
        _, now = await made.leadership.take_epoch("c-0")
        late = NewWorkload(new_id(), NEED, b"{}", deadline=now - timedelta(seconds=1))
        await _store(made, late)
        assert await _seen(made) is None


async def test_more_than_a_little_is_not_looked_at(dsn: str) -> None:
    async with parts(dsn) as made:
        await made.leadership.take_epoch("c-0")
        await _store(made, *(NewWorkload(new_id(), NEED, b"{}") for _ in range(4)))
        assert await made.leadership.assign_few(1, 3, _refuse, 60.0) is None
        assert await _seen(made, most=4) is not None


async def test_what_has_ended_is_read_once(dsn: str) -> None:
    async with parts(dsn) as made, made.worker(capacity=300) as hand:
        epoch, _ = await made.leadership.take_epoch("c-0")
        # It would read what has ended between the two who do here, or before them.
        await made.database.fetch("ALTER TABLE workloads SET (autovacuum_enabled = false)")
        batch = [NewWorkload(new_id(), NEED, b"{}") for _ in range(300)]
        moved = await made.leadership.hand_over(epoch, batch, [hand.name] * 300, 60.0)
        seen = [one.held for one in moved if one.held]
        assert len(await made.assignments.complete(seen, [Result(0)] * 300)) == 300
        first = await _pages(made)

        # Not while a transaction that began before them may see what has ended.
        async def passed_over() -> bool:
            return await _pages(made) < first / 3

        await eventually(passed_over, what="what has ended is passed over")


async def _pages(made: Parts) -> int:
    """How many pages of the database are looked at, to see what workers hold."""
    explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {waiting._VACANT}"
    row = await made.database.fetchrow(explained, "default", NEED.pool)
    assert row is not None
    pages: int = json.loads(row[0])[0]["Plan"]["Shared Hit Blocks"]
    return pages


async def _refuse(_sight: Sight) -> Sequence[Placement]:
    raise AssertionError("too much waits")


async def test_much_and_then_little_is_given_away(dsn: str) -> None:
    async with (
        parts(dsn, Settings(poll=_NEVER)) as made,
        made.running(),
        made.worker(capacity=100) as hand,
    ):
        for count in (25, 1, 25):
            batch = [NewWorkload(new_id(), NEED, b"{}") for _ in range(count)]
            await _store(made, *batch)
            given = [await hand.given(one.id) for one in batch]
            await asyncio.gather(*(hand.completes(one) for one in given))


async def test_a_worker_that_lied_unheard_keeps_nothing_waiting(dsn: str) -> None:
    async with (
        parts(dsn, Settings(strategy="priority", poll=_NEVER)) as made,
        made.running(),
        made.worker("w-0", capacity=9) as liar,
        made.worker("w-1") as other,
    ):
        await _store(made, NewWorkload(new_id(), NEED, b"{}"))
        await liar.completes(await liar.given())
        # Nobody tells the leader, which would rather have this one.
        await made.workers.quarantine(liar.name, "it lied", 60.0)
        new = NewWorkload(new_id(), NEED, b"{}")
        await _store(made, new)
        await other.given(new.id)
