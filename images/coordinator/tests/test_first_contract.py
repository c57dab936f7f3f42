"""Workers of other makes, which know the first contract only, and ping as they always did."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muster_testing.waiting import eventually

from .first_contract.worker import PINGS, WORKER
from .harness import Replica, made_key, serving, settings

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).parent / "first_contract" / "worker.py"


class Program:
    """The worker as a process, and what it told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.told if one["event"] == event]

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.told.append(json.loads(line))

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reading


@contextlib.asynccontextmanager
async def first_worker(replica: Replica, home: Path) -> AsyncIterator[Program]:
    key = made_key()
    (home / "proving.key").write_bytes(key.proving_key)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), replica.target, str(home / "proving.key"), key.version),
        stdout=asyncio.subprocess.PIPE,
    )
    program = Program(process)
    try:
        yield program
    finally:
        await program.close()


async def _status(replica: Replica) -> str:
    workers = (await replica.ops.get("/workers")).json()["workers"]
    found = {one["worker_id"]: one["status"] for one in workers}
    return str(found.get(WORKER))


@contextlib.asynccontextmanager
async def pinging(replica: Replica, every_ms: int) -> AsyncIterator[asyncio.Task[str]]:
    """A client whose one call says nothing, and that pings; the task says how the call ended."""
    options = [("grpc.keepalive_time_ms", every_ms), *PINGS[1:]]
    async with grpc.aio.insecure_channel(replica.target, options=options) as channel:
        call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await call.read()

        async def end() -> str:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call.read()
            return f"{(await call.code()).name}: {await call.details()}"

        ending = asyncio.create_task(end())
        try:
            yield ending
        finally:
            call.cancel()
            await asyncio.wait({ending})


async def test_a_worker_of_the_first_contract_proves_and_stays_connected(
    dsn: str, tmp_path: Path
) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        first_worker(replica, tmp_path) as worker,
        pinging(replica, every_ms=10_000) as silent,
    ):
        await eventually(lambda: worker.of("registered"), what="it is registered")
        assert worker.of("registered")[0]["success"]
        task = await replica.ends(await replica.add())
        assert (task["status"], task["retry_count"], task["verified"]) == ("completed", 1, True)
        assert task["worker_id"] == WORKER
        # Long enough for a server that counts pings to have had enough of them.
        await eventually(lambda: len(worker.of("beat")) >= 4, deadline=90, what="four heartbeats")
        assert all(beat["success"] for beat in worker.of("beat"))
        assert not worker.of("broken")
        assert not silent.done(), silent.result()
        assert await _status(replica) == "ACTIVE"
        assert (await replica.ends(await replica.add()))["status"] == "completed"
        assert {one["circuit"] for one in worker.of("assigned")} == {"addition"}


async def test_a_client_that_does_nothing_but_ping_is_cut_off(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        pinging(replica, every_ms=1000) as ended,
    ):
        async with asyncio.timeout(60):
            assert await ended == "UNAVAILABLE: Too many pings"
