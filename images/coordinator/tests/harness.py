"""Real coordinators for the tests: in this process, or as processes of their own."""

import asyncio
import contextlib
import functools
import hashlib
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import yaml

from muster_coordinator.app import Coordinator, Ports
from muster_coordinator.config import CoordinatorConfig
from muster_coordinator.engine.model import KeyRecord
from muster_coordinator.store.database import Database
from muster_coordinator.store.keys import PostgresKeys
from muster_coordinator.store.migrate import migrate
from muster_coordinator.store.witnesses import Witnesses
from muster_proving import KeyMaterial, generate_insecure_key, parse_circuit
from muster_runtime.config import load
from muster_testing import processes
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

ADDITION = {"name": "addition"}
SMALL_TREE = {"name": "merkle", "size": 4}

# What httpx makes by itself reads all authorities of the machine, for each client anew.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def settings(**coordinator: Any) -> dict[str, Any]:
    """A configuration with free ports, short times, and one pool that proves quickly."""
    return {
        "coordinator": {
            "id": "c-0",
            "grpc_port": 0,
            "http_port": 0,
            "ops_port": 0,
            "poll_interval": "200ms",
            "drain_timeout": "10s",
        }
        | coordinator,
        "http": {"rate_limit": 0},
        # The lock goes with its connection, so that who is slow may keep it.
        "leader_election": {
            "backend": "advisory-lock",
            "lease_duration": "60s",
            "renew_deadline": "30s",
            "retry_period": "100ms",
        },
        "proving": {"pools": [{"name": "demo", "insecure_setup": True, "circuits": [ADDITION]}]},
    }


class Replica:
    """A coordinator under test, and clients to its ports.

    Attributes:
        coordinator, dsn: the process and its database, where it runs in this process.
    """

    def __init__(self, ports: Ports, coordinator: Coordinator | None = None, dsn: str = "") -> None:
        self.ports = ports
        self.coordinator = coordinator
        self.dsn = dsn
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports.http}", timeout=httpx.Timeout(60.0), verify=NO_TLS
        )
        self.ops = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports.ops}", timeout=httpx.Timeout(60.0), verify=NO_TLS
        )

    @property
    def target(self) -> str:
        """Where its gRPC server is."""
        return f"127.0.0.1:{self.ports.grpc}"

    async def ready(self) -> "Replica":
        """Wait until it is ready."""

        async def probe() -> bool:
            return (await self.ops.get("/ready")).status_code == 200

        await eventually(probe, what="the coordinator is ready")
        return self

    async def leads(self) -> "Replica":
        """Wait until it leads, which it may do only after it is ready."""

        async def probe() -> bool:
            return bool((await self.ops.get("/ready")).json()["is_leader"])

        await eventually(probe, what="the coordinator leads")
        return self

    async def add(self, a: int = 1, b: int = 2, **more: Any) -> str:
        """Submit an addition; the task's id."""
        answer = await self.http.post("/api/v1/tasks/addition", json={"a": a, "b": b} | more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    async def task(self, task_id: str, wait: str = "0s") -> dict[str, Any]:
        """A task as clients see it."""
        answer = await self.http.get(f"/api/v1/tasks/{task_id}", params={"wait": wait})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def ends(self, task_id: str) -> dict[str, Any]:
        """A task at its end."""

        async def probe() -> dict[str, Any] | None:
            task = await self.task(task_id, wait="5s")
            return task if task["status"] in {"completed", "failed", "cancelled"} else None

        found: dict[str, Any] = await eventually(probe, what=f"task {task_id} ends")
        return found

    async def reaches(self, task_id: str, status: str) -> dict[str, Any]:
        """A task once it has a status."""

        async def probe() -> dict[str, Any] | None:
            task = await self.task(task_id)
            assert task["status"] == status
            return task

        found: dict[str, Any] = await eventually(probe, what=f"task {task_id} is {status}")
        return found

    async def metric(self, line: str) -> float:
        """The value of one sample, as `name{label="value"}`."""
        for found in (await self.ops.get("/metrics")).text.splitlines():
            name, _, value = found.rpartition(" ")
            if name == line:
                return float(value)
        raise AssertionError(f"no sample {line}")

    async def close(self) -> None:
        """Close the clients."""
        await self.http.aclose()
        await self.ops.aclose()


@functools.cache
def made_key() -> KeyMaterial:
    """The key of additions that all these tests share."""
    return generate_insecure_key(parse_circuit("addition"))


async def prepare(dsn: str) -> None:
    """Make the schema and store the one key of all tests, whose tables are built only once."""
    if not await migrate(dsn):
        return
    made = made_key()
    digest = hashlib.sha256(made.proving_key).hexdigest()
    record = KeyRecord(made.spec.key_id, made.version, digest, len(made.proving_key), insecure=True)
    async with Database(dsn) as database:
        await PostgresKeys(database).add(0, record, made.proving_key, made.verifying_key)


@contextlib.asynccontextmanager
async def serving(
    dsn: str,
    document: dict[str, Any],
    tmp_path: Path,
    witnesses: Witnesses | None = None,
    *,
    ready: bool = True,
) -> AsyncIterator[Replica]:
    """A coordinator in this process while the context is open; `ready` waits until it is that."""
    await prepare(dsn)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    coordinator = Coordinator(load(CoordinatorConfig, path, {}), dsn, {}, witnesses=witnesses)
    stop = asyncio.Event()
    running = asyncio.create_task(coordinator.run(stop, "0.0.0"))

    def bound() -> Ports | None:
        if running.done():
            raise RuntimeError(f"the coordinator stopped: {running}")
        return coordinator.ports

    ports = await eventually(bound, what="the coordinator serves")
    assert ports is not None
    replica = Replica(ports, coordinator, dsn)
    try:
        yield (await replica.ready()) if ready else replica
    finally:
        await replica.close()
        stop.set()
        assert await running == 0


class Process(processes.Process):
    """A coordinator as a process of its own."""

    def __init__(
        self, dsn: str, document: dict[str, Any], home: Path, *, skew: float | None = None
    ) -> None:
        home.mkdir()
        (home / "dsn").write_text(dsn)
        database = document.get("database", {}) | {"dsn_file": str(home / "dsn")}
        document = document | {"database": database}
        (home / "config.yaml").write_text(yaml.safe_dump(document))
        script = str(Path(__file__).with_name("skewed.py"))
        program = ["-m", "muster_coordinator"] if skew is None else [script, str(skew)]
        super().__init__([*program, "--config", str(home / "config.yaml")])

    async def serving(self) -> Replica:
        """Wait until it is ready."""
        return await Replica(Ports(**await self.bound())).ready()


@contextlib.contextmanager
def process(
    dsn: str, document: dict[str, Any], home: Path, *, skew: float | None = None
) -> Iterator[Process]:
    """A coordinator process while the context is open; its clock may go wrong by seconds."""
    started = Process(dsn, document, home, skew=skew)
    try:
        yield started
    finally:
        started.close()


@contextlib.asynccontextmanager
async def worker_process(
    replica: Replica, home: Path, name: str = "w-process", **sections: dict[str, Any]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The worker of this repository as a process, as in a pod, once ready; killed at the end."""
    port = free_port()
    own = {
        "id": name,
        "coordinator_address": None if "broker" in sections else replica.target,
        "pool": "demo",
        "ops_port": port,
        "cache_dir": str(home / "cache"),
        "spool_dir": str(home / "spool"),
    }
    path = home / "worker.yaml"
    path.write_text(yaml.safe_dump(sections | {"worker": own | sections.get("worker", {})}))
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "muster_worker", "--config", str(path))
    )
    try:
        await _worker_ready(started, port)
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def _worker_ready(started: asyncio.subprocess.Process, port: int) -> None:
    async with httpx.AsyncClient(timeout=60.0, verify=NO_TLS) as ops:

        async def ready() -> bool:
            if started.returncode is not None:
                raise RuntimeError(f"the worker ended with {started.returncode}")
            try:
                answer = await ops.get(f"http://127.0.0.1:{port}/ready")
            except httpx.TransportError:
                return False
            return answer.status_code == 200

        # Two processes have to start one after the other, and to build the tables of a key.
        await eventually(ready, deadline=120, what="the worker is ready")


async def rows(dsn: str, query: str, *args: Any) -> list[tuple[Any, ...]]:
    """What the database holds."""
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query, *args)]
    finally:
        await connection.close()
