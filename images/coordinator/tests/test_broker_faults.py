"""Whatever breaks around the broker: nothing is lost, and nothing is completed twice."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats import connect

from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Database
from muster_testing.nats import NatsServer
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .broker_parts import Owner, brokered
from .broker_worker import BrokerWorker, Document, envelope, finish, ignore
from .harness import Replica, prepare, process, rows, serving

pytestmark = pytest.mark.integration

WORKERS = 3


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Owner]:
    await prepare(dsn)
    async with Database(dsn) as database:
        yield Owner(dsn, database)


async def connected(replica: Replica) -> Replica:
    async def probe() -> bool:
        ready = (await replica.ops.get("/ready")).json()
        return bool(ready["dependencies"]["broker"] == "connected")

    await eventually(probe, what="the broker is connected")
    return replica


@contextlib.asynccontextmanager
async def coordinator(
    dsn: str, server: NatsServer, home: Path, **more: Any
) -> AsyncIterator[Replica]:
    async with serving(dsn, brokered(server, **more), home) as replica:
        yield await connected(replica)


@contextlib.asynccontextmanager
async def fleet(server: NatsServer, handle: Any = finish) -> AsyncIterator[list[BrokerWorker]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(BrokerWorker(server, f"w-{i}", handle))
            for i in range(WORKERS)
        ]


async def some_done(dsn: str, count: int) -> None:
    async def probe() -> bool:
        query = "SELECT count(*) FROM workloads WHERE state = 'COMPLETED'"
        return bool((await rows(dsn, query))[0][0] >= count)

    await eventually(probe, every=0.02, what=f"{count} are completed")


async def slowly(worker: BrokerWorker, work: Document) -> None:
    await asyncio.sleep(0.05)
    await finish(worker, work)


@pytest.mark.parametrize("how", ["restart", "crash", "storage lost"])
async def test_a_broker_that_restarts_under_load(
    nats: NatsServer, dsn: str, owner: Owner, tmp_path: Path, how: str
) -> None:
    async with coordinator(dsn, nats, tmp_path) as replica, fleet(nats, slowly):
        ids = await owner.submit(150)
        for done in (10, 60):
            await some_done(dsn, done)
            await asyncio.to_thread(nats.stop if how == "restart" else nats.kill)
            if how == "storage lost":
                nats.lose_storage()
            ids += await owner.submit(20)
            await asyncio.to_thread(nats.start)
        await owner.all_completed(ids)
        await connected(replica)


async def test_a_short_outage_moves_no_work(
    nats: NatsServer, dsn: str, owner: Owner, tmp_path: Path
) -> None:
    async with (
        coordinator(dsn, nats, tmp_path, heartbeat_timeout="10m"),
        BrokerWorker(nats, handle=ignore) as worker,
    ):
        [one] = await owner.submit()
        work = await worker.told("workload.assign")
        claim = {key: work[key] for key in ("workload_id", "generation")}
        await worker.report("workload.ack", claim)
        await asyncio.to_thread(nats.restart)
        answer = await worker.report("workload.completed", claim | {"output": "{}"})
        assert answer["outcome"] == "accepted"
        done = await owner.reaches(one, State.COMPLETED)
        assert done.generation == work["generation"]
        # The session outlived it too.
        [other] = await owner.submit()
        assert (await worker.told("workload.assign", 2))["workload_id"] == str(other)


async def test_work_of_a_killed_worker_goes_to_another(
    nats: NatsServer, dsn: str, owner: Owner, tmp_path: Path
) -> None:
    async def begin(worker: BrokerWorker, work: Document) -> None:
        claim = {key: work[key] for key in ("workload_id", "generation")}
        await worker.report("workload.ack", claim)

    async with coordinator(dsn, nats, tmp_path):
        async with BrokerWorker(nats, "w-doomed", begin, capacity=2) as doomed:
            ids = await owner.submit(6)
            begun = await owner.begun(2)
            late = envelope(
                doomed.name,
                "workload.completed",
                {"workload_id": str(begun[0]), "generation": 1, "output": '"late"'},
            )
            await doomed.kill()
        async with BrokerWorker(nats, "w-heir") as heir:
            await owner.all_completed(ids)
            fenced = (
                "SELECT FROM audit WHERE event = 'report.fenced' AND worker_id = 'w-doomed' "
                "AND workload_id = $1"
            )
            before = len(await rows(dsn, fenced, begun[0]))
            # What the dead one had to say arrives after all.
            await heir.send(late)

            async def refused() -> bool:
                return len(await rows(dsn, fenced, begun[0])) > before

            await eventually(refused, what="the late report is refused")
        results = "SELECT count(*) FROM results WHERE output = $1"
        assert await rows(dsn, results, b'"late"') == [(0,)]
        assert set((await owner.events(ids, "workload.completed")).values()) == {1}


async def test_an_idle_worker_that_is_gone_is_found_by_the_next_work(
    nats: NatsServer, dsn: str, owner: Owner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    # Silence alone would take longer.
    async with coordinator(dsn, nats, tmp_path, heartbeat_timeout="10m"):
        async with BrokerWorker(nats, "w-gone", ignore, capacity=50) as gone:
            await gone.kill()
        ids = await owner.submit(3)
        async with BrokerWorker(nats, "w-there", capacity=1):
            await owner.all_completed(ids)
        reasons = {
            about["worker_id"]: about["reason"]
            for record in caplog.records
            if (about := vars(record))["message"] == "session ended"
        }
        assert reasons["w-gone"].startswith("workload.assign was not confirmed")


async def test_workers_follow_when_their_coordinator_dies(
    nats: NatsServer, dsn: str, owner: Owner, tmp_path: Path
) -> None:
    with process(dsn, brokered(nats, id="c-1"), tmp_path / "1") as doomed:
        replica = await connected(await doomed.serving())
        await replica.close()
        # They can register nowhere else.
        async with fleet(nats, slowly):
            ids = await owner.submit(60)
            await some_done(dsn, 10)
            async with coordinator(dsn, nats, tmp_path, id="c-2"):
                doomed.send(signal.SIGKILL)
                ids += await owner.submit(20)
                await owner.all_completed(ids)


async def test_a_coordinator_that_leaves_loses_nothing(
    nats: NatsServer, dsn: str, owner: Owner, tmp_path: Path
) -> None:
    (tmp_path / "1").mkdir()
    async with contextlib.AsyncExitStack() as first:
        await first.enter_async_context(coordinator(dsn, nats, tmp_path / "1", id="c-1"))
        async with fleet(nats, slowly), coordinator(dsn, nats, tmp_path, id="c-2"):
            ids = await owner.submit(60)
            await some_done(dsn, 10)
            await first.aclose()
            await owner.all_completed(ids)


async def test_events_are_kept_until_the_database_is_back(nats: NatsServer, tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(worker: BrokerWorker, work: Document) -> None:
        await gate.wait()
        await finish(worker, work)

    with PostgresServer() as postgres:
        dsn = await postgres.create_database()
        await prepare(dsn)
        async with coordinator(dsn, nats, tmp_path), BrokerWorker(nats, handle=wait) as worker:
            async with Database(dsn) as database:
                ids = await Owner(dsn, database).submit(4)
                await worker.told("workload.assign", 4)
            await asyncio.to_thread(postgres.stop, "immediate")
            gate.set()
            await eventually(lambda: kept(nats, 4), what="JetStream keeps what was reported")
            await asyncio.to_thread(postgres.start)
            async with Database(dsn) as database:
                await Owner(dsn, database).all_completed(ids)


async def kept(server: NatsServer, least: int) -> bool:
    client = await connect(server.url)
    try:
        stream = await client.jetstream().stream_info("MUSTER_EVENTS")
        return int(stream.state.messages) >= least
    finally:
        await client.close()
