"""Scans: the keys of a tenant by prefix, from all nodes that hold any of them, joined.

Keys lie on the nodes in the order of their tokens, so every node is asked for its next keys with
the prefix. A page ends where the first node has told all that it was asked for.
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
from muster_kv.slots import parse, token_of
from muster_kv.tenants import ConflictResolution
from muster_kv.wire.messages import Failure, Page, ReplyBody, ScanRange, Tenants
from muster_kv_coordinator.core import failures, model
from muster_kv_coordinator.core.errors import invalid
from muster_kv_coordinator.core.failures import StaleRingError
from muster_kv_coordinator.core.model import Found, Tenant
from muster_kv_coordinator.core.ports import Cluster, Meter

_PAGE_BYTES = 1 << 20


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
        """One page; it has fewer keys than asked for only where it is the last, or time is up.

        Raises:
            KvError: INVALID_REQUEST for a token of no page; QUORUM_NOT_REACHED.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + (self._seconds if seconds is None else min(seconds, self._seconds))
        after: bytes | None = _after(scan.token)
        entries: list[tuple[str, Found]] = []
        while after is not None and len(entries) < scan.size:
            if entries and loop.time() > end - self._seconds / 2:
                break
            try:
                found = await self._round(tenant, scan, after, end)
            except StaleRingError as stale:
                self._meter.stale_ring()
                await self._cluster.refresh(stale.version)
                continue
            after = self._add(tenant, scan, found, entries)
        return model.Page(tuple(entries), "" if after is None else _token(after))

    def _add(
        self, tenant: Tenant, scan: Scan, found: _Round, entries: list[tuple[str, Found]]
    ) -> bytes | None:
        """Add what a round found, as far as the page has room; the slot to go on after."""
        now_us = time.time_ns() // 1000
        last = b""
        for where in sorted(found.records):
            if found.end is not None and where > found.end:
                break
            if len(entries) == scan.size:
                return last
            last = where
            record = found.records[where]
            versions = _versions(tenant, record, now_us)
            if versions:
                entries.append((parse(where)[1], Found(versions, record.context)))
        return found.end

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
            if reply.more and reply.items:
                last = reply.items[-1][0]
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
                self._meter.quorum_failed("scan")
                short = progress.shortfall()
                raise failures.not_reached(short, found.bad, unsure=False)


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
        if after:
            token_of(after)
            parse(after)
    except (binascii.Error, ValueError):
        raise invalid("page_token", token, "next_page_token of the page before") from None
    return after
