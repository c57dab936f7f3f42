"""Plain requests stay packed on their way to whoever answers them; all others are as they were."""

import asyncio

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Outcome
from muster_kv.wire.messages import (
    Done,
    Failure,
    Found,
    Get,
    Known,
    Lookup,
    Merge,
    ReplyBody,
    RequestBody,
    Stat,
)
from muster_kv.wire.peer import Call
from muster_kv.wire.server import Limits
from muster_records import Batch

from .loopback import TAKE, connected, serving

MERGE = Merge(b"slot", b"record")


class Node:
    """Answers look-ups with what it is told to hold, and writes not at all."""

    def __init__(self) -> None:
        self.kinds: list[tuple[int, int, int, int]] = []
        self.opened = asyncio.Event()
        self.opened.set()
        self.begun = asyncio.Event()

    async def write(self, batch: Batch) -> None:
        self.kinds.append(batch.kinds)
        self.begun.set()
        await self.opened.wait()
        batch.fail(FailureCode.NOT_READY, "not today")

    async def read(self, batch: Batch) -> None:
        self.kinds.append(batch.kinds)
        slots = batch.slots()
        batch.find(slots, [None] * len(slots))


async def others(calls: list[Call]) -> list[ReplyBody]:
    return [Done()] * len(calls)


def code(reply: ReplyBody) -> FailureCode:
    assert isinstance(reply, Failure), reply
    return reply.code


async def test_plain_requests_are_answered_in_their_batch() -> None:
    node = Node()
    async with serving(others, plain=node) as server, connected(server.port) as client:
        lookup = Lookup(b"slot", bytes(16), b"digest", 1)
        bodies: list[RequestBody] = [TAKE, MERGE, Get(b"slot"), Stat(), TAKE, lookup]
        replies = await asyncio.gather(*(client.request(body, 30) for body in bodies))
    refused = Failure(FailureCode.NOT_READY, "not today")
    unknown = Known(Outcome.NEW, {}, {})
    assert replies == [refused, refused, Found(b""), Done(), refused, unknown]
    assert sorted(node.kinds) == [(0, 0, 1, 1), (2, 1, 0, 0)]


async def test_what_is_left_unanswered_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Node):
        async def write(self, batch: Batch) -> None:
            raise OSError("broken")

    async with serving(others, plain=Broken()) as server, connected(server.port) as client:
        assert code(await client.request(TAKE, 30)) is FailureCode.INTERNAL
        assert await client.request(Get(b"slot"), 30) == Found(b"")
    assert "handling a batch failed" in caplog.text


async def test_more_than_may_wait_is_refused() -> None:
    node = Node()
    node.opened.clear()
    limits = Limits(max_queued=2)
    async with (
        serving(others, plain=node, limits=limits) as server,
        connected(server.port) as client,
    ):
        first = asyncio.create_task(client.request(TAKE, 30))
        await asyncio.wait_for(node.begun.wait(), 30)
        # Two of a frame are enough, and reads wait apart.
        *second, third = [asyncio.create_task(client.request(TAKE, 30)) for _ in range(3)]
        assert code(await third) is FailureCode.OVERLOADED
        assert await client.request(Get(b"slot"), 30) == Found(b"")
        assert code(await client.request(TAKE, 30)) is FailureCode.OVERLOADED
        node.opened.set()
        codes = [code(reply) for reply in await asyncio.gather(first, *second)]
    assert codes == [FailureCode.NOT_READY] * 3
    assert node.kinds[:2] == [(1, 0, 0, 0), (0, 0, 1, 0)]
