"""Requests per CPU-second over loopback: both ends of the store's internal protocol, no storage.

    python -m bench.wire [--requests N] [--value BYTES]

Both ends run in one process on uvloop: a figure is the price of asking and answering together.
`in flight` is how many requests wait at a time: what waits goes in one frame.
"""

import argparse
import asyncio
import time

import uvloop

from muster_kv.merging import Intent
from muster_kv.ops import fresh_op
from muster_kv.slots import slot
from muster_kv.wire.client import NodeClient, Options
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Found, Get, Merged, ReplyBody, RequestBody, Take
from muster_kv.wire.peer import Call
from muster_kv.wire.server import serve

IN_FLIGHT = (1, 8, 32, 128, 512)


async def answer(calls: list[Call]) -> list[ReplyBody]:
    """Answer at once, with nothing behind it."""
    return [Found(b"") if isinstance(call.body, Get) else Merged(1) for call in calls]


async def drive(client: NodeClient, bodies: list[RequestBody], in_flight: int) -> None:
    """Send all bodies, never more than `in_flight` at a time."""
    done = asyncio.get_running_loop().create_future()
    waiting = iter(bodies)
    left = len(bodies)

    def step(_: ReplyBody) -> None:
        nonlocal left
        left -= 1
        body = next(waiting, None)
        if body is not None:
            client.submit(body, 30, step)
        elif not left:
            done.set_result(None)

    for _ in range(in_flight):
        client.submit(next(waiting), 30, step)
    await done


async def measure(requests: int, value_bytes: int) -> None:
    """Print one line for each kind of request and number in flight."""
    server = await serve(answer, Identity("node", Role.STORAGE, "bench"), host="127.0.0.1", port=0)
    client = NodeClient(
        "127.0.0.1",
        server.port,
        Identity("coordinator", Role.COORDINATOR, "bench"),
        options=Options(max_in_flight=max(IN_FLIGHT)),
    )
    client.start()
    await client.ready(5)
    slots = [slot("tenant", f"key-{number}") for number in range(requests)]
    value = bytes(value_bytes)
    kinds: dict[str, list[RequestBody]] = {
        "Get": [Get(each) for each in slots],
        "Take": [
            Take(each, Intent(fresh_op(each[:8] * 2), value, at)) for at, each in enumerate(slots)
        ],
    }
    for name, bodies in kinds.items():
        for in_flight in IN_FLIGHT:
            some = bodies[: max(2_000, requests * min(in_flight, 32) // 32)]
            cpu, wall = time.process_time(), time.perf_counter()
            await drive(client, some, in_flight)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            print(
                f"{name:5} {in_flight:4} in flight  {len(some) / cpu:10,.0f} per CPU-second"
                f"  {cpu / len(some) * 1e6:6.1f} us CPU  {len(some) / wall:10,.0f}/s"
            )
    await client.close()
    await server.close()


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(prog="bench.wire", description="The store's internal wire.")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--value", type=int, default=100, help="bytes of each value written")
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.requests, arguments.value))


if __name__ == "__main__":
    main()
