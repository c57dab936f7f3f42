"""Talking to storage nodes as coordinators do."""

import contextlib
import os
import time
from collections.abc import AsyncIterator

from muster_kv.clock import VectorClock
from muster_kv.merging import Intent, Outcome
from muster_kv.ops import fresh_op
from muster_kv.record import Record, decode
from muster_kv.slots import slot
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import (
    Failure,
    Found,
    Get,
    ReplyBody,
    RequestBody,
    Take,
    Took,
)
from muster_testing.storage import StorageNode

DEADLINE = 60.0
TENANT = "acme"


def now_us() -> int:
    return time.time_ns() // 1000


def intent(
    value: bytes | None, context: VectorClock | None = None, expires_at_us: int = 0
) -> Intent:
    """A write without an idempotency key."""
    return Intent(fresh_op(os.urandom(16)), value, now_us(), context, expires_at_us)


class Talk:
    """A connection to a node; each method asserts that what it asks for is done."""

    def __init__(self, client: NodeClient) -> None:
        self.client = client

    async def ask(self, body: RequestBody, *, ring_version: int = 0) -> ReplyBody:
        return await self.client.request(body, DEADLINE, ring_version=ring_version)

    async def fail(self, body: RequestBody, *, ring_version: int = 0) -> Failure:
        reply = await self.ask(body, ring_version=ring_version)
        assert isinstance(reply, Failure), reply
        return reply

    async def write(self, key: str, wanted: Intent) -> Took:
        reply = await self.ask(Take(slot(TENANT, key), wanted))
        assert isinstance(reply, Took), reply
        return reply

    async def put(
        self, key: str, value: bytes | None, context: VectorClock | None = None
    ) -> Record:
        took = await self.write(key, intent(value, context))
        assert took.outcome is Outcome.NEW
        return decode(took.record, slot(TENANT, key))

    async def bytes_of(self, key: str) -> bytes:
        reply = await self.ask(Get(slot(TENANT, key)))
        assert isinstance(reply, Found), reply
        return reply.record

    async def record(self, key: str) -> Record:
        return decode(await self.bytes_of(key), slot(TENANT, key))

    async def values(self, key: str) -> list[bytes | None]:
        return [version.value for version in (await self.record(key)).versions]


@contextlib.asynccontextmanager
async def talking(node: StorageNode, token: bytes = b"") -> AsyncIterator[Talk]:
    """A connection to a running node."""
    identity = Identity("test", Role.COORDINATOR, "muster", token)
    client = NodeClient(node.host, node.port, identity)
    client.start()
    try:
        await client.ready(DEADLINE)
        yield Talk(client)
    finally:
        await client.close()
