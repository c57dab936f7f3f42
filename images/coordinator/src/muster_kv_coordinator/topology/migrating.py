"""Carrying out one migration, a stage at a time."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping

from muster_kv.ranges import TokenRange
from muster_kv.ring import Member, Ring
from muster_kv.wire.messages import (
    Cause,
    Done,
    DropRange,
    NodeState,
    Purged,
    SetState,
    Status,
    Tenants,
)
from muster_kv_coordinator.core.model import MigrationStatus
from muster_kv_coordinator.core.room import Disk, too_full
from muster_kv_coordinator.topology import plan
from muster_kv_coordinator.topology.copying import Copier, Throttle
from muster_kv_coordinator.topology.ledger import Ledger, Piece, View, Work
from muster_kv_coordinator.topology.links import Links, NodeError, together
from muster_kv_coordinator.topology.meter import TopologyMeter
from muster_kv_coordinator.topology.stages import Action, Seen, Stage, next_action

log = logging.getLogger(__name__)

_AT_ONCE = 4
_DROP_SECONDS = 600.0


class Migrating:
    """What a leader knows of the migration that is under way; all of it can be found out again.

    Args:
        ledger: where every step is written before it counts.
        disk_limit: how full, in percent, disks may become by what a node leaves to them.
    """

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        throttle: Throttle,
        meter: TopologyMeter,
        disk_limit: float,
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._throttle = throttle
        self._meter = meter
        self._disk_limit = disk_limit
        self._cleared: tuple[str, Stage] | None = None

    async def begin(self, view: View, work: Work, keys: int) -> bool:
        """Take a migration up where that is possible now; whether it was.

        Args:
            keys: records that all tenants have, about.
        """
        ring, change = view.ring, work.change
        leaves = change.leaving and ring.member(change.leaving) is None
        joined = change.joining and ring.member(change.joining.node_id) is not None
        same = change.factors is not None and change.factors[0] == change.factors[1]
        if leaves or joined or same:
            await self._end(work, MigrationStatus.COMPLETED)
            return True
        tasks = self._tasks(view, work)
        named = _named(change) | {task.target for task in tasks}
        statuses = await self._links.statuses({one.node_id for one in ring.members} | named)
        obstacle = await self._obstacle(view, change, named, statuses)
        if obstacle:
            await self._ledger.say(work, obstacle)
            return False
        share = plan.share_of(task.range for task in tasks)
        folder = statuses[change.joining.node_id].folder if change.joining else change.folder
        await self._ledger.begin(work, tasks, view.tenants, round(keys * share), folder)
        log.info(
            "migration begins",
            extra={"migration_id": work.migration.migration_id, "ranges": len(tasks)},
        )
        return True

    async def _obstacle(
        self,
        view: View,
        change: plan.Change,
        needed: Collection[str],
        statuses: Mapping[str, Status],
    ) -> str:
        """Why a migration can't begin yet; empty where it can.

        Args:
            needed: nodes that get data, or that the change is about.
        """
        ring = view.ring
        members = {member.node_id for member in ring.members}
        given_up = {change.leaving} if change.forced else set()
        rest = members - {change.leaving}
        if change.leaving and len(rest) < view.largest:
            return f"{len(rest)} nodes would remain, and tenants want {view.largest} replicas"
        silent = set(needed) - given_up - statuses.keys()
        if silent:
            return f"waiting for {_listed(silent)} to answer"
        ended = {
            node
            for node in set(needed) - given_up
            if statuses[node].state not in {NodeState.NORMAL, NodeState.DRAINING}
        }
        if ended:
            return f"{_listed(ended)} was decommissioned before: empty its data folder"
        holding = await self._links.holding(ring, statuses)
        if not plan.spread_enough(ring, holding, view.factors, next(iter(given_up), "")):
            return f"waiting for {_listed(members - holding - given_up)} to hold the ring"
        if change.leaving and not change.forced:
            disks = [
                disk_of(member, statuses[member.node_id])
                for member in ring.members
                if member.node_id in statuses
            ]
            (leaving,) = (disk for disk in disks if disk.node_id == change.leaving)
            others = [disk for disk in disks if disk is not leaving]
            return too_full(leaving, others, self._disk_limit)
        return ""

    async def advance(self, view: View, work: Work, holding: Collection[str]) -> bool:
        """Take the next step; False where it has to wait."""
        change, cancelled = work.change, work.migration.cancel_requested
        given_up = change.leaving if change.forced else ""
        if cancelled and change.joining is not None:
            given_up = change.joining.node_id
        if not cancelled and await self._lost_again(work):
            await self._ledger.cancel(work)
            return True
        spread = plan.spread_enough(view.ring, holding, view.factors, given_up)
        pieces = await self._ledger.pieces(work) if work.stage is Stage.COPYING else []
        if work.stage is Stage.COPYING:
            done = not pieces
        else:
            done = self._cleared == (work.migration.migration_id, work.stage)
        if work.stage is Stage.CLEARING:
            done = done and self._planned(view, work)
        seen = Seen(work.stage, cancelled, spread, done)
        action = next_action(seen)
        try:
            return await self._do(action, view, work, pieces, holding)
        except (NodeError, LookupError) as error:
            await self._ledger.say(work, str(error))
            return False

    async def _lost_again(self, work: Work) -> bool:
        """Whether what has been copied is lost, with the disk of the node that it went to.

        When reads go there already, the node is filled again by a migration of its own.
        """
        change = work.change
        node = change.joining.node_id if change.joining else change.refilled
        if not node or work.stage not in {Stage.CLEARING, Stage.COPYING}:
            return False
        found = (await self._links.statuses((node,))).get(node)
        return found is not None and found.folder != change.folder

    async def _do(
        self,
        action: Action,
        view: View,
        work: Work,
        pieces: list[Piece],
        holding: Collection[str],
    ) -> bool:
        if action is Action.WAIT:
            missing = sorted(one.node_id for one in view.ring.members if one.node_id not in holding)
            await self._ledger.say(work, f"waiting for {', '.join(missing)} to hold the ring")
            return False
        steps = {
            Action.SWITCH: (Stage.SETTLING, plan.switched),
            Action.SETTLE: (Stage.CLEANING, plan.settled),
            Action.GO_BACK: (Stage.UNDOING, plan.undone),
        }
        ends = {
            Action.COMPLETE: MigrationStatus.COMPLETED,
            Action.CANCEL: MigrationStatus.CANCELLED,
        }
        if action in steps:
            stage, make = steps[action]
            await self._step(work, stage, view.ring, make(view.ring, work.change))
        elif action in ends:
            await self._end(work, ends[action])
        elif action is Action.MOVE:
            await self._step(work, Stage.COPYING, view.ring, plan.moving(view.ring, work.change))
        elif action is Action.COPY:
            await self._copy(view, work, pieces, holding)
        elif action is Action.CLEAN:
            await self._clean(view, work)
        else:
            await self._clear(view, work)
        return True

    async def _step(self, work: Work, stage: Stage, ring: Ring, made: plan.Made) -> None:
        members, phase = made
        await self._ledger.step(work, stage, ring, members=members, phase=phase)
        log.info(
            "migration goes on",
            extra={"migration_id": work.migration.migration_id, "stage": stage.value},
        )

    def _tasks(self, view: View, work: Work) -> tuple[plan.Task, ...]:
        change = work.change
        factors = (change.factors[0],) if change.factors else tuple(view.tenants)
        return plan.tasks(view.ring, change, factors)

    @staticmethod
    def _planned(view: View, work: Work) -> bool:
        """Whether the data of all tenants that there are will be copied."""
        return bool(work.change.tenant) or set(view.tenants) <= set(work.factors)

    async def _clear(self, view: View, work: Work) -> None:
        """Have targets drop what they should not have: a range that they gain begins empty.

        It may be left over from a change before, and would bring back what was deleted since.
        """
        if work.stage is Stage.CLEARING and not self._planned(view, work):
            await self._ledger.plan_again(work, self._tasks(view, work), view.tenants)
        tasks = [task for task in await self._ledger.tasks(work) if task.gains]
        targets = {task.target for task in tasks}
        here = await self._links.holding(view.ring, targets)
        if work.stage is Stage.CLEARING and targets - here:
            raise LookupError(f"waiting for {', '.join(sorted(targets - here))} to answer")
        await self._drop(
            view,
            work,
            [(task.target, task.factor, task.range) for task in tasks if task.target in here],
        )
        self._cleared = (work.migration.migration_id, work.stage)

    async def _drop(
        self, view: View, work: Work, ranges: list[tuple[str, int, TokenRange]]
    ) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def drop(node: str, factor: int, span: TokenRange) -> None:
            names = view.names(work.change, factor)
            body = DropRange(span, Tenants(names, exclude=False))
            async with gate:
                await self._links.ask(node, body, Purged, view.ring, _DROP_SECONDS)

        await together(drop(*each) for each in ranges)

    async def _clean(self, view: View, work: Work) -> None:
        """Have members drop what they hold no more; one that is away drops it another time."""
        change = work.change
        factors = (change.factors[0],) if change.factors else tuple(view.tenants)
        left = [
            (loss.node_id, factor, loss.range)
            for factor in factors
            for loss in plan.leftovers(view.ring, change, factor)
        ]
        here = await self._links.holding(view.ring, {node for node, _, _ in left})
        await self._drop(view, work, [each for each in left if each[0] in here])
        if change.leaving and not change.forced:
            await self._links.holding(view.ring, (change.leaving,))
            gone = SetState(NodeState.DECOMMISSIONED)
            try:
                await self._links.ask(change.leaving, gone, Done, view.ring)
            except NodeError as error:
                log.warning("a node left and does not say so", extra={"error": str(error)})
        self._cleared = (work.migration.migration_id, work.stage)

    async def _copy(
        self, view: View, work: Work, pieces: list[Piece], holding: Collection[str]
    ) -> None:
        """Copy some of the pieces, and look at the whole again.

        Raises:
            NodeError, LookupError: some could not be copied.
        """
        gate = asyncio.Semaphore(_AT_ONCE)
        away = {member.node_id for member in view.ring.members} - set(holding)
        away |= plan.unfilled(view.ring, await self._links.statuses(holding)).keys()
        stuck: list[NodeError | LookupError] = []

        async def one(piece: Piece) -> None:
            async with gate:
                try:
                    await self._bring(view, work, piece, away)
                except (NodeError, LookupError) as error:
                    # The others go on.
                    stuck.append(error)

        # Not all at once: what is asked for meanwhile, a cancellation, is seen between two looks.
        await together(one(piece) for piece in pieces[: 16 * _AT_ONCE])
        if stuck:
            raise stuck[0]
        await self._ledger.say(work, "")

    async def _bring(self, view: View, work: Work, piece: Piece, away: set[str]) -> None:
        task, forced = piece.task, work.change.forced
        tenants = Tenants(view.names(work.change, task.factor), exclude=False)
        copier = Copier(self._links, self._throttle, view.ring, tenants)
        while source := plan.wanted(task, piece.copied, away, forced=forced):
            if piece.source != source:
                piece.source, piece.after = source, b""

            async def paged(records: int, after: bytes) -> None:
                piece.after = after
                piece.keys += records
                self._meter.keys.inc(records)
                await self._ledger.note(work, piece, moved=records, done=False)

            await copier.copy(task.range, source, (task.target,), Cause.STREAM, piece.after, paged)
            depth = plan.depth_for(piece.keys)
            await copier.has_all(task.range, source, task.target, depth)
            piece.copied = (*piece.copied, source)
            piece.source, piece.after = "", b""
            await self._ledger.note(work, piece, moved=0, done=False)
        await self._ledger.note(work, piece, moved=0, done=True)

    async def _end(self, work: Work, status: MigrationStatus) -> None:
        await self._ledger.end(work, status)
        self._meter.ended(work.migration.type, status)
        log.info(
            "migration ended",
            extra={"migration_id": work.migration.migration_id, "status": status.value},
        )


def disk_of(member: Member, status: Status) -> Disk:
    """A member's disk as it says."""
    return Disk(
        member.node_id,
        member.virtual_nodes,
        status.data_bytes,
        status.disk_bytes,
        status.disk_used_percent,
    )


def _named(change: plan.Change) -> set[str]:
    names = {change.leaving, change.refilled, change.joining.node_id if change.joining else ""}
    return names - {""}


def _listed(nodes: Iterable[str]) -> str:
    return ", ".join(sorted(nodes))
