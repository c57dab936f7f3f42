"""Work that is stored together with its assignment."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio

from muster_coordinator.engine.errors import Fenced
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Requirement
from muster_coordinator.engine.states import State
from muster_testing.waiting import eventually

from .harness import rows
from .parts import NEED, Parts, held, parts

pytestmark = pytest.mark.integration

ONE_STEP = "SELECT count(*) FROM workloads WHERE scheduled_at = created_at"


@pytest_asyncio.fixture
async def made(dsn: str) -> AsyncIterator[Parts]:
    async with parts(dsn) as replica, replica.running():
        await eventually(lambda: replica.leader.epoch, what="it leads")
        yield replica


async def _known(made: Parts, *names: str) -> None:
    """Wait until the leader has heard of workers: it need not, to store work that then waits."""

    def probe() -> bool:
        workers = made.leader._roster._workers
        return set(names) <= {worker.id for worker in workers if worker.connected}

    await eventually(probe, every=0.01, what="the leader knows the workers")


def _new(count: int) -> list[NewWorkload]:
    return [NewWorkload(new_id(), NEED, b"{}") for _ in range(count)]


async def _states(made: Parts, ids: list[UUID]) -> set[State]:
    return {(await made.queue.get(one)).state for one in ids}


async def test_an_idle_worker_is_given_it_in_the_step_that_stores_it(made: Parts) -> None:
    async with made.worker(capacity=2) as hand:
        await _known(made, hand.name)
        ids = await made.queue.submit(_new(3))
        assert await rows(made.dsn, ONE_STEP) == [(2,)]
        given = [await hand.given(), await hand.given()]
        assert {one.workload_id for one in given} == set(ids[:2])
        assert await _states(made, ids[2:]) == {State.PENDING}
        assert (await hand.completes(given[0])).accepted
        # What found no room is next.
        assert (await hand.given()).workload_id == ids[2]
        assert await made.events(given[0].workload_id) == [
            "workload.submitted",
            "workload.scheduled",
            "workload.started",
            "workload.completed",
        ]
        audited = await rows(
            made.dsn,
            "SELECT DISTINCT actor, epoch, generation, before, after FROM audit"
            " WHERE event = 'workload.scheduled'",
        )
        assert audited == [("leader", made.leader.epoch, 1, "PENDING", "SCHEDULED")]


async def test_what_came_before_is_not_overtaken(made: Parts) -> None:
    rare = NewWorkload(new_id(), Requirement(NEED.pool, "rare"), b"{}")
    async with made.worker(capacity=5) as hand:
        await made.queue.submit([rare])
        batch = _new(1)
        assert not await made.leader.hand_over(batch)
        # It has its turn in the next round.
        await made.queue.submit(batch)
        await hand.given(batch[0].id)


async def test_a_leader_that_was_followed_gives_nothing_away(made: Parts) -> None:
    async with made.worker(capacity=5) as hand:
        epoch = made.leader.epoch
        assert epoch is not None
        await made.leadership.take_epoch("another")
        batch = _new(1)
        assert await made.leadership.hand_over(epoch, batch, [hand.name], 60.0) == []
        assert await _states(made, [batch[0].id]) == {State.PENDING}


async def test_a_worker_that_lied_meanwhile_is_given_nothing(made: Parts) -> None:
    async with made.worker(capacity=5) as hand:
        epoch = made.leader.epoch
        assert epoch is not None
        await made.workers.quarantine(hand.name, "it lied", 60.0)
        batch = _new(1)
        assert await made.leadership.hand_over(epoch, batch, [hand.name], 60.0) == []
        assert await _states(made, [batch[0].id]) == {State.PENDING}
        assert held([hand]) == {hand.name: []}


async def test_a_customer_has_no_more_at_work_than_it_may(made: Parts) -> None:
    customer = await made.customer(max_concurrent=1)
    async with made.worker(capacity=5) as hand:
        await _known(made, hand.name)
        batch = [
            NewWorkload(new_id(), NEED, b"{}", customer_id=customer.id, request_id=str(number))
            for number in range(3)
        ]
        await made.queue.submit(batch, customer=customer)
        states = [(await made.queue.get(one.id, customer.id)).state for one in batch]
        assert states == [State.SCHEDULED, State.PENDING, State.PENDING]


async def test_stored_twice_it_is_given_once(made: Parts) -> None:
    async with made.worker(capacity=5) as hand:
        await _known(made, hand.name)
        batch = _new(1)
        assert await made.leader.hand_over(batch)
        assert await made.leader.hand_over(batch)
        given = await hand.given()
        assert (await made.queue.get(given.workload_id)).generation == given.generation == 1
        assert await rows(made.dsn, "SELECT count(*) FROM workloads") == [(1,)]


async def test_a_result_of_what_was_cancelled_meanwhile_is_refused(made: Parts) -> None:
    async with made.worker(capacity=5) as hand:
        await made.queue.submit(_new(1))
        given = await hand.given()
        await made.queue.cancel(given.workload_id)
        with pytest.raises(Fenced):
            await hand.completes(given)
        assert await _states(made, [given.workload_id]) == {State.CANCELLED}
        assert await rows(made.dsn, "SELECT count(*) FROM results") == [(0,)]


async def test_an_older_claim_is_refused_beside_the_one_that_holds(made: Parts) -> None:
    async with made.worker(capacity=5) as hand, made.worker("w-1", capacity=1) as other:
        await made.queue.submit(_new(1))
        await eventually(lambda: hand.commands or other.commands, what="one is given it")
        holder, stranger = (hand, other) if hand.commands else (other, hand)
        given = await holder.given()
        with pytest.raises(Fenced):
            await stranger.completes(given)
        assert (await holder.completes(given)).accepted
