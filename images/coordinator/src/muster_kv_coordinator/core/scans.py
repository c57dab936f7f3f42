"""Scans: the keys of a tenant by prefix, from all nodes that hold any of them, joined.

Keys lie on the nodes in the order of their tokens, so every node is asked for its next keys with
the prefix. A page ends where the first node has told all that it was asked for, or has looked at as
many records as it may at a time: those of other tenants lie between, and their owners wait.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from muster_kv.consistency import Level, State, read_progress
from muster_kv.merging import merge
from muster_kv.ranges import WHOLE_RING
from muster_kv.reading import shown, siblings
from muster_kv.record import ABSENT, Record, Version, decode
from muster_kv.slots import TOKEN_BYTES, parse, token_of
from muster_kv.tenants import ConflictResolution
from muster_kv.wire.messages import Failure, Page, ReplyBody, ScanRange, Tenants
from muster_kv_coordinator.core import failures, model
from muster_kv_coordinator.core.errors import invalid
from muster_kv_coordinator.core.failures import StaleRingError
from muster_kv_coordinator.core.model import Found, Tenant
from muster_kv_coordinator.core.ports import Cluster, Meter
from muster_kv_coordinator.core.quorums import counted
from muster_kv_coordinator.core.refreshing import newer_ring

_PAGE_BYTES = 1 << 20
# Of records that a page shows: with what is around them less than a client takes in by default.
_SHOWN_BYTES = 2 << 20
_READ_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Scan:
    """What is scanned for."""

    prefix: str
    size: int
    token: str
    level: Level


@dataclass(slots=True)
class _Round:
    """What all nodes said to one question."""

    records: dict[bytes, Record] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    bad: list[Failure] = field(default_factory=list)
    # The least of the slots at which a node stopped; None where all told everything.
    end: bytes | None = None


@dataclass(slots=True)
class _Filling:
    """A page as it fills: so many keys, and so many bytes, are the most."""

    size: int
    entries: list[tuple[str, Found]] = field(default_factory=list)
    shown: int = 0

    @property
    def full(self) -> bool:
        return len(self.entries) >= self.size or self.shown >= _SHOWN_BYTES

    def add(self, key: str, found: Found) -> None:
        self.entries.append((key, found))
        self.shown += sum(len(version.value or b"") for version in found.versions)


class Scans:
    """Scans tenants.

    Args:
        seconds: for a page whose client gives it more.
    """

    def __init__(self, cluster: Cluster, meter: Meter, seconds: float) -> None:
        self._cluster = cluster
        self._meter = meter
        self._seconds = seconds

    async def page(self, tenant: Tenant, scan: Scan, seconds: float | None) -> model.Page:
        """One page; it has fewer keys than asked for where they are large, or time is up.

        Raises:
            KvError: INVALID_REQUEST for a token of no page; QUORUM_NOT_REACHED.
        """
        with counted(self._meter, "scan"):
            return await self._page(tenant, scan, seconds)

    async def _page(self, tenant: Tenant, scan: Scan, seconds: float | None) -> model.Page:
        loop = asyncio.get_running_loop()
        limit = self._seconds if seconds is None else min(seconds, self._seconds)
        end = loop.time() + limit
        begun = _after(scan.token)
        after: bytes | None = begun
        page = _Filling(scan.size)
        while after is not None and not page.full:
            if after != begun and loop.time() > end - limit / 2:
                break
            try:
                found = await self._round(tenant, scan, after, end)
            except StaleRingError as stale:
                await newer_ring(self._cluster, self._meter, stale, end)
                continue
            after = _fill(page, tenant, found)
        return model.Page(tuple(page.entries), "" if after is None else _token(after))

    async def _round(self, tenant: Tenant, scan: Scan, after: bytes, end: float) -> _Round:
        version = self._cluster.version
        members = self._cluster.members()
        body = ScanRange(
            WHOLE_RING,
            after,
            scan.size,
            _PAGE_BYTES,
            Tenants((tenant.tenant_id,), exclude=False),
            scan.prefix,
            _READ_AT_ONCE,
        )
        left = max(0.001, end - asyncio.get_running_loop().time())
        replies = await asyncio.gather(*(one.request(body, version, left) for one in members))
        names = [member.node_id for member in members]
        found = self._join(tenant, zip(names, replies, strict=True))
        stale = failures.stale(found.bad)
        if stale is not None:
            raise stale
        self._check(tenant, scan, found)
        return found

    def _join(self, tenant: Tenant, replies: Iterable[tuple[str, ReplyBody]]) -> _Round:
        found = _Round()
        for node, reply in replies:
            if isinstance(reply, Failure):
                found.bad.append(reply)
            if not isinstance(reply, Page):
                continue
            found.answered.add(node)
            for where, data in reply.items:
                # A node that a key has left may still hold what others have forgotten.
                if self._owns(node, where, tenant):
                    joined = found.records.get(where, ABSENT)
                    found.records[where] = merge(joined, decode(data, where))
            if reply.more:
                # Nodes of versions before name no slot, and end a page with an item.
                last = reply.last or reply.items[-1][0]
                found.end = last if found.end is None else min(found.end, last)
        return found

    def _owns(self, node: str, where: bytes, tenant: Tenant) -> bool:
        return node in self._cluster.place(tenant, token_of(where)).placement.natural

    def _check(self, tenant: Tenant, scan: Scan, found: _Round) -> None:
        """Whether enough replicas of every key answered, the keys that none told of among them."""
        for placement in self._cluster.placements(tenant.replication_factor):
            progress = read_progress(placement, scan.level, tenant.replication_factor)
            for node in found.answered:
                progress = progress.ack(node)
            if progress.state is not State.REACHED:
                short = progress.shortfall()
                raise failures.not_reached(short, found.bad, unsure=False)


def _fill(page: _Filling, tenant: Tenant, found: _Round) -> bytes | None:
    """Add what a round found, as far as there is room; the slot to go on after."""
    now_us = time.time_ns() // 1000
    last = b""
    for where in sorted(found.records):
        if found.end is not None and where > found.end:
            break
        if page.full:
            return last
        last = where
        record = found.records[where]
        versions = _versions(tenant, record, now_us)
        if versions:
            page.add(parse(where)[1], Found(versions, record.context))
    return found.end


def _versions(tenant: Tenant, record: Record, now_us: int) -> tuple[Version, ...]:
    if tenant.policy.conflict_resolution is ConflictResolution.LAST_WRITE_WINS:
        latest = shown(record, now_us, last_write_wins=True)
        return (latest,) if latest is not None else ()
    return siblings(record, now_us)


def _token(after: bytes) -> str:
    return base64.urlsafe_b64encode(after).decode()


def _after(token: str) -> bytes:
    try:
        after = base64.b64decode(token, altchars=b"-_", validate=True)
        if len(after) not in (0, TOKEN_BYTES):
            parse(after)
    except (binascii.Error, ValueError):
        raise invalid("page_token", token, "next_page_token of the page before") from None
    return after
