"""The contender that is Muster: two coordinators, PostgreSQL, and a fleet in this process."""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import httpx
import uvloop
import yaml

from bench.dispatch.fleet import (
    CallingWorker,
    SimulatedWorker,
    StreamingWorker,
    Work,
    close_all,
    wait_all,
)
from bench.dispatch.serving import serve
from muster_coordinator.engine.batching import Batcher
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Requirement
from muster_coordinator.store.database import Database, Limits
from muster_coordinator.store.queue import PostgresQueue
from muster_proving import CircuitSpec, load_proving_key, load_verifying_key, parse_inputs
from muster_testing.postgres import PostgresServer

_SPEC = CircuitSpec.from_key_id("addition-poseidon@bn254")
_INPUTS = 64
_JSON = {"Content-Type": "application/json"}
_READY_SECONDS = 60.0


def _document(home: Path, name: str) -> dict[str, Any]:
    circuit = {"name": _SPEC.name, "curve": _SPEC.curve.value}
    return {
        "coordinator": {"id": name, "grpc_port": 0, "http_port": 0, "ops_port": 0},
        "http": {"rate_limit": 0},
        "database": {"dsn_file": str(home / "dsn")},
        "leader_election": {"backend": "advisory-lock"},
        "proving": {"pools": [{"name": "bench", "insecure_setup": True, "circuits": [circuit]}]},
    }


@contextlib.contextmanager
def coordinator(dsn: str, name: str) -> Iterator[dict[str, int]]:
    """A coordinator as it is in production, but for its ports and its rate limit; yields these."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        home = Path(folder)
        (home / "dsn").write_text(dsn)
        (home / "config.yaml").write_text(yaml.safe_dump(_document(home, name)))
        command = [sys.executable, "-m", "muster_coordinator", "--config"]
        with (
            (home / "log").open("w") as log,
            subprocess.Popen([*command, str(home / "config.yaml")], stderr=log) as process,
        ):
            try:
                yield _ports(process, home / "log")
            finally:
                process.terminate()
                process.wait(_READY_SECONDS)


def _ports(process: subprocess.Popen[bytes], log: Path) -> dict[str, int]:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            ports = json.loads(line).get("ports")
            if ports:
                answer = _ready(ports["ops"])
                if answer:
                    return dict(ports)
        time.sleep(0.1)
    raise RuntimeError(f"the coordinator does not serve: {log.read_text()[-2000:]}")


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


class Bench:
    """A coordinator that leads, with its fleet, and one that follows.

    Many tasks are submitted as the HTTP face does it, lone ones over HTTP.

    Args:
        leader, follower: the ports of each.
    """

    def __init__(self, dsn: str, leader: dict[str, int], follower: dict[str, int]) -> None:
        self._dsn = dsn
        self._ports = leader
        self._faces = {"": leader["http"], "elsewhere_": follower["http"]}
        self._workers: list[SimulatedWorker] = []
        self._open: set[str] = set()
        self._all_accepted = asyncio.Event()

    async def open(self, workers: int, *, starts: bool, single_calls: bool) -> dict[str, Any]:
        """Make proofs, and bring the fleet up; tells the port of the database."""
        self._database = Database(self._dsn, Limits(max_connections=4, idle_connections=2))
        await self._database.open()
        self._store = PostgresQueue(self._database)
        # As the engine takes submissions in.
        self._submit: Batcher[NewWorkload, None] = Batcher(self._store_batch, size=200)
        row = await self._database.fetchrow(
            "SELECT version, proving_key, verifying_key FROM proving_keys"
        )
        assert row is not None
        version = row["version"]
        self._need = Requirement("bench", _SPEC.task_type, _SPEC.key_id, version)
        prover = load_proving_key(_SPEC, row["proving_key"], version)
        verifier = load_verifying_key(_SPEC, row["verifying_key"], version)
        proofs: dict[bytes, bytes] = {}
        for number in range(_INPUTS):
            inputs = parse_inputs(_SPEC, {"a": number, "b": 2**100 + number})
            bundle = prover.prove(inputs)
            assert verifier.verify(bundle.public, bundle.proof)
            proofs[json.dumps(inputs, separators=(",", ":")).encode()] = bundle.proof
        self._inputs = list(proofs)
        kind: type[SimulatedWorker] = CallingWorker if single_calls else StreamingWorker
        work = Work(proofs, self._accept, starts)
        target = f"127.0.0.1:{self._ports['grpc']}"
        self._workers = [kind(target, f"w-{number:03}", work) for number in range(workers)]
        await wait_all(self._workers, f"{_SPEC.key_id}={version}")
        self._http = aiohttp.ClientSession()
        return {"database_port": urlsplit(self._dsn).port}

    async def close(self) -> None:
        """Let everything go."""
        await self._http.close()
        await close_all(self._workers)
        await self._database.close()

    async def _store_batch(self, batch: list[NewWorkload]) -> list[None]:
        await self._store.submit(batch)
        return [None] * len(batch)

    def _accept(self, task_id: str) -> None:
        self._open.discard(task_id)
        if not self._open:
            self._all_accepted.set()

    def _workload(self, number: int) -> NewWorkload:
        workload = NewWorkload(new_id(), self._need, self._inputs[number % len(self._inputs)])
        self._open.add(str(workload.id))
        return workload

    async def run(self, tasks: int) -> float:
        """Seconds from the first submission to the last accepted proof."""
        self._all_accepted.clear()
        batch = [self._workload(number) for number in range(tasks)]
        begun = time.perf_counter()
        await asyncio.gather(*(self._submit(one) for one in batch))
        async with asyncio.timeout(120):
            await self._all_accepted.wait()
        seconds = time.perf_counter() - begun
        await self._check([str(one.id) for one in batch])
        return seconds

    async def idle(self, times: int) -> dict[str, list[float]]:
        """Seconds from each of many lone submissions to its assignment on a stream.

        `seconds` from when the leader was asked, `answered` from its answer, which is negative
        where the worker was quicker; `elsewhere_seconds` and `elsewhere_answered` of as many tasks
        that the other coordinator took in.
        """
        found = defaultdict(list)
        for number in range(times):
            for where, port in self._faces.items():
                asked, answered, arrived = await self._lone(number, port)
                found[f"{where}seconds"].append(arrived - asked)
                found[f"{where}answered"].append(arrived - answered)
                # So that nothing is at work any more on the one before.
                await asyncio.sleep(0.05)
        return dict(found)

    async def _lone(self, number: int, port: int) -> tuple[float, float, float]:
        """When one task was sent, was answered, and was at a worker."""
        # It is the only one, and may be done before its answer tells its id.
        self._all_accepted.clear()
        url = f"http://127.0.0.1:{port}/api/v1/tasks/{_SPEC.name}"
        body = self._inputs[number % len(self._inputs)]
        asked = time.perf_counter()
        async with self._http.post(url, data=body, headers=_JSON) as answer:
            answered = time.perf_counter()
            told = await answer.json()
        if answer.status != HTTPStatus.ACCEPTED:
            raise RuntimeError(f"not taken in: {told}")
        task_id = told["task_id"]
        async with asyncio.timeout(30):
            await self._all_accepted.wait()
        [arrived] = [one.arrived[task_id] for one in self._workers if task_id in one.arrived]
        return asked, answered, arrived

    async def _check(self, ids: list[str]) -> None:
        """Every task was accepted once, verified, and its whole way is in the audit."""
        connection = await asyncpg.connect(self._dsn)
        try:
            row = await connection.fetchrow(
                "SELECT count(*) FILTER (WHERE verified) AS verified, (SELECT count(*) "
                "FROM audit WHERE workload_id = ANY ($1::uuid[])) AS events "
                "FROM results WHERE workload_id = ANY ($1::uuid[])",
                ids,
            )
        finally:
            await connection.close()
        assert row is not None
        if (row["verified"], row["events"]) != (len(ids), 4 * len(ids)):
            raise RuntimeError(f"of {len(ids)} tasks: {dict(row)}")


def main() -> None:
    """Answer requests until standard input ends."""
    with (
        PostgresServer() as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        dsn = runner.run(server.create_database())
        # The one that is up first leads.
        with coordinator(dsn, "bench-0") as leader, coordinator(dsn, "bench-1") as follower:
            runner.run(serve(Bench(dsn, leader, follower)))


if __name__ == "__main__":
    main()
