"""What storage nodes hold, asked of each of them past the network that the nemesis rules."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from muster_kv.ranges import WHOLE_RING
from muster_kv.record import decode, fingerprint
from muster_kv.ring import Ring
from muster_kv.slots import token_of
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import (
    Cause,
    Merged,
    MergeMany,
    Page,
    Purge,
    Purged,
    ReplyBody,
    RequestBody,
    ScanRange,
    Stat,
    Status,
)
from muster_testing.storage import StorageNode

FACTOR = 3
_ANSWER_SECONDS = 10.0

R = TypeVar("R", bound=ReplyBody)


class NotAnsweredError(Exception):
    """A node does not do what it is asked."""


async def anti_entropy(nodes: Sequence[StorageNode], ring: Ring) -> int | None:
    """Bring what each member has to the other owners, then forget what died, but for the grace.

    Returns:
        How many records were forgotten whole; None where a node did not take part.
    """
    begun_us = time.time_ns() // 1000
    async with _talking(nodes) as talks:
        try:
            for source in talks:
                await source.bring_to([talk for talk in talks if talk is not source], ring)
            actors = tuple([(await talk.ask(Stat(), Status)).actor for talk in talks])
            purge = Purge(WHOLE_RING, begun_us, actors)
            return sum([(await talk.ask(purge, Purged)).removed for talk in talks])
        except NotAnsweredError:
            return None


async def differing(nodes: Sequence[StorageNode], ring: Ring) -> list[str]:
    """Sentences about records that their owners do not have alike."""
    async with _talking(nodes) as talks:
        held = {talk.node_id: await talk.fingerprints() for talk in talks}
    slots = sorted({slot for each in held.values() for slot in each})
    return [
        f"{slot!r}: replicas differ"
        for slot in slots
        if len({held[owner].get(slot, b"") for owner in _owners(slot, ring)}) > 1
    ]


async def folders(nodes: Sequence[StorageNode]) -> dict[str, str]:
    """The data folder of each node that answers."""
    found: dict[str, str] = {}
    async with _talking(nodes) as talks:
        for talk in talks:
            try:
                found[talk.node_id] = (await talk.ask(Stat(), Status)).folder
            except NotAnsweredError:
                continue
    return found


def _owners(slot: bytes, ring: Ring) -> tuple[str, ...]:
    return ring.placement(token_of(slot), FACTOR).natural


class _Talk:
    def __init__(self, node_id: str, client: NodeClient) -> None:
        self.node_id = node_id
        self._client = client

    async def ask(self, body: RequestBody, kind: type[R]) -> R:
        answer = await self._client.request(body, _ANSWER_SECONDS)
        if not isinstance(answer, kind):
            raise NotAnsweredError(f"{self._client.address}: {answer}")
        return answer

    async def bring_to(self, others: Iterable["_Talk"], ring: Ring) -> None:
        async for page in self._pages():
            for other in others:
                if items := tuple(_owned(page, other.node_id, ring)):
                    await other.ask(MergeMany(items, Cause.REPAIR), Merged)

    async def fingerprints(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        async for page in self._pages():
            found |= {slot: fingerprint(decode(data, slot)) for slot, data in page.items}
        return found

    async def _pages(self) -> AsyncIterator[Page]:
        after, more = b"", True
        while more:
            page = await self.ask(ScanRange(WHOLE_RING, after), Page)
            more = page.more
            if page.items:
                after = page.items[-1][0]
                yield page


def _owned(page: Page, node_id: str, ring: Ring) -> Iterator[tuple[bytes, bytes]]:
    return (item for item in page.items if node_id in _owners(item[0], ring))


@asynccontextmanager
async def _talking(nodes: Sequence[StorageNode]) -> AsyncIterator[list[_Talk]]:
    identity = Identity("nemesis", Role.TOOL, "muster")
    clients = [NodeClient(node.host, node.port, identity) for node in nodes]
    try:
        for client in clients:
            client.start()
        # Who is not there does not answer when it is asked.
        await asyncio.gather(*(client.ready(2.0) for client in clients), return_exceptions=True)
        yield [_Talk(node.node_id, client) for node, client in zip(nodes, clients, strict=True)]
    finally:
        await asyncio.gather(*(client.close() for client in clients))
