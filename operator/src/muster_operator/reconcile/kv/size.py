"""How many storage nodes a store is to have now: one goes when its records are with the others.

What coordinators say of a node decides what is next; the status only tells whether it was this
operator that wanted it to go. It does so before coordinators are asked: an operator that is killed,
at whatever point, is followed by one that ends or takes back what the first began, and lets be what
others asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from muster_operator import naming
from muster_operator.reconcile.kv.client import (
    AnswerError,
    Member,
    SilentError,
    StoreClient,
    Topology,
    Work,
)

ACTIVE, DRAINING, INACTIVE = "active", "draining", "inactive"
ADDITION, DELETION = "node_addition", "node_deletion"


class Step(Enum):
    """What is to be done about the storage node with the highest number."""

    NOTHING = auto()
    TELL = auto()
    """It is to leave: nothing is asked before the status says so."""
    ASK = auto()
    """Have its records moved to the others."""
    REFUSE = auto()
    """It has to stay: fewer nodes would remain than a tenant has replicas."""
    WAIT = auto()
    """They are being moved."""
    CANCEL = auto()
    """It comes and is wanted no more, or goes and is wanted again."""
    FORGET = auto()
    """It never joined: its pod goes, its volume stays."""
    TAKE = auto()
    """Nothing is asked of it any more: its pod goes, and its volume."""


@dataclass(frozen=True, slots=True)
class Size:
    """What came of it.

    Args:
        nodes: storage nodes that there are to be pods of.
        leaving: that are asked to leave: their records are moved away, or their coming is
            cancelled.
        left: that have left, and whose volume is to go.
        refusal: why none goes although fewer are wanted.
        fewest: how many there have to be; 0 where only coordinators know.
    """

    nodes: int
    leaving: tuple[str, ...] = ()
    left: str = ""
    refusal: str = ""
    fewest: int = 0

    def with_all(self, members: int) -> "Size":
        """The same with pods for so many members, of which one may have none."""
        return replace(self, nodes=max(self.nodes, members))


@dataclass(frozen=True, slots=True)
class Sizing:
    """What there is, and what is wanted.

    Args:
        name: of the KVCluster.
        held: storage nodes that there have been.
        leaving: those that are asked to leave, as the status says.
    """

    name: str
    held: int
    wanted: int
    leaving: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        """The storage node with the highest number."""
        return naming.kv_node(self.name, self.held - 1)

    @property
    def unchanged(self) -> Size:
        """Where nothing is known, nothing is taken away."""
        return Size(max(self.held, self.wanted), self.leaving)


def next_step(
    sizing: Sizing, listed: Mapping[str, Member], under_way: str = "", factor: int = 0
) -> Step:
    """What is to be done; pure.

    A node that was asked to leave and has left goes in any case, also where more are wanted again:
    it serves nothing more, and comes back with an empty volume.

    Args:
        under_way: the type of the last node's migration that has not ended; empty without.
        factor: the largest replication factor of all tenants.
    """
    if sizing.held == 0:
        return Step.NOTHING
    there = listed.get(sizing.last)
    fewer, asked = sizing.wanted < sizing.held, sizing.last in sizing.leaving
    match there.status if there else None:
        case "inactive" if fewer or asked:
            step = Step.TAKE
        case "draining":
            # Not what somebody else asked for.
            back = asked and not fewer and under_way == DELETION
            step = Step.CANCEL if back else Step.WAIT
        case _ if not fewer:
            step = Step.NOTHING
        case None:
            step = Step.FORGET if _rest_is_there(sizing, listed) else Step.WAIT
        case "joining":
            step = Step.CANCEL if under_way == ADDITION else Step.WAIT
        case _ if sizing.wanted < factor:
            step = Step.REFUSE
        case _:
            step = Step.ASK if asked else Step.TELL
    return step


def migration_of(node: str, topology: Topology) -> Work | None:
    """The migration that brings a storage node or takes it away; None where none is open; pure."""
    found = (
        each for each in topology.work if each.of == node and each.type in {ADDITION, DELETION}
    )
    return next(found, None)


def _rest_is_there(sizing: Sizing, listed: Mapping[str, Member]) -> bool:
    """Whether coordinators know the nodes that stay: ones that know nobody may have lost it."""
    names = (naming.kv_node(sizing.name, number) for number in range(sizing.wanted))
    return all(name in listed and listed[name].status == ACTIVE for name in names)


async def settle_size(client: StoreClient, sizing: Sizing) -> Size:
    """Ask coordinators for what is next."""
    try:
        listed = await client.members()
        topology = await client.topology()
        work, factor = migration_of(sizing.last, topology), topology.factor or 0
        step = next_step(sizing, listed, work.type if work else "", factor)
        if step is Step.ASK:
            await client.remove(sizing.last)
        if step is Step.CANCEL and work:
            await client.cancel(work.id)
    except SilentError:
        return sizing.unchanged
    except AnswerError as refused:
        # It stays asked: the next look asks again.
        return replace(sizing.unchanged, refusal=str(refused))
    return size_after(step, sizing, listed, factor)


def size_after(step: Step, sizing: Sizing, listed: Mapping[str, Member], factor: int = 0) -> Size:
    """How many there are to be when that step is taken; pure."""
    held = sizing.held
    match step:
        case Step.NOTHING:
            return Size(max(held, sizing.wanted))
        case Step.REFUSE:
            return Size(held, refusal=f"tenants want {factor} replicas", fewest=factor)
        case Step.FORGET:
            return Size(held - 1)
        case Step.TAKE:
            return Size(held - 1, left=sizing.last)
    names = (naming.kv_node(sizing.name, number) for number in range(held))
    leaving = {name for name in names if name in listed and listed[name].status == DRAINING}
    asked = {sizing.last} if step in {Step.TELL, Step.ASK, Step.CANCEL} else set()
    return Size(held, tuple(sorted(leaving | asked)))
