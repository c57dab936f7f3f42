"""What a call costs a coordinator behind either front: `python -m bench.front`.

Two coordinators, one behind the native front and one on grpc.aio, over the same three storage nodes
and the same PostgreSQL, each a process of its own. They take turns in every round; all calls come
from one grpc.aio client, as any client in Python is. CPU is that of the coordinator's process, all
threads, user and system, as /proc tells it; a figure is the median over the rounds.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import uvloop

from muster_protos import kv_pb2 as pb
from muster_testing.postgres import PostgresServer
from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

TICKS = os.sysconf("SC_CLK_TCK")
FRONTS = ("native", "python")
KINDS = ("WriteKeyValue", "ReadKeyValue")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def configuration(front: str, dsn: str, home: Path) -> Path:
    secret = home / "dsn"
    secret.write_text(dsn)
    document = {
        "server": {"host": "127.0.0.1", "port": 0, "http_port": 0, "node_id": front},
        "metrics": {"port": 0},
        "grpc": {"front": front},
        "database": {"dsn_file": str(secret), "max_connections": 4, "min_connections": 1},
        "limits": {"writes_per_minute": -1, "reads_per_minute": -1},
    }
    path = home / f"{front}.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(document))
    return path


class Coordinator:
    """A coordinator's process, and a client to it."""

    def __init__(self, front: str, config: Path) -> None:
        self.front = front
        command = [sys.executable, "-m", "muster_kv_coordinator", "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._port = 0
        threading.Thread(target=self._listen, daemon=True).start()

    async def connect(self) -> None:
        await eventually(lambda: self._port > 0, what=f"the coordinator behind {self.front}")
        options = (("grpc.use_local_subchannel_pool", 1),)
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self._port}", options=options)

    async def call(self, name: str, **fields: Any) -> Any:
        found = pb.DESCRIPTOR.services_by_name["CoordinatorService"].methods_by_name[name]
        method = self.channel.unary_unary(
            f"/proto.CoordinatorService/{name}",
            request_serializer=getattr(pb, found.input_type.name).SerializeToString,
            response_deserializer=getattr(pb, found.output_type.name).FromString,
        )
        request = getattr(pb, found.input_type.name)(**fields)
        answer = await method(request, timeout=20.0, wait_for_ready=True)
        if not answer.success:
            raise RuntimeError(answer.error_message)
        return answer

    async def round(self, kind: str, calls: int, at_once: int, size: int) -> float:
        """CPU microseconds of the coordinator for each call."""
        value = {"value": os.urandom(size)} if kind == "WriteKeyValue" else {}
        numbers = iter(range(calls))

        async def client() -> None:
            for number in numbers:
                await self.call(kind, tenant_id="bench", key=f"k{number % 1000}", **value)

        before = cpu_seconds(self.process.pid)
        await asyncio.gather(*(client() for _ in range(at_once)))
        return (cpu_seconds(self.process.pid) - before) / calls * 1e6

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            said = json.loads(line) if line.startswith("{") else {}
            self._port = said.get("ports", {}).get("grpc", self._port)


@contextmanager
def coordinators(dsn: str, home: Path) -> Iterator[list[Coordinator]]:
    started = [Coordinator(front, configuration(front, dsn, home)) for front in FRONTS]
    try:
        yield started
    finally:
        for coordinator in started:
            coordinator.process.kill()
            coordinator.process.wait()


async def prepare(both: list[Coordinator], nodes: list[StorageNode]) -> None:
    for coordinator in both:
        await coordinator.connect()
    one = both[0]
    for node in nodes:
        await one.call("AddStorageNode", node_id=node.node_id, host=node.host, port=node.port)
    await one.call("CreateTenant", tenant_id="bench", replication_factor=3)


async def measure(both: list[Coordinator], options: argparse.Namespace) -> None:
    names = {"native": "ours", "python": "anchor"}
    for kind in KINDS:
        found: dict[str, list[float]] = {front: [] for front in FRONTS}
        # The first round only warms up: every key is there after it.
        for number in range(options.rounds + 1):
            for one in both:
                used = await one.round(kind, options.calls, options.at_once, options.bytes)
                if number:
                    found[one.front].append(used)
        medians = {front: statistics.median(found[front]) for front in FRONTS}
        shown = " ".join(f"{names[front]}={medians[front]:.0f}" for front in FRONTS)
        ratio = medians["native"] / medians["python"]
        print(f"front_us_per_{kind[:-8].lower()} {shown} ratio={ratio:.3f}", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.front", description=__doc__)
    parser.add_argument("--calls", type=int, default=5000, help="calls of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=64, help="calls in flight")
    parser.add_argument("--bytes", type=int, default=100, help="size of a value")
    options = parser.parse_args()
    with (
        PostgresServer() as postgres,
        StorageNodes() as storage,
        tempfile.TemporaryDirectory() as home,
    ):
        nodes = [await storage(f"n-{number}").start() for number in range(3)]
        with coordinators(await postgres.create_database(), Path(home)) as both:
            await prepare(both, nodes)
            await measure(both, options)


if __name__ == "__main__":
    uvloop.run(main())
