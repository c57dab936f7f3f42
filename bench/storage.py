"""How much CPU one storage node needs for a durable write: `python -m bench.storage`.

A real node in a process of its own, asked over its real port by one process with a few connections
and a bounded number of requests in flight. CPU is that of the node's process, all threads, user and
system, as /proc tells it.
"""

import argparse
import asyncio
import os
import time
from pathlib import Path

import uvloop

from muster_kv.merging import Intent
from muster_kv.merging import take as apply
from muster_kv.ops import fresh_op
from muster_kv.record import ABSENT, Record, encode
from muster_kv.slots import slot
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Failure, Get, Merge, ReplyBody, RequestBody, Take
from muster_testing.storage import StorageNode, StorageNodes

TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE = 30.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Load:
    """Sends bodies over some connections, so many at once, and waits for the last answer."""

    def __init__(self, clients: list[NodeClient], at_once: int) -> None:
        self._clients = clients
        self._at_once = at_once

    async def run(self, bodies: list[RequestBody]) -> list[float]:
        """Returns the time of each answer in seconds, sorted."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        times: list[float] = []
        following = iter(enumerate(bodies))

        def send() -> None:
            number, body = next(following, (0, None))
            if body is None:
                return
            began = time.perf_counter()

            def answered(reply: ReplyBody) -> None:
                if isinstance(reply, Failure):
                    if not done.done():
                        done.set_exception(RuntimeError(f"{reply.code.name}: {reply.detail}"))
                    return
                times.append(time.perf_counter() - began)
                if len(times) == len(bodies):
                    done.set_result(None)
                else:
                    send()

            self._clients[number % len(self._clients)].submit(body, DEADLINE, answered)

        for _ in range(self._at_once):
            send()
        await done
        return sorted(times)


async def measure(node: StorageNode, options: argparse.Namespace) -> None:
    value = os.urandom(options.bytes)
    slots = [slot("bench", f"key-{number}") for number in range(options.keys)]

    def take(number: int) -> RequestBody:
        op = fresh_op(os.urandom(16))
        return Take(slots[number % len(slots)], Intent(op, value, time.time_ns() // 1000))

    known: dict[bytes, Record] = {}

    def merge(number: int) -> RequestBody:
        at = slot("bench-replica", f"key-{number % len(slots)}")
        op = fresh_op(os.urandom(16))
        wanted = Intent(op, value, time.time_ns() // 1000)
        known[at] = apply(known.get(at, ABSENT), wanted, "peer#0").record
        return Merge(at, encode(known[at], at))

    kinds: dict[str, list[RequestBody]] = {
        "take, new keys": [take(number) for number in range(options.keys)],
        "take, known keys": [take(number) for number in range(options.count)],
        "merge, new keys": [merge(number) for number in range(options.keys)],
        "merge, known keys": [merge(number) for number in range(options.count)],
        "get": [Get(slots[number % len(slots)]) for number in range(options.count)],
    }
    identity = Identity("bench", Role.COORDINATOR, "muster")
    clients = [NodeClient(node.host, node.port, identity) for _ in range(options.connections)]
    for client in clients:
        client.start()
        await client.ready(10)
    print(f"{'':18} {'per second':>10} {'per CPU-s':>10} {'us CPU':>7} {'p50 ms':>7} {'p95 ms':>7}")
    assert node.process is not None
    for name, bodies in kinds.items():
        began, cpu = time.perf_counter(), cpu_seconds(node.process.pid)
        times = await Load(clients, options.at_once).run(bodies)
        wall, used = time.perf_counter() - began, cpu_seconds(node.process.pid) - cpu
        print(
            f"{name:18} {len(bodies) / wall:10.0f} {len(bodies) / used:10.0f} "
            f"{used / len(bodies) * 1e6:7.1f} {times[len(times) // 2] * 1e3:7.1f} "
            f"{times[len(times) * 95 // 100] * 1e3:7.1f}"
        )
    for client in clients:
        await client.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="requests of each kind")
    parser.add_argument("--keys", type=int, default=50_000)
    parser.add_argument("--bytes", type=int, default=100, help="size of a value")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=512, help="requests in flight")
    options = parser.parse_args()
    with StorageNodes() as nodes:
        node = await nodes("bench").start()
        await measure(node, options)
        commits = node.metric("storage_commit_requests_count") or 1
        requests = node.metric("storage_commit_requests_sum") or 0
        print(f"requests in one commit, on average: {requests / commits:.0f}")
        await node.stop()


if __name__ == "__main__":
    uvloop.run(main())
