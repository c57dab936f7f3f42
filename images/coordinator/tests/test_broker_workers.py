"""This repository's worker over the broker: the same work as over gRPC, through the same faults."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from muster_coordinator.engine.model import Requirement, Workload
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Database
from muster_testing.nats import NatsServer
from muster_testing.waiting import eventually

from .broker_parts import Owner, brokered
from .harness import Replica, rows, serving, worker_process

pytestmark = pytest.mark.integration

SLEEP = Requirement("demo", "sleep")


@contextlib.asynccontextmanager
async def coordinator(
    dsn: str, nats: NatsServer, home: Path, **more: str
) -> AsyncIterator[Replica]:
    document = brokered(nats, **more)
    document["proving"] = {
        "pools": [{"name": "demo", "insecure_setup": True, "circuits": [{"name": "addition"}]}]
    }
    document["workloads"] = {"pools": [{"name": "demo"}]}
    async with serving(dsn, document, home) as replica:
        yield replica


@contextlib.asynccontextmanager
async def worker(
    replica: Replica, nats: NatsServer, home: Path, name: str = "w-broker"
) -> AsyncIterator[asyncio.subprocess.Process]:
    await asyncio.to_thread(home.mkdir)
    own = {"workloads": ["sleep", "prove.addition"], "concurrency": 2, "heartbeat_interval": "1s"}
    broker = {"servers": [nats.url]}
    async with worker_process(replica, home, name, worker=own, broker=broker) as process:
        yield process


async def sleepers(owner: Owner, number: int, seconds: float) -> list[UUID]:
    wanted = json.dumps({"seconds": seconds}).encode()
    return await owner.submit(number, requirement=SLEEP, input=wanted)


async def test_it_proves_works_pauses_and_leaves(
    nats: NatsServer, dsn: str, tmp_path: Path
) -> None:
    async with (
        # A worker that is slow loses nothing.
        coordinator(dsn, nats, tmp_path, heartbeat_timeout="10m") as replica,
        worker(replica, nats, tmp_path / "w") as process,
        Database(dsn) as database,
    ):
        owner = Owner(dsn, database)
        proof = await replica.ends(await replica.add())
        assert (proof["status"], proof["verified"]) == ("completed", True)

        [short] = await sleepers(owner, 1, 0.1)
        done = await owner.reaches(short, State.COMPLETED)
        assert done.result is not None
        assert done.result.output is not None
        assert json.loads(done.result.output)["slept_seconds"] >= 0.1

        [resting] = await sleepers(owner, 1, 3600)
        await progresses(owner, resting)
        await owner.store.pause(resting, "default")
        paused = await owner.reaches(resting, State.PAUSED)
        assert paused.checkpoint_seq > 0
        await owner.store.resume(resting, "default")
        await owner.reaches(resting, State.RUNNING)
        await owner.store.cancel(resting, "default")

        [wrong] = await owner.submit(requirement=SLEEP, input=b'{"seconds": -1}')
        failed = await owner.reaches(wrong, State.FAILED)
        assert failed.error is not None
        assert "seconds" in failed.error

        [held] = await sleepers(owner, 1, 3600)
        await owner.reaches(held, State.RUNNING)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        await owner.reaches(held, State.PENDING)

        async def left() -> bool:
            return await rows(dsn, "SELECT id FROM workers") == []

        # It waits for the answer to its farewell for a moment only.
        await eventually(left, what="it has left")


async def progresses(owner: Owner, one: UUID) -> None:
    async def probe() -> Workload | None:
        found = await owner.store.get(one, "default")
        return found if found is not None and found.progress_message else None

    await eventually(probe, what="it says how far it is")


async def test_nothing_is_lost_while_everything_breaks(
    nats: NatsServer, dsn: str, tmp_path: Path
) -> None:
    async with (
        coordinator(dsn, nats, tmp_path) as replica,
        worker(replica, nats, tmp_path / "1", "w-1") as doomed,
        worker(replica, nats, tmp_path / "2", "w-2"),
        Database(dsn) as database,
    ):
        owner = Owner(dsn, database)
        ids = await sleepers(owner, 30, 0.2)
        await some_done(dsn, 4)
        await asyncio.to_thread(nats.restart)
        await some_done(dsn, 10)
        doomed.kill()
        await some_done(dsn, 14)
        await asyncio.to_thread(nats.kill)
        await asyncio.to_thread(nats.start)
        await owner.all_completed(ids)


async def some_done(dsn: str, count: int) -> None:
    async def probe() -> bool:
        query = "SELECT count(*) FROM workloads WHERE state = 'COMPLETED'"
        return bool((await rows(dsn, query))[0][0] >= count)

    await eventually(probe, what=f"{count} are completed")
