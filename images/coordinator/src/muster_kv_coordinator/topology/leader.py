"""The maintenance leader: one coordinator that carries out migrations, and repairs in between."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from muster_kv.ring import MemberState, Phase, Ring
from muster_kv.wire.messages import Status
from muster_kv_coordinator.core.errors import UnavailableError
from muster_kv_coordinator.core.model import AskedRepair
from muster_kv_coordinator.nodes.cluster import NodeSettings
from muster_kv_coordinator.store.database import Database
from muster_kv_coordinator.topology import plan
from muster_kv_coordinator.topology.copying import Throttle
from muster_kv_coordinator.topology.ledger import DeposedError, Ledger, View
from muster_kv_coordinator.topology.links import Links, NodeError
from muster_kv_coordinator.topology.meter import TopologyMeter
from muster_kv_coordinator.topology.migrating import Migrating
from muster_kv_coordinator.topology.repair import Repair, stats_of
from muster_kv_coordinator.topology.wishes import Wishes, of_tenants
from muster_runtime.election import Term

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
_RETRY_ROUND_SECONDS = 60.0
_RETRY_WANTED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard a leader works.

    Args:
        keys_per_second: records that it copies.
        repair_every: seconds between the ends of two complete anti-entropy rounds.
        disk_limit: how full, in percent, disks may become by what a node leaves to them.
    """

    keys_per_second: int
    repair_every: float
    disk_limit: float = 85.0


class Leader:
    """Maintains the cluster while it leads; `lead` is what an elector runs."""

    def __init__(
        self, database: Database, settings: NodeSettings, pace: Pace, meter: TopologyMeter
    ) -> None:
        self._database = database
        self._settings = settings
        self._pace = pace
        self._meter = meter
        self._awake = asyncio.Event()
        self._no_round_before = 0.0
        # What the ranges were counted for last.
        self._counted: tuple[int, frozenset[int], frozenset[str]] | None = None

    def wake(self, _: object = None) -> None:
        """There may be something to do."""
        self._awake.set()

    async def lead(self, term: Term) -> None:
        """Work until another one leads; begin where the last leader was."""
        links = Links(self._settings)
        throttle = Throttle(self._pace.keys_per_second)
        repair = Repair(links, throttle, self._meter)
        self._meter.leading.set(1)
        try:
            await self._reign(term.holder, links, throttle, repair)
        except DeposedError as error:
            log.warning("another coordinator maintains the cluster", extra={"error": str(error)})
        finally:
            await repair.stop()
            self._meter.idle()
            self._counted = None
            await links.close()

    async def _reign(self, holder: str, links: Links, throttle: Throttle, repair: Repair) -> None:
        reign: _Reign | None = None
        while True:
            self._awake.clear()
            busy = False
            try:
                if reign is None:
                    ledger = await Ledger.reign(self._database, holder)
                    migrating = Migrating(
                        ledger, links, throttle, self._meter, self._pace.disk_limit
                    )
                    reign = _Reign(ledger, links, repair, migrating, Wishes(ledger))
                    log.info("maintaining the cluster", extra={"epoch": ledger.epoch})
                busy = await self._turn(reign)
            except UnavailableError as error:
                log.warning("maintenance waits", extra={"error": str(error)})
            except NodeError as error:
                log.warning("a storage node is away", extra={"error": str(error)})
            except DeposedError:
                raise
            except Exception:
                # Clients are served meanwhile.
                log.exception("maintenance failed, and is tried again")
            if not busy:
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_PAUSE_SECONDS):
                await self._awake.wait()
        except TimeoutError:
            return

    async def _turn(self, reign: "_Reign") -> bool:
        """Do the next thing; False where there is nothing to do but wait."""
        ledger, links, migrating = reign.ledger, reign.links, reign.migrating
        # Before the view, which then knows every tenant that they are of.
        asked = await reign.wishes.open()
        view = await ledger.view()
        self._meter.at_work.set(view.work is not None)
        self._meter.waiting.set(len(view.waiting))
        works = (view.work,) if view.work else view.waiting
        named = {work.node.node_id: work.node for work in works if work.node}
        members = {one.node_id: one for one in view.ring.members}
        await links.use((named | members).values())
        statuses = await links.statuses(members)
        await links.leaving(view.ring, statuses)
        lost = plan.unfilled(view.ring, statuses)
        self._count_ranges(view, frozenset(statuses.keys() - lost.keys()))
        if view.ring.phase is Phase.STABLE and plan.put_back(view.ring, statuses):
            log.warning("all members come with other data, which is served", extra={"nodes": lost})
            await ledger.adopt(view.ring, lost)
            return True
        if view.work is not None:
            holding = await links.holding(view.ring, members)
            return await migrating.advance(view, view.work, holding)
        if await self._looked_after(ledger, view, statuses, lost):
            return True
        for work in view.waiting:
            keys = 0
            if work.change.joining is None or view.ring.members:
                keys = await _distinct(links, view)
            if await migrating.begin(view, work, keys):
                return True
        await self._repair(reign, view, asked)
        return False

    def _count_ranges(self, view: View, whole: frozenset[str]) -> None:
        seen = view.ring.version, view.factors, whole
        if seen != self._counted:
            self._counted = seen
            under = plan.under_replicated(view.ring, view.factors, whole)
            self._meter.under_replicated.set(under)

    @staticmethod
    async def _looked_after(
        ledger: Ledger, view: View, statuses: Mapping[str, Status], lost: Mapping[str, str]
    ) -> bool:
        """Note which data folders members have; whether one must be filled, or is known now."""
        # One that is about to leave need not be filled before.
        asked = {work.migration.node_id for work in view.waiting}
        for node_id, folder in lost.items():
            if node_id not in asked:
                log.warning("a member has lost its data", extra={"node_id": node_id})
                await ledger.replace(node_id, folder)
                return True
        unknown = {one.node_id for one in view.ring.members if not one.folder}
        found = {
            node: status.folder
            for node, status in statuses.items()
            if node in unknown and status.folder
        }
        if found:
            await ledger.adopt(view.ring, found)
        return bool(found)

    async def _repair(self, reign: "_Reign", view: View, asked: tuple[AskedRepair, ...]) -> None:
        """A round where one is due, or of what was asked for."""
        age, every = view.round_age, self._pace.repair_every
        due = age >= every
        early = time.monotonic() < self._no_round_before and not reign.wishes.news(asked)
        if early or not (due or asked):
            return
        # Unless this one is complete.
        pause = min(_RETRY_WANTED_SECONDS if asked else _RETRY_ROUND_SECONDS, every)
        self._no_round_before = time.monotonic() + pause
        ring = view.ring
        if not ring.members or not view.tenants:
            await reign.wishes.complete(asked)
            return
        reason = _unsettled(view) or await _away(reign.links, ring)
        if reason:
            log.info("no anti-entropy round", extra={"reason": reason})
            await reign.wishes.wait(asked, reason)
            return

        known = {work.migration.migration_id for work in view.waiting}

        async def go_on() -> bool:
            now = await reign.ledger.view()
            waiting = {work.migration.migration_id for work in now.waiting}
            return now.ring.version == ring.version and now.work is None and waiting <= known

        whole = due or not all(one.tenant_id for one in asked)
        await reign.wishes.begin(asked)
        found = await reign.repair.round(view if whole else of_tenants(view, asked), go_on)
        if found.failure:
            await reign.wishes.wait(asked, found.failure)
            return
        self._no_round_before = 0.0
        if whole:
            await reign.ledger.round_ended(found.begun_us)
        await reign.wishes.complete(asked, found.differing, found.repaired)
        if whole:
            await reign.repair.start_purge(ring, found.begun_us)


@dataclass(frozen=True, slots=True)
class _Reign:
    """What one leader works with, from its election to its end."""

    ledger: Ledger
    links: Links
    repair: Repair
    migrating: Migrating
    wishes: Wishes


def _unsettled(view: View) -> str:
    """Why there can be no anti-entropy now; empty where there can."""
    moving = view.ring.phase is not Phase.STABLE or view.moving_to
    if moving or any(one.state is not MemberState.NORMAL for one in view.ring.members):
        return "the topology changes"
    return ""


async def _away(links: Links, ring: Ring) -> str:
    """Which members there can be no anti-entropy without; empty where all are there."""
    members = {one.node_id for one in ring.members}
    missing = members - await links.holding(ring, members)
    return f"away: {', '.join(sorted(missing))}" if missing else ""


async def _distinct(links: Links, view: View) -> int:
    """About how many keys there are; 0 where nobody knows."""
    try:
        stats = await stats_of(links, view.ring)
    except NodeError:
        return 0
    return sum(status.keys for status in stats) // min(view.tenants, default=1)
