"""How busy a worker is while its queue is full: a real coordinator, PostgreSQL and a real worker.

Counted is the time in which the threads of the worker's executing process ran or were ready to run
(the kernel's schedstat), by the time that passed. So what else the machine does is not counted as
idleness, and neither is waiting for the next task counted as work.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from muster_testing.ports import free_port
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

LEAST_SHARE = 0.95
"""What is promised."""

_SECONDS = 20.0
_TASKS = 400
_INPUTS = {"leaves": [hex(3**i) for i in range(100)], "leaf_index": 77}


def share() -> float:
    """The part of the time in which the worker worked."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder, PostgresServer() as server:
        return asyncio.run(_measured(Path(folder), server))


async def _measured(folder: Path, server: PostgresServer) -> float:
    ports = {name: free_port() for name in ("grpc", "http", "ops", "worker")}
    dsn = folder / "dsn"
    dsn.write_text(await server.create_database(), encoding="utf-8")
    coordinator = {
        "coordinator": {"id": "c-0"}
        | {f"{name}_port": ports[name] for name in ("grpc", "http", "ops")},
        "database": {"dsn_file": str(dsn)},
        "leader_election": {"backend": "advisory-lock"},
        "http": {"rate_limit": 0},
        "proving": {
            "pools": [{"name": "bench", "insecure_setup": True, "circuits": [{"name": "merkle"}]}]
        },
    }
    worker = {
        "worker": {
            "coordinator_address": f"127.0.0.1:{ports['grpc']}",
            "pool": "bench",
            "ops_port": ports["worker"],
            "cache_dir": str(folder / "cache"),
            "spool_dir": str(folder / "spool"),
        }
    }
    async with httpx.AsyncClient(timeout=30.0) as http:
        with _process("muster_coordinator", coordinator, folder):
            await _ready(http, ports["ops"])
            await _submit(http, ports["http"])
            with _process("muster_worker", worker, folder) as pid:
                await _ready(http, ports["worker"])
                return await _watched(http, ports["ops"], _only_child(pid))


@contextlib.contextmanager
def _process(module: str, document: dict[str, Any], folder: Path) -> Iterator[int]:
    config = folder / f"{module}.yaml"
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    with (folder / f"{module}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--config", str(config)],
            stderr=log,
            env={**os.environ, "MUSTER_PROVING_THREADS": "1"},
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(timeout=60)


async def _ready(http: httpx.AsyncClient, port: int) -> None:
    async def probe() -> bool:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/ready")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(probe, deadline=60.0, what="the process is ready")


async def _submit(http: httpx.AsyncClient, port: int) -> None:
    url = f"http://127.0.0.1:{port}/api/v1/tasks/merkle"
    for _ in range(_TASKS):
        (await http.post(url, json=_INPUTS)).raise_for_status()


def _only_child(pid: int) -> int:
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(child)


async def _watched(http: httpx.AsyncClient, port: int, pid: int) -> float:
    """The share over a window in which the queue is never empty."""
    before, started = _wanted_seconds(pid), time.monotonic()
    await asyncio.sleep(_SECONDS)
    wanted, passed = _wanted_seconds(pid) - before, time.monotonic() - started
    [pool] = (await http.get(f"http://127.0.0.1:{port}/queue")).json()["pools"]
    if pool["pending"] == 0:
        raise RuntimeError(f"the queue ran empty: {json.dumps(pool)}")
    # A thread that hands over to another is ready to run for a moment still: both are counted.
    return min(1.0, wanted / passed)


def _wanted_seconds(pid: int) -> float:
    """Time on a processor and time ready to run of all threads of a process."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        running, waiting, _ = (task / "schedstat").read_text(encoding="ascii").split()
        nanoseconds += int(running) + int(waiting)
    return nanoseconds / 1e9
