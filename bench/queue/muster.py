"""The contender that is Muster: a whole coordinator in this process, as its own workers are.

River is a library in the process of its user, so the engine is driven in the same way: what is left
out is gRPC and HTTP, which have a bench of their own.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import uvloop

from muster_coordinator.app import Coordinator
from muster_coordinator.config import CoordinatorConfig
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import (
    Assignment,
    Claim,
    NewWorkload,
    Registration,
    Requirement,
)
from muster_coordinator.engine.ports import Submission, Verdict
from muster_testing.waiting import eventually

_NEED = Requirement("bench", "nothing")
_PLACES = 100
"""Of each simulated worker."""

_RESULT = Submission(duration_ms=0, output=b"{}")
_SECONDS = 300.0
_BEAT_SECONDS = 5.0
_BATCH = 1000


def _document(dsn_file: str) -> dict[str, Any]:
    return {
        "coordinator": {
            "id": "bench",
            "grpc_port": 0,
            "http_port": 0,
            "ops_port": 0,
            "batch_size": _BATCH,
            "max_queued": 0,
        },
        "database": {"dsn_file": dsn_file},
        "leader_election": {"backend": "advisory-lock"},
        "workloads": {"pools": [{"name": "bench"}]},
    }


class Bench:
    """A coordinator, and workers that are done at once."""

    def __init__(self, coordinator: Coordinator, dsn: str) -> None:
        self._dsn = dsn
        # What the faces are given.
        self._queue = coordinator._queue
        self._registry = coordinator._registry
        self._delivery = coordinator._delivery
        self._reports = coordinator._reports
        self._left = 0
        self._all_done = asyncio.Event()
        self._begun: asyncio.Queue[float] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, workers: int) -> None:
        """Bring workers up that work on so many jobs at once, in all."""
        opened = []
        for number in range(max(1, workers // _PLACES)):
            name = f"w-{number:03}"
            types = frozenset({_NEED.type})
            await self._registry.register(Registration(name, _NEED.pool, _PLACES, types))
            ready = asyncio.Event()
            opened.append(ready)
            self._keep(self._work(name, ready))
            self._keep(self._beat(name))
        for ready in opened:
            await ready.wait()

    async def run(self, jobs: int, batch: int) -> float:
        """Seconds from the first submission until the last job is stored as completed."""
        begun = time.perf_counter()
        self._expect(jobs)
        for first in range(0, jobs, batch):
            await self._queue.submit(
                [self._workload(number) for number in range(first, min(jobs, first + batch))]
            )
        await self._done()
        seconds = time.perf_counter() - begun
        await self._check()
        return seconds

    async def idle(self, times: int) -> list[float]:
        """Seconds from each of many lone submissions until the job is stored as running."""
        found = []
        for _ in range(times):
            self._expect(1)
            begun = time.perf_counter()
            await self._queue.submit([self._workload(-1)])
            found.append(await self._begun.get() - begun)
            await self._done()
        return found

    async def insert(self, rate: float, length: float) -> list[float]:
        """Seconds of each of many single submissions at a steady rate."""
        number = int(rate * length)
        self._expect(number)
        begun = time.perf_counter()

        async def one(after: float) -> float:
            await asyncio.sleep(begun + after - time.perf_counter())
            at = time.perf_counter()
            await self._queue.submit([self._workload(0)])
            return time.perf_counter() - at

        found = await asyncio.gather(*(one(i / rate) for i in range(number)))
        await self._done()
        return list(found)

    def _workload(self, number: int) -> NewWorkload:
        return NewWorkload(new_id(), _NEED, json.dumps({"number": number}).encode())

    def _expect(self, jobs: int) -> None:
        self._left = jobs
        self._all_done.clear()

    async def _done(self) -> None:
        async with asyncio.timeout(_SECONDS):
            await self._all_done.wait()

    async def _work(self, name: str, ready: asyncio.Event) -> None:
        async with self._delivery.open(name) as stream:
            ready.set()
            async for command in stream.commands():
                if not isinstance(command, Assignment):
                    continue
                claim = Claim(command.workload_id, name, command.generation)
                if b"-1" in command.input:
                    self._keep(self._begin(claim))
                else:
                    self._finish(claim)

    async def _beat(self, name: str) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            await self._registry.beat(name, 0)

    async def _begin(self, claim: Claim) -> None:
        await self._reports.start(claim)
        self._begun.put_nowait(time.perf_counter())
        self._finish(claim)

    def _finish(self, claim: Claim) -> None:
        self._reports.completion(claim, _RESULT).add_done_callback(self._finished)

    def _finished(self, answer: "asyncio.Future[Verdict]") -> None:
        if answer.cancelled():
            return
        if answer.exception() is not None or not answer.result().accepted:
            raise SystemExit(f"a result is refused: {answer}")
        self._left -= 1
        if not self._left:
            self._all_done.set()

    async def _check(self) -> None:
        """Each job has its result, and each step of it stands in the audit."""
        connection = await asyncpg.connect(self._dsn)
        try:
            row = await connection.fetchrow(
                "SELECT count(*) FILTER (WHERE state <> 'COMPLETED'), count(*),"
                " (SELECT count(*) FROM results),"
                " (SELECT count(*) FROM audit WHERE workload_id IS NOT NULL) FROM workloads"
            )
        finally:
            await connection.close()
        open_, done, results, events = row or (-1, 0, 0, 0)
        if open_ or results != done or events < 4 * done:
            raise RuntimeError(f"{open_} open, {done} jobs, {results} results, {events} events")

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            raise SystemExit(f"a worker broke: {task.exception()!r}")

    def close(self) -> None:
        """Let the workers go."""
        for task in self._tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def bench(dsn: str, workers: int) -> AsyncIterator[Bench]:
    """A running coordinator that leads, with its workers."""
    config = CoordinatorConfig.model_validate(_document("/dev/null"))
    coordinator = Coordinator(config, dsn, {})
    stop = asyncio.Event()
    running = asyncio.create_task(coordinator.run(stop, "bench"))
    await eventually(lambda: coordinator.ports or running.done(), what="it serves")
    await eventually(lambda: coordinator._leader.epoch, what="it leads")
    made = Bench(coordinator, dsn)
    try:
        await made.open(workers)
        yield made
    finally:
        made.close()
        stop.set()
        await running


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    first = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    async with bench(first["dsn"], first["workers"]) as open_:
        print(json.dumps({"seconds": []}), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps({"seconds": await _answer(open_, json.loads(line))}), flush=True)


async def _answer(bench: Bench, request: dict[str, Any]) -> list[float]:
    match request["do"]:
        case "run":
            return [await bench.run(request["jobs"], request["batch"])]
        case "idle":
            return await bench.idle(request["times"])
        case "insert":
            return await bench.insert(request["rate"], request["length"])
    raise ValueError(f"cannot {request['do']!r}")


if __name__ == "__main__":
    uvloop.run(_serve())
