"""Copying ranges between storage nodes, and finding where they differ."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from muster_kv.merkle import Descent
from muster_kv.ranges import TokenRange
from muster_kv.ring import Ring
from muster_kv.wire.messages import (
    Cause,
    Hashes,
    Item,
    Merged,
    MergeMany,
    MerkleNodes,
    Page,
    ScanRange,
    Tenants,
)
from muster_kv_coordinator.topology.links import Links

_PAGE = 1000
_PAGE_BYTES = 1 << 20
_POSITIONS = 4096
_LOOKS = 3

Paged = Callable[[int, bytes], Awaitable[None]]


class Throttle:
    """At most so many records a second, in all; bursts of a second's worth."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._free_at = 0.0

    async def spent(self, records: int) -> None:
        """Wait until there is room for these, after they were moved."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 1.0) + records / self._per_second
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class Copier:
    """Moves records under one ring: nodes that hold a newer one refuse.

    Args:
        tenants: whose records.
    """

    def __init__(self, links: Links, throttle: Throttle, ring: Ring, tenants: Tenants) -> None:
        self._links = links
        self._throttle = throttle
        self._ring = ring
        self._tenants = tenants

    async def copy(
        self,
        span: TokenRange,
        source: str,
        targets: Sequence[str],
        cause: Cause,
        after: bytes = b"",
        paged: Paged | None = None,
    ) -> int:
        """Join what a node has of a range into others; how many records were news to one.

        Args:
            after: the slot to go on behind.
            paged: told of each page that the targets have durably: records, last slot.

        Raises:
            NodeError: a node does not answer, or refuses.
        """
        changed = 0
        while True:
            scan = ScanRange(span, after, _PAGE, _PAGE_BYTES, self._tenants)
            page = await self._links.ask(source, scan, Page, self._ring)
            if page.items:
                changed += await self._bring(page.items, targets, cause)
                after = page.items[-1][0]
                if paged is not None:
                    await paged(len(page.items), after)
                await self._throttle.spent(len(page.items))
            if not page.more:
                return changed

    async def _bring(self, items: tuple[Item, ...], targets: Sequence[str], cause: Cause) -> int:
        body = MergeMany(items, cause)
        asked = (self._links.ask(target, body, Merged, self._ring) for target in targets)
        return sum(reply.changed for reply in await asyncio.gather(*asked))

    async def differing(
        self, span: TokenRange, nodes: Sequence[str], depth: int
    ) -> list[TokenRange]:
        """The parts of a range in which nodes have not the same.

        Raises:
            NodeError: a node does not answer, or refuses.
        """
        descent = Descent(span, depth)
        while descent.nodes:
            answers = await asyncio.gather(
                *(self._hashes(node, span, depth, descent.nodes) for node in nodes)
            )
            descent.compare(dict(zip(nodes, answers, strict=True)))
        return descent.differing

    async def _hashes(
        self, node: str, span: TokenRange, depth: int, positions: Sequence[int]
    ) -> list[bytes]:
        found: list[bytes] = []
        for at in range(0, len(positions), _POSITIONS):
            some = tuple(positions[at : at + _POSITIONS])
            body = MerkleNodes(span, depth, some, self._tenants)
            found += (await self._links.ask(node, body, Hashes, self._ring)).hashes
        return found

    async def has_all(self, span: TokenRange, source: str, target: str, depth: int) -> int:
        """Copy what the target lacks of the source after all; records copied.

        It lacks something where it has lost what was copied, and where clients write: their
        writes come to both, to one of them first. So the two need not be equal at any moment, and
        a look at all that differs that brings no news is the last; so is the third.

        Raises:
            NodeError: a node does not answer, or refuses.
        """
        copied = 0
        for _ in range(_LOOKS):
            news = 0
            for part in await self.differing(span, (source, target), depth):
                news += await self.copy(part, source, (target,), Cause.STREAM)
            copied += news
            if not news:
                break
        return copied
