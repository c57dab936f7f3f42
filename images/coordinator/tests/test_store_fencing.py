"""Fences of the store: generations against old workers, epochs against old leaders."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from muster_coordinator.engine.errors import EngineError, Fenced, NotFound, StaleEpoch
from muster_coordinator.engine.fencing import judge
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import (
    Claim,
    Held,
    KeyRecord,
    Move,
    Moved,
    NewWorkload,
    Proof,
    Registration,
    Requirement,
    Result,
)
from muster_coordinator.engine.ports import Decision, HealthLimits
from muster_coordinator.engine.retry import RetryPolicy
from muster_coordinator.engine.scheduling import open_lanes, place
from muster_coordinator.engine.scheduling.strategies import LeastLoaded
from muster_coordinator.engine.states import State
from muster_coordinator.store.assignments import PostgresAssignments
from muster_coordinator.store.database import Database
from muster_coordinator.store.keys import PostgresKeys
from muster_coordinator.store.leadership import PostgresLeadership, fence
from muster_coordinator.store.migrate import migrate
from muster_coordinator.store.queue import PostgresQueue
from muster_coordinator.store.workers import PostgresWorkers

from .harness import rows
from .parts import PATIENT

pytestmark = pytest.mark.integration

# With a key, so that workers are given one ahead.
NEED = Requirement("demo", "sleep", "a key", "v1")
RESULT = Result(5, Proof(b"proof", ("1", "2"), "none", "v1", verified=True))


@pytest_asyncio.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    await migrate(dsn)
    async with Database(dsn) as opened:
        yield opened


async def _connect(database: Database, name: str, capacity: int = 10) -> None:
    workers = PostgresWorkers(database)
    await workers.replica_lives("c-0")
    await workers.register(Registration(name, "demo", capacity, frozenset({"sleep"})))
    assert await workers.open_stream(name, "c-0", new_id())


async def _assign(database: Database, epoch: int) -> list[Moved]:
    leadership, workers = PostgresLeadership(database), await PostgresWorkers(database).workers()
    lanes = open_lanes(await leadership.waiting(), workers, 1, 100)
    return await leadership.assign(
        epoch, lanes, lambda found: place(found, workers, LeastLoaded(), 1), lease=60.0
    )


async def _submit(database: Database, count: int = 1) -> list[UUID]:
    batch = [NewWorkload(new_id(), NEED, b"{}") for _ in range(count)]
    await PostgresQueue(database).submit(batch)
    return [one.id for one in batch]


def _complete(claim: Claim, held: Held | None) -> Decision | EngineError:
    error = judge(claim, held)
    if error is not None or held is None:
        return error or Decision()
    done = Move(held.id, held.state, State.COMPLETED, "workload.completed", begun=True)
    return Decision(done, RESULT)


async def test_what_waits_beyond_its_deadline_is_not_assigned(database: Database) -> None:
    leadership = PostgresLeadership(database)
    epoch, since = await leadership.take_epoch("c-0")
    await _connect(database, "w-0")
    late, timely = (
        NewWorkload(new_id(), NEED, b"{}", deadline=since + timedelta(seconds=seconds))
        for seconds in (-1, 3600)
    )
    await PostgresQueue(database).submit([late, timely])
    assert [one.id for one in await _assign(database, epoch)] == [timely.id]


async def test_a_leader_that_was_followed_can_write_nothing(database: Database) -> None:
    leadership = PostgresLeadership(database)
    old, since = await leadership.take_epoch("c-0")
    new, _ = await leadership.take_epoch("c-1")
    assert new == old + 1 == await leadership.epoch()
    await _connect(database, "w-0")
    [task_id] = await _submit(database)
    limits, key = PATIENT, KeyRecord("k", "v", "0", 1, insecure=True)

    for write in (
        lambda epoch: _assign(database, epoch),
        lambda epoch: leadership.judge_workers(epoch, limits, since),
        lambda epoch: leadership.recover(epoch, since, limits, RetryPolicy().lost),
        lambda epoch: leadership.maintain(epoch, limits),
        lambda epoch: PostgresKeys(database).add(epoch, key, b"p", b"v"),
    ):
        with pytest.raises(StaleEpoch, match=f"epoch {old} is over: epoch {new} of c-1"):
            await write(old)
        await write(new)

    [found] = await PostgresWorkers(database).workers()
    assert found.load == 1
    workload = await PostgresQueue(database).get(task_id, "default")
    assert workload is not None
    assert workload.generation == 1


async def test_no_epoch_begins_within_a_leaders_transaction(database: Database) -> None:
    leadership = PostgresLeadership(database)
    epoch, _ = await leadership.take_epoch("c-0")
    fenced, finish = asyncio.Event(), asyncio.Event()

    async def write(connection: object) -> None:
        await fence(connection, epoch)  # type: ignore[arg-type]
        fenced.set()
        await finish.wait()

    writing = asyncio.create_task(database.run(write))
    await fenced.wait()
    following = asyncio.create_task(leadership.take_epoch("c-1"))
    done, _ = await asyncio.wait({following}, timeout=0.3)
    assert not done
    finish.set()
    await writing
    assert (await following)[0] == epoch + 1


async def test_an_older_generation_is_refused_and_leaves_a_trace(
    database: Database, dsn: str
) -> None:
    epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
    await _connect(database, "w-0")
    [task_id] = await _submit(database)
    assignments = PostgresAssignments(database)
    await _assign(database, epoch)
    await assignments.take_back("w-0", "a test", RetryPolicy().lost)
    [again] = await _assign(database, epoch)
    assert again.generation == 2

    [refused] = await assignments.report([Claim(task_id, "w-0", 1)], _complete)
    assert isinstance(refused, Fenced)
    [unknown] = await assignments.report([Claim(new_id(), "w-0", 1)], _complete)
    assert isinstance(unknown, NotFound)
    [done] = await assignments.report([Claim(task_id, "w-0", 2)], _complete)
    assert isinstance(done, Moved)
    traces = await rows(
        dsn,
        "SELECT workload_id, worker_id, generation FROM audit WHERE event = 'report.fenced'",
    )
    assert traces == [(task_id, "w-0", 1)]


async def test_of_many_reports_on_one_task_exactly_one_counts(database: Database, dsn: str) -> None:
    epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
    await _connect(database, "w-0")
    [task_id] = await _submit(database)
    await _assign(database, epoch)
    assignments = PostgresAssignments(database)
    claim = Claim(task_id, "w-0", 1)
    answers = await asyncio.gather(
        *(assignments.report([claim, claim], _complete) for _ in range(10))
    )
    moved = [one for answer in answers for one in answer if isinstance(one, Moved)]
    assert len(moved) == 1
    assert await rows(dsn, "SELECT count(*) FROM results") == [(1,)]
    completed = "SELECT count(*) FROM audit WHERE event = 'workload.completed'"
    assert await rows(dsn, completed) == [(1,)]


async def test_what_moved_after_it_was_read_is_judged_anew(database: Database, dsn: str) -> None:
    epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
    await _connect(database, "w-0")
    ids = await _submit(database, 2)
    await _assign(database, epoch)
    assignments = PostgresAssignments(database)
    claims = [Claim(task_id, "w-0", 1) for task_id in ids]

    def begin(claim: Claim, held: Held | None) -> Decision | EngineError:
        error = judge(claim, held)
        if error is not None or held is None:
            return error or Decision()
        if held.state is State.RUNNING:
            return Decision()
        return Decision(Move(held.id, held.state, State.RUNNING, "workload.started", lease=60.0))

    await assignments.report(claims, begin)
    seen = {one: found.held for one, found in (await assignments.statements(ids)).items()}
    await PostgresQueue(database).cancel(ids[0], "default")
    # The second report on the cancelled task must not be told that the first was accepted.
    cancelled, other, repeated = await assignments.report([*claims, claims[0]], _end, seen)
    assert isinstance(cancelled, Fenced)
    assert isinstance(repeated, Fenced)
    assert isinstance(other, Moved)
    assert await rows(dsn, "SELECT workload_id FROM results") == [(ids[1],)]
    traces = "SELECT workload_id FROM audit WHERE event = 'report.fenced'"
    assert await rows(dsn, traces) == [(ids[0],), (ids[0],)]


def _end(claim: Claim, held: Held | None) -> Decision | EngineError:
    if held is not None and held.state is State.COMPLETED:
        return Decision()
    error = judge(claim, held)
    if error is not None or held is None:
        return error or Decision()
    return Decision(Move(held.id, held.state, State.COMPLETED, "workload.completed"), RESULT)


async def test_nothing_is_given_to_a_worker_that_was_quarantined_meanwhile(
    database: Database,
) -> None:
    leadership, workers = PostgresLeadership(database), PostgresWorkers(database)
    epoch, _ = await leadership.take_epoch("c-0")
    await _connect(database, "liar")
    [task_id] = await _submit(database)
    seen = await workers.workers()
    await workers.quarantine("liar", "a lie", 3600.0)
    lanes = open_lanes(await leadership.waiting(), seen, 1, 100)
    assert lanes
    assert (
        await leadership.assign(
            epoch, lanes, lambda found: place(found, seen, LeastLoaded(), 1), lease=60.0
        )
        == []
    )
    workload = await PostgresQueue(database).get(task_id, "default")
    assert workload is not None
    assert (workload.state, workload.generation) == (State.PENDING, 0)


async def test_what_a_worker_is_given_after_its_quarantine_stays_its_own(
    database: Database,
) -> None:
    assignments, workers = PostgresAssignments(database), PostgresWorkers(database)
    epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
    await _connect(database, "w-0")
    [task_id] = await _submit(database)
    await _assign(database, epoch)
    await workers.quarantine("w-0", "a lie", 3600.0)
    back = [State.PENDING]
    for expected in (back, []):
        moved = await assignments.take_back("w-0", "a lie", RetryPolicy().lost, quarantined=True)
        assert [one.after for one in moved] == expected
        await workers.lift_quarantine("w-0")
        await _assign(database, epoch)
    workload = await PostgresQueue(database).get(task_id, "default")
    assert workload is not None
    assert (workload.state, workload.generation) == (State.SCHEDULED, 2)


async def test_leaders_that_assign_at_once_assign_each_task_once(database: Database) -> None:
    epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
    for name in ("w-0", "w-1", "w-2"):
        await _connect(database, name)
    ids = await _submit(database, 20)
    rounds = await asyncio.gather(*(_assign(database, epoch) for _ in range(4)))
    given = [one.id for moved in rounds for one in moved]
    assert sorted(given) == sorted(ids)


async def test_what_all_free_workers_failed_waits_and_blocks_nobody(database: Database) -> None:
    epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
    policy = RetryPolicy()

    def fail(_: Claim, held: Held | None) -> Decision | EngineError:
        assert held is not None
        return Decision(policy.refused(held, "wrong"))

    await _connect(database, "busy", capacity=1)
    await _submit(database, 2)
    await _assign(database, epoch)
    await _connect(database, "free", capacity=1)
    failed = await _submit(database, 2)
    await _assign(database, epoch)
    claims = [Claim(task_id, "free", 1) for task_id in failed]
    await PostgresAssignments(database).report(claims, fail)

    assert await _assign(database, epoch) == []
    [other] = await _submit(database)
    [placed] = await _assign(database, epoch)
    assert (placed.id, placed.worker_id) == (other, "free")
    await _connect(database, "third", capacity=1)
    assert {one.id for one in await _assign(database, epoch)} == set(failed)


async def test_a_submission_that_is_stored_twice_is_one(database: Database) -> None:
    workload = NewWorkload(new_id(), NEED, b"{}")
    queue = PostgresQueue(database)
    await queue.submit([workload])
    await queue.submit([workload])
    [depth] = await queue.depth()
    assert depth.pending == 1


async def test_silence_before_the_database_was_seen_does_not_count(database: Database) -> None:
    leadership = PostgresLeadership(database)
    epoch, _ = await leadership.take_epoch("c-0")
    await _connect(database, "w-0")
    limits = HealthLimits(suspect=0.0, dead=3600.0)
    assert await leadership.judge_workers(epoch, limits, datetime.now(UTC).replace(year=2999)) == []
    changed = await leadership.judge_workers(epoch, limits, datetime(2000, 1, 1, tzinfo=UTC))
    assert [(name, status.value) for name, status in changed] == [("w-0", "SUSPECT")]
