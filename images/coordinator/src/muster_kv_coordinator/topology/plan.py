"""What a change of the topology does to the ring, and what it has to copy; pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from muster_kv.consistency import Level, required
from muster_kv.moves import Loss, Side, losses, moves
from muster_kv.ranges import TokenRange, between, coalesce
from muster_kv.ring import Member, MemberState, Phase, Ring, Walk, arcs
from muster_kv.wire.messages import Status
from muster_kv_coordinator.core.model import Migration, MigrationType

Made = tuple[tuple[Member, ...], Phase]
"""The members and the phase of a ring to come."""


@dataclass(frozen=True, slots=True)
class Change:
    """A migration as the ring sees it.

    Args:
        joining: the member that comes.
        leaving: the name of the member that goes.
        refilled: the name of the member that came back with another data folder.
        folder: of the node that gets data; with yet another one it has lost them again.
        factors: a tenant's replication factor before and after.
        forced: what the leaving or refilled node had is given up; nothing waits for it.
    """

    joining: Member | None = None
    leaving: str = ""
    refilled: str = ""
    folder: str = ""
    tenant: str = ""
    factors: tuple[int, int] | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One range to bring to one node.

    Args:
        factor: whose tenants' records; before the change.
        sources: nodes that may have the records, `needed` of which together surely do; `replaces`
            alone does as well, where it is not empty.
        gains: the target should hold nothing of it before.
    """

    factor: int
    range: TokenRange
    target: str
    sources: tuple[str, ...]
    needed: int
    replaces: str
    gains: bool


def change_of(
    migration: Migration, node: Member | None, *, folder: str = "", forced: bool = False
) -> Change:
    """The change that a migration asks for.

    Args:
        node: that joins.
        folder: the data folder of the node that joins or is filled again.
    """
    if migration.type is MigrationType.NODE_ADDITION:
        return Change(joining=replace(node, folder=folder) if node else None, folder=folder)
    if migration.type is MigrationType.NODE_DELETION:
        return Change(leaving=migration.node_id, forced=forced)
    if migration.type is MigrationType.NODE_REPLACEMENT:
        return Change(refilled=migration.node_id, folder=folder, forced=forced)
    if migration.old_factor is None or migration.new_factor is None:
        raise ValueError(f"migration {migration.migration_id} has no factors")
    return Change(tenant=migration.tenant_id, factors=(migration.old_factor, migration.new_factor))


def moving(ring: Ring, change: Change) -> Made:
    """The members while data are copied: writes go to the old and the new owners.

    A change that the ring shows already, or that needs none, leaves the members as they are.
    """
    if change.joining is not None:
        joining = replace(change.joining, state=MemberState.BOOTSTRAPPING)
        others = (one for one in ring.members if one.node_id != joining.node_id)
        return (*others, joining), Phase.MOVING
    if change.leaving:
        members = (
            replace(one, state=MemberState.LEAVING) if one.node_id == change.leaving else one
            for one in ring.members
        )
        return tuple(members), Phase.MOVING
    return ring.members, Phase.STABLE


def switched(ring: Ring, change: Change) -> Made:
    """The members when reads go to the new owners."""
    if change.refilled:
        return with_folders(ring, {change.refilled: change.folder}), Phase.STABLE
    return ring.members, Phase.STABLE if change.factors else Phase.SWITCHED


def settled(ring: Ring, _: Change) -> Made:
    """The members after the change."""
    stay = (one for one in ring.members if one.state is not MemberState.LEAVING)
    return tuple(replace(one, state=MemberState.NORMAL) for one in stay), Phase.STABLE


def undone(ring: Ring, _: Change) -> Made:
    """The members as before a change that is given up while it copies."""
    stay = (one for one in ring.members if one.state is not MemberState.BOOTSTRAPPING)
    return tuple(replace(one, state=MemberState.NORMAL) for one in stay), Phase.STABLE


def with_folders(ring: Ring, folders: Mapping[str, str]) -> tuple[Member, ...]:
    """The members with the names of data folders that they are members with from now on."""
    return tuple(replace(one, folder=folders.get(one.node_id, one.folder)) for one in ring.members)


def sides(members: tuple[Member, ...], change: Change, factor: int) -> tuple[Side, Side]:
    """The owners before and after a change, of tenants with a replication factor.

    Args:
        members: of the ring before the change, or while it is under way.
    """
    new = change.joining.node_id if change.joining else ""
    before = tuple(replace(one, state=MemberState.NORMAL) for one in members if one.node_id != new)
    after = tuple(one for one in before if one.node_id != change.leaving)
    if change.joining is not None:
        after = (*after, replace(change.joining, state=MemberState.NORMAL))
    old = Side(Walk(before), factor)
    return old, Side(Walk(after), change.factors[1] if change.factors else factor)


def tasks(ring: Ring, change: Change, factors: Iterable[int]) -> tuple[Task, ...]:
    """All that must be copied, for tenants with these replication factors before the change."""
    if change.refilled:
        return tuple(_refills(ring, change.refilled, factors))
    found = []
    for factor in sorted(set(factors)):
        old, new = sides(ring.members, change, factor)
        for move in moves(old, new):
            holds = move.target in old.walk.replicas(move.range.last, factor)
            found.append(
                Task(
                    factor,
                    move.range,
                    move.target,
                    move.sources,
                    move.quorum,
                    move.replaces,
                    not holds,
                )
            )
    return tuple(found)


def _refills(ring: Ring, node: str, factors: Iterable[int]) -> Iterator[Task]:
    """All that a member has to get again.

    Of what a quorum has acknowledged all but one of the quorum may be left, so of the other owners
    so many are joined that no such rest is missed.
    """
    for factor in sorted(set(factors)):
        for owners, ranges in owned_together(ring, factor).items():
            others = tuple(owner for owner in owners if owner != node)
            if node not in owners or not others:
                continue
            needed = min(len(others), factor - required(Level.QUORUM, factor) + 1)
            for span in ranges:
                yield Task(factor, span, node, others, needed, "", gains=False)


def leftovers(ring: Ring, change: Change, factor: int) -> list[Loss]:
    """What members hold no more after a change, and may drop."""
    old, new = sides(ring.members, change, factor)
    return [loss for loss in losses(old, new) if loss.node_id != change.leaving]


def wanted(task: Task, copied: Collection[str], away: Collection[str], *, forced: bool) -> str:
    """From which node a task has to be copied next; empty where it has all.

    Raises:
        LookupError: too few nodes answer; the text names those that do not.
    """
    if task.replaces in copied and task.replaces:
        return ""
    if task.replaces and task.replaces not in away:
        return task.replaces
    done = [node for node in task.sources if node in copied]
    if len(done) >= task.needed:
        return ""
    left = [node for node in task.sources if node not in copied and node not in away]
    if left and (forced or len(done) + len(left) >= task.needed):
        return left[0]
    if forced:
        # What only nodes had that are given up is lost.
        return ""
    missing = ", ".join(sorted(node for node in task.sources if node in away))
    raise LookupError(f"waiting for {missing}, which should give its data to {task.target}")


def spread_enough(
    ring: Ring, holding: Collection[str], factors: Iterable[int], given_up: str = ""
) -> bool:
    """Whether the next step may be taken: no quorum can be had from nodes with an older ring.

    Args:
        holding: the members that hold this ring.
        factors: the replication factors in use.
        given_up: a member that nobody waits for.
    """
    missing = sum(
        1 for member in ring.members if member.node_id not in holding and member.node_id != given_up
    )
    smallest = min((required(Level.QUORUM, factor) for factor in factors), default=None)
    return not missing or (smallest is not None and missing < smallest)


def owned_together(ring: Ring, factor: int) -> dict[tuple[str, ...], list[TokenRange]]:
    """The ranges that the same nodes own, by their names, in a stable ring."""
    found: dict[tuple[str, ...], list[TokenRange]] = {}
    for previous, token in arcs(ring.before):
        owners = tuple(sorted(ring.before.replicas(token, factor)))
        found.setdefault(owners, []).extend(between(previous, token))
    return {owners: coalesce(ranges) for owners, ranges in found.items()}


def under_replicated(ring: Ring, factors: Iterable[int], whole: Collection[str]) -> int:
    """How many pieces of the ring lack a replica: it is away, has yet to get its data, or is none.

    Args:
        whole: the members that answer and have what they should have.
    """
    largest = max(factors, default=0)
    pieces = arcs(ring.before, ring.after) if largest else []
    there = set(whole)
    placed = (ring.placement(token, largest).natural for _, token in pieces)
    return sum(len(there.intersection(nodes)) < largest for nodes in placed)


def unfilled(ring: Ring, statuses: Mapping[str, Status]) -> dict[str, str]:
    """Members that have come with another data folder than they are members with; that folder."""
    return {
        member.node_id: status.folder
        for member in ring.members
        if (status := statuses.get(member.node_id)) is not None
        and member.folder
        and status.folder
        and member.folder != status.folder
    }


def put_back(ring: Ring, statuses: Mapping[str, Status]) -> bool:
    """Whether all members have come with other folders, with data: of a backup of the whole store.

    Nobody has what was there before, so nobody can be filled.
    """
    lost = unfilled(ring, statuses)
    there = any(status.keys for status in statuses.values())
    return there and bool(lost) and len(lost) == len(ring.members)


def depth_for(keys: int) -> int:
    """How deep a hash tree is for so many records: about 32 in each leaf."""
    return max(0, min(12, (keys // 32).bit_length()))


def share_of(ranges: Iterable[TokenRange]) -> float:
    """Which part of all tokens some ranges have."""
    return sum(each.last - each.first + 1 for each in ranges) / 2.0**64
