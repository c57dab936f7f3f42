"""What the leading replica does: assign, watch, recover. All of it fenced by its epoch."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from muster_coordinator.engine.batching import Pacer, Width
from muster_coordinator.engine.errors import StaleEpoch, Unavailable
from muster_coordinator.engine.model import Moved, NewWorkload, Worker
from muster_coordinator.engine.ports import HealthLimits, LeaderStore, Meter, Sight, WorkerStore
from muster_coordinator.engine.retry import RetryPolicy
from muster_coordinator.engine.roster import Roster
from muster_coordinator.engine.scheduling import (
    Candidate,
    Placement,
    Strategy,
    Waiting,
    fair_order,
    held_by_customers,
    open_lanes,
    place,
)
from muster_coordinator.engine.states import State

log = logging.getLogger(__name__)

_RETIRED_AT_ONCE = 500
_RETIRE_PAUSE_SECONDS = 0.1

# So much is read whole, whatever of it can be given away.
_FEW = 20

_LANE = attrgetter("customer_id", "requirement", "priority", "affinity", "deadline")

Duty = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LeaderSettings:
    """How the leader works; times in seconds.

    Args:
        poll: between two looks without a notification.
        cleanup: between two cleanings.
        lease: how long a workload may be held before it counts as stuck.
        patience: how long the database may be away before leadership is given up, so that a
            replica that can reach it may lead.
        batch: most workloads assigned in one transaction.
        budget: how long a round should take; it is for less while they take longer.
        prefetch: how many workloads a worker is given beyond its capacity.
        retention: how long finished work is kept.
        pace: from a round of scheduling that assigned something to the next, at least.
    """

    poll: float = 2.0
    cleanup: float = 60.0
    lease: float = 300.0
    patience: float = 10.0
    batch: int = 100
    budget: float = 1.0
    prefetch: int = 1
    retention: float = 7 * 24 * 3600.0
    pace: float = 0.02
    limits: HealthLimits = field(default_factory=HealthLimits)


def _nobody(_moved: Sequence[Moved]) -> None:
    """Who hears of assignments where nobody has to."""


class Leader:
    """Leads while an elector says so; see `lead`.

    Args:
        duties: what each leader does once.

    Attributes:
        on_assigned: told at once of what was given to workers.
    """

    def __init__(
        self,
        store: LeaderStore,
        workers: WorkerStore,
        strategy: Strategy,
        policy: RetryPolicy,
        settings: LeaderSettings,
        meter: Meter,
        duties: Sequence[Duty] = (),
    ) -> None:
        self._store = store
        self._workers = workers
        self._strategy = strategy
        self._policy = policy
        self._settings = settings
        self._meter = meter
        self._duties = duties
        self.on_assigned: Callable[[Sequence[Moved]], None] = _nobody
        self._width = Width(settings.batch, settings.budget)
        self._wake = asyncio.Event()
        # Whoever places knows what everybody holds, and is alone with that until it is stored.
        self._placing = asyncio.Lock()
        self._roster = Roster(workers)
        # Whether little waited when that was last looked at, and such a round is under way.
        self._little = True
        self._brief = False
        self._epoch: int | None = None

    @property
    def epoch(self) -> int | None:
        """The epoch that this replica leads in; None where it does not lead."""
        return self._epoch

    def wake(self, *, workers: bool = True) -> None:
        """There may be something to assign.

        Args:
            workers: whether workers may be others, or know other things, than before.
        """
        if workers:
            self._roster.doubt()
        self._wake.set()

    async def hand_over(self, batch: Sequence[NewWorkload]) -> bool:
        """Store new work together with its assignment; nothing is stored where that can't be.

        It can be where this replica leads, the batch is of one kind and particular about nothing,
        has no deadline, no older work of its pool waits, and a worker has room. What finds none
        waits.

        Raises:
            Unavailable: the database is away.
        """
        epoch, first = self._epoch, batch[0]
        if epoch is None or (self._placing.locked() and not self._brief):
            return False
        lane = _LANE(first)
        if first.affinity or first.deadline or any(_LANE(one) != lane for one in batch):
            return False
        async with self._placing:
            vacancy = await self._store.vacant(first)
            if vacancy is None:
                return False
            kind, holding = vacancy
            known = await self._roster.holding(holding)
            # They differ in nothing that matters here, so that one stands for all.
            alike = Candidate(first.id, kind.need, State.PENDING, customer_id=first.customer_id)
            placements = self._place([alike] * len(batch), [kind], known)
            if not placements:
                return False
            workers = [placement.worker_id for placement in placements]
            moved = await self._store.hand_over(epoch, batch, workers, self._settings.lease)
            if len(moved) < len(workers):
                self._roster.doubt()
        self._tell(moved)
        return True

    async def lead(self, holder: str) -> None:
        """Lead in a new epoch, until cancelled, or followed, or cut off from the database."""
        try:
            epoch, since = await self._store.take_epoch(holder)
        except Unavailable as error:
            log.warning("can't lead without the database", extra={"error": str(error)})
            return
        log.info("leading", extra={"epoch": epoch})
        self._epoch = epoch
        self._roster.doubt()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._schedule(epoch))
                group.create_task(self._watch(epoch, since))
                group.create_task(self._clean(epoch))
                for duty in self._duties:
                    group.create_task(self._once(duty, epoch))
        except* StaleEpoch:
            log.warning("followed by another leader", extra={"epoch": epoch})
            self._meter.fenced("epoch")
            await self._leave_trace(epoch, holder)
        except* Unavailable as group:
            log.warning("gave up leading", extra={"epoch": epoch, "error": str(group.exceptions)})
        except* Exception:
            # The replica serves on; whoever is elected next tries again.
            log.exception("leading failed", extra={"epoch": epoch})
            self._meter.assigning_failed()
        finally:
            self._epoch = None

    async def _leave_trace(self, epoch: int, holder: str) -> None:
        try:
            await self._store.fenced(epoch, holder)
        except Unavailable as error:
            log.warning("the refused write is not in the audit", extra={"error": str(error)})

    async def _schedule(self, epoch: int) -> None:
        patience = _Patience(self._settings.patience)
        pacer = Pacer(self._settings.pace)
        while True:
            await pacer.turn()
            self._wake.clear()
            try:
                while (assigned := await self._round(epoch)) >= self._width.now:
                    patience.renew()
                patience.renew()
                if not assigned:
                    pacer.forget()
            except Unavailable as error:
                self._meter.assigning_failed()
                await patience.spend(error)
                continue
            try:
                async with asyncio.timeout(self._settings.poll):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self, epoch: int) -> int:
        """One batch, timed; how many were assigned."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            return await self._assign(epoch)
        finally:
            self._width.took(loop.time() - begun)

    async def _assign(self, epoch: int) -> int:
        """One batch; how many were assigned."""
        self._meter.polled()
        moved = await self._few(epoch) if self._little else None
        if moved is None:
            moved = await self._many(epoch)
        self._tell(moved)
        return len(moved)

    async def _few(self, epoch: int) -> list[Moved] | None:
        """Assign all that waits, as far as there is room; None where that is much."""
        placements: Sequence[Placement] = []

        async def place(sight: Sight) -> Sequence[Placement]:
            nonlocal placements
            workers = await self._roster.holding(sight.holding)
            placements = self._place(sight.candidates, sight.kinds, workers)
            return placements

        async with self._placing:
            self._brief = True
            try:
                moved = await self._store.assign_few(epoch, _FEW, place, self._settings.lease)
            finally:
                self._brief = False
        self._little = moved is not None
        if moved is not None and len(moved) < len(placements):
            # Some worker can't have what it was meant to have; perhaps another can.
            self.wake()
        return moved

    async def _many(self, epoch: int) -> list[Moved]:
        """Assign what is first in each lane."""
        waiting = await self._store.waiting()
        self._little = not waiting
        if not waiting:
            return []
        async with self._placing:
            return await self._fill(epoch, waiting)

    def _tell(self, moved: Sequence[Moved]) -> None:
        """Tell of what was given to workers, as this replica's own streams need not wait for it."""
        if moved:
            self._meter.assigned(moved)
            self.on_assigned(moved)

    async def _fill(self, epoch: int, waiting: Sequence[Waiting]) -> list[Moved]:
        workers = await self._workers.workers()
        lanes = open_lanes(waiting, workers, self._settings.prefetch, self._width.now)
        if not lanes:
            return []
        return await self._store.assign(
            epoch,
            lanes,
            lambda candidates: self._place(candidates, waiting, workers),
            self._settings.lease,
        )

    def _place(
        self,
        candidates: Sequence[Candidate],
        waiting: Sequence[Waiting],
        workers: Sequence[Worker],
    ) -> Sequence[Placement]:
        held = held_by_customers(workers)
        if self._strategy.fair:
            weights = {kind.customer_id: kind.weight for kind in waiting}
            candidates = fair_order(candidates, weights, held)
        left = {
            kind.customer_id: kind.most - held[kind.customer_id] for kind in waiting if kind.most
        }
        placements = place(candidates, workers, self._strategy, self._settings.prefetch, left)
        return placements[: self._width.now]

    async def _watch(self, epoch: int, since: datetime) -> None:
        """Mark silent workers and recover what they held; know anew who they are.

        Silence counts only from when the database was seen last, as nobody could note heartbeats
        while it was away.
        """
        patience = _Patience(self._settings.patience)
        regained: datetime | None = since
        while True:
            try:
                if regained is None:
                    regained = await self._store.now()
                await self._watch_once(epoch, regained)
                await self._roster.read()
                patience.renew()
            except Unavailable as error:
                regained = None
                await patience.spend(error)
                continue
            await asyncio.sleep(self._settings.poll)

    async def _watch_once(self, epoch: int, since: datetime) -> None:
        if not await self._store.amiss(epoch, since, self._settings.limits):
            return
        for worker_id, status in await self._store.judge_workers(
            epoch, self._settings.limits, since
        ):
            log.warning("worker is silent", extra={"worker_id": worker_id, "status": status})
        moved = await self._store.recover(epoch, since, self._settings.limits, self._policy.lost)
        for one in moved:
            log.warning("recovered", extra={"task_id": str(one.id), "state": one.after})
        expired = await self._store.expire(epoch, self._policy.expired)
        for one in expired:
            log.info("deadline passed", extra={"task_id": str(one.id)})
        self._meter.ended([*moved, *expired])
        for worker_id in await self._store.release(epoch):
            log.info("quarantine is over", extra={"worker_id": worker_id})

    async def _clean(self, epoch: int) -> None:
        patience = _Patience(self._settings.patience)
        while True:
            try:
                await self._store.maintain(epoch, self._settings.limits)
                await self._retire(epoch)
                patience.renew()
            except Unavailable as error:
                await patience.spend(error)
                continue
            await asyncio.sleep(self._settings.cleanup)

    async def _retire(self, epoch: int) -> None:
        """Delete finished work that is old enough, in batches between which others have a turn."""
        total = 0
        while True:
            count = await self._store.retire(epoch, self._settings.retention, _RETIRED_AT_ONCE)
            total += count
            self._meter.retired(count)
            if count < _RETIRED_AT_ONCE:
                break
            await asyncio.sleep(_RETIRE_PAUSE_SECONDS)
        if total:
            log.info("old tasks deleted", extra={"count": total})

    async def _once(self, duty: Duty, epoch: int) -> None:
        patience = _Patience(self._settings.patience)
        while True:
            try:
                await duty(epoch)
                return
            except Unavailable as error:
                await patience.spend(error)


class _Patience:
    """Lets an error pass as long as it does not last."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end: float | None = None

    def renew(self) -> None:
        self._end = None

    async def spend(self, error: Unavailable) -> None:
        """Pause before the next try; raise `error` where it has lasted too long."""
        now = asyncio.get_running_loop().time()
        if self._end is None:
            self._end = now + self._seconds
        if now >= self._end:
            raise error
        await asyncio.sleep(0.2)
