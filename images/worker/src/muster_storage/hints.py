"""Bringing hints to the nodes that missed them.

Each node has a client and a task of its own, so that one that does not answer keeps nobody else
waiting. A hint goes when its node has said that the record is durable there, and only if it is
still the same: one that was stored meanwhile is brought the next time.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from muster_kv.record import CorruptRecordError, check
from muster_kv.ring import Member, Ring
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity
from muster_kv.wire.messages import Cause, Failure, Merged, MergeMany
from muster_storage import layout
from muster_storage.engine import Engine, Family
from muster_storage.metrics import Metrics
from muster_storage.store import REFUSALS, Store, now_us
from muster_storage.transaction import Transaction
from muster_storage.writer import Job
from muster_storage.writes import unpack_hint

log = logging.getLogger(__name__)

_PAGE = 256
_PAGE_BYTES = 2**20
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 10.0

Hint = tuple[bytes, bytes]
"""Key and value in the column family."""


@dataclass(frozen=True, slots=True)
class Due:
    """Some of a node's hints: those to bring, too old, or damaged."""

    fresh: list[Hint]
    expired: list[Hint]
    damaged: list[Hint]

    @property
    def last(self) -> bytes:
        """The key of the last one; empty where there are none."""
        return max((key for key, _ in (*self.fresh, *self.expired, *self.damaged)), default=b"")


def due(engine: Engine, node: str, behind: bytes, oldest_us: int) -> Due:
    """Read a page of the hints for `node` behind the key `behind` (empty: from the start)."""
    prefix = layout.hint_prefix(node)
    start = layout.after(behind) if behind else prefix
    page = Due([], [], [])
    size = 0
    found: Iterator[Hint] = engine.scan(
        Family.HINTS, start, layout.prefix_end(prefix), cached=False
    )
    for key, value in islice(found, _PAGE):
        created_us, record = unpack_hint(value)
        if created_us < oldest_us:
            page.expired.append((key, value))
        elif _whole(key, record):
            page.fresh.append((key, value))
        else:
            page.damaged.append((key, value))
        size += len(record)
        if size >= _PAGE_BYTES:
            break
    return page


def _whole(key: bytes, record: bytes) -> bool:
    try:
        check(record, layout.hint_place(key)[1])
    except CorruptRecordError:
        return False
    return True


class Courier:
    """Brings the hints for all nodes of the ring.

    Args:
        ring: the ring as the node knows it now.
        interval: seconds between two attempts for one node.
        ttl_us: microseconds after which a hint is not brought any more.
    """

    def __init__(
        self,
        store: Store,
        identity: Identity,
        ring: Callable[[], Ring],
        metrics: Metrics,
        *,
        interval: float,
        ttl_us: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._store = store
        self._identity = identity
        self._ring = ring
        self._metrics = metrics
        self._interval = interval
        self._ttl_us = ttl_us
        self._tls = tls
        self._rounds: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Try every node that hints wait for, again and again."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                for node, waiting in self._store.writer.hints.copy().items():
                    running = self._rounds.get(node)
                    if waiting > 0 and (running is None or running.done()):
                        self._rounds[node] = asyncio.create_task(self._round(node))
        finally:
            for task in self._rounds.values():
                task.cancel()
            await asyncio.gather(*self._rounds.values(), return_exceptions=True)

    async def _round(self, node: str) -> None:
        try:
            member = self._ring().member(node)
            if member is None:
                # It left the ring: whoever holds its ranges now has the records from others.
                await self._each_page(node, None)
                return
            async with self._connected(member) as client:
                await self._each_page(node, client)
        except REFUSALS as error:
            log.info("hints stay", extra={"node": node, "error": str(error)})
        except Exception:
            log.exception("bringing hints failed", extra={"node": node})

    @contextlib.asynccontextmanager
    async def _connected(self, member: Member) -> AsyncIterator[NodeClient | None]:
        """A client of the member; None where it can't be reached now."""
        client = NodeClient(member.host, member.port, self._identity, tls=self._tls)
        client.start()
        try:
            try:
                await client.ready(_CONNECT_SECONDS)
            except TimeoutError:
                log.info("hints wait", extra={"node": member.node_id, "error": client.last_error})
                yield None
            else:
                yield client if client.node_id == member.node_id else None
        finally:
            await client.close()

    async def _each_page(self, node: str, client: NodeClient | None) -> None:
        """Bring hints while the node takes them; without a client only expired ones go."""
        behind = b""
        while True:
            oldest = now_us() - self._ttl_us
            page = await self._store.background(due, self._store.engine, node, behind, oldest)
            await self._end(node, page.expired, "expired")
            await self._end(node, page.damaged, "dropped")
            if (
                page.fresh
                and client is not None
                and not await self._bring(node, client, page.fresh)
            ):
                return
            behind = page.last
            if not behind:
                return

    async def _bring(self, node: str, client: NodeClient, hints: list[Hint]) -> bool:
        items = tuple((layout.hint_place(key)[1], unpack_hint(value)[1]) for key, value in hints)
        reply = await client.request(MergeMany(items, Cause.HINT), _ANSWER_SECONDS)
        if isinstance(reply, Merged):
            await self._end(node, hints, "delivered")
            return True
        reason = reply.detail if isinstance(reply, Failure) else type(reply).__name__
        log.info("hints refused", extra={"node": node, "error": reason})
        return False

    async def _end(self, node: str, hints: list[Hint], outcome: str) -> None:
        if not hints:
            return

        def work(transaction: Transaction) -> int:
            gone = 0
            for key, value in hints:
                if transaction.hint(key) == value:
                    transaction.put_hint(node, key, None)
                    gone += 1
            return gone

        keys = [key for key, _ in hints]
        gone = await self._store.write(Job((), work, keys, len(keys)), len(keys))
        self._metrics.hints_ended(outcome, gone)
