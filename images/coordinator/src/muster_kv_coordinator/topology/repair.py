"""Anti-entropy: a round finds and repairs all that replicas do not have in common.

When all members took part in a round, what died before its beginning is known to every replica, and
may be forgotten.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from muster_kv.ranges import WHOLE_RING, TokenRange
from muster_kv.ring import Ring
from muster_kv.wire.messages import Cause, Purge, Purged, Stat, Status, Tenants
from muster_kv_coordinator.topology import plan
from muster_kv_coordinator.topology.copying import Copier, Throttle
from muster_kv_coordinator.topology.ledger import View
from muster_kv_coordinator.topology.links import Links, NodeError
from muster_kv_coordinator.topology.meter import TopologyMeter

log = logging.getLogger(__name__)

_PURGE_SECONDS = 3600.0

GoOn = Callable[[], Awaitable[bool]]


@dataclass(slots=True)
class Round:
    """What came of one round.

    Args:
        begun_us: when it began (Unix µs).
        differing: parts of ranges in which replicas were unlike each other.
        repaired: records that were brought to a replica.
        failure: why it is not whole; empty where it is.
    """

    begun_us: int
    differing: int = 0
    repaired: int = 0
    failure: str = ""


class Repair:
    """Carries out rounds."""

    def __init__(self, links: Links, throttle: Throttle, meter: TopologyMeter) -> None:
        self._links = links
        self._throttle = throttle
        self._meter = meter
        self._purging: asyncio.Task[None] | None = None
        # Of all members, since the last round began.
        self._actors: set[str] = set()

    async def round(self, view: View, go_on: GoOn) -> Round:
        """Compare and repair all ranges of the tenants in `view`.

        Args:
            go_on: asked between ranges whether the round may go on.
        """
        found = Round(time.time_ns() // 1000)
        try:
            if not await self._all(view, go_on, found):
                found.failure = "the topology changes, or is about to"
        except NodeError as error:
            log.warning("an anti-entropy round is not whole", extra={"error": str(error)})
            found.failure = str(error)
        self._meter.round(complete=not found.failure)
        return found

    async def _all(self, view: View, go_on: GoOn, found: Round) -> bool:
        stats = await stats_of(self._links, view.ring)
        keys = sum(status.keys for status in stats)
        self._actors = {status.actor for status in stats}
        for factor, names in sorted(view.tenants.items()):
            tenants = Tenants(names, exclude=False)
            copier = Copier(self._links, self._throttle, view.ring, tenants)
            for owners, ranges in plan.owned_together(view.ring, factor).items():
                for span in ranges:
                    if not await go_on():
                        return False
                    about = round(keys * plan.share_of((span,)))
                    await self._one(copier, span, owners, plan.depth_for(about), found)
        self._actors |= {status.actor for status in await stats_of(self._links, view.ring)}
        return True

    async def _one(
        self,
        copier: Copier,
        span: TokenRange,
        owners: tuple[str, ...],
        depth: int,
        found: Round,
    ) -> None:
        if len(owners) == 1:
            return
        for part in await copier.differing(span, owners, depth):
            self._meter.differing.inc()
            found.differing += 1
            for source in owners:
                others = tuple(owner for owner in owners if owner != source)
                news = await copier.copy(part, source, others, Cause.REPAIR)
                self._meter.repaired.inc(news)
                found.repaired += news

    async def start_purge(self, ring: Ring, before_us: int) -> None:
        """Have all members forget what died before a complete round began, in the background.

        What was true after the round stays true, whatever becomes of the ring.
        """
        await self.stop()
        self._purging = asyncio.create_task(self._purge(ring, before_us), name="purge")

    async def stop(self) -> None:
        """Wait for no purge any more; nodes may still be at it."""
        if self._purging is not None:
            self._purging.cancel()
            await asyncio.gather(self._purging, return_exceptions=True)

    async def _purge(self, ring: Ring, before_us: int) -> None:
        body = Purge(WHOLE_RING, before_us, tuple(sorted(self._actors)))

        async def one(node: str) -> None:
            try:
                purged = await self._links.ask(node, body, Purged, ring, _PURGE_SECONDS)
            except NodeError as error:
                log.warning("a member has not purged", extra={"error": str(error)})
            else:
                self._meter.purged.inc(purged.removed)

        await asyncio.gather(*(one(member.node_id) for member in ring.members))


async def stats_of(links: Links, ring: Ring) -> list[Status]:
    """What members say of themselves.

    Raises:
        NodeError: a member does not answer.
    """
    return await asyncio.gather(
        *(links.ask(one.node_id, Stat(), Status, ring) for one in ring.members)
    )
