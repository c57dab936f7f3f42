"""The ring: which storage nodes hold a token.

Consistent hashing with virtual nodes (Karger et al. 1997, DeCandia et al. 2007). A token belongs to
the first virtual node at or after it, clockwise; its replicas are the first distinct nodes from
there, from distinct zones as far as there are zones.
"""

from bisect import bisect_left
from enum import Enum
from functools import cached_property

import msgspec

from muster_kv.ranges import TokenRange, between, coalesce
from muster_kv.slots import hash_of

VIRTUAL_NODES = 150


class MemberState(Enum):
    """What a member is about to be. Whether it answers is no state of the ring."""

    NORMAL = "normal"
    BOOTSTRAPPING = "bootstrapping"
    LEAVING = "leaving"


class Phase(Enum):
    """How far a change of members is. Each step is a ring version of its own.

    A step may be taken only when every reachable node holds the ring of the step before it.
    """

    STABLE = "stable"
    # Writes need a quorum of the old and of the new owners, reads go to the old.
    MOVING = "moving"
    # The data are where they belong: the same writes, reads go to the new owners.
    SWITCHED = "switched"


class Member(msgspec.Struct, frozen=True, gc=False):
    """A storage node; an empty zone is a zone of its own.

    `folder` names the data folder that it is a member with: with another it must not be read,
    before it has been filled again. Empty as long as that is not known.
    """

    node_id: str
    host: str
    port: int
    virtual_nodes: int = VIRTUAL_NODES
    zone: str = ""
    state: MemberState = MemberState.NORMAL
    folder: str = ""


class Placement(msgspec.Struct, frozen=True, gc=False):
    """The nodes of a token, the preferred first.

    Reads go to `natural`. A write is acknowledged by a quorum of `natural` and, where `next` is not
    empty, by a quorum of `next` too (joint quorums, as in Raft's change of members).
    """

    natural: tuple[str, ...]
    next: tuple[str, ...] = ()

    @property
    def pending(self) -> tuple[str, ...]:
        """Nodes that get writes only."""
        return tuple(node for node in self.next if node not in self.natural)

    @property
    def writers(self) -> tuple[str, ...]:
        """All nodes that get writes."""
        return self.natural + self.pending


class Walk:
    """The virtual nodes of some members in the order of their tokens. Remembers what it placed."""

    def __init__(self, members: tuple[Member, ...]) -> None:
        self._zones = {member.node_id: member.zone for member in members}
        points = sorted(
            (hash_of(f"{member.node_id}-vnode-{number}"), member.node_id)
            for member in members
            for number in range(member.virtual_nodes)
        )
        self.tokens = [token for token, _ in points]
        self._owners = [owner for _, owner in points]
        self._placed: dict[tuple[int, int], tuple[str, ...]] = {}

    def replicas(self, token: int, rf: int) -> tuple[str, ...]:
        """Return the `rf` nodes of a token, fewer where there are not so many."""
        if not self.tokens:
            return ()
        at = bisect_left(self.tokens, token) % len(self.tokens)
        placed = self._placed.get((at, rf))
        if placed is None:
            placed = self._placed[at, rf] = self._choose(at, rf)
        return placed

    def _choose(self, at: int, rf: int) -> tuple[str, ...]:
        wanted = min(rf, len(self._zones))
        chosen: list[str] = []
        skipped: list[str] = []
        zones: set[str] = set()
        for step in range(len(self._owners)):
            node = self._owners[(at + step) % len(self._owners)]
            if node in chosen or node in skipped:
                continue
            zone = self._zones[node]
            if zone and zone in zones:
                skipped.append(node)
            else:
                zones.add(zone)
                chosen.append(node)
            if len(chosen) == wanted:
                break
        return tuple(chosen + skipped[: wanted - len(chosen)])


class Ring(msgspec.Struct, frozen=True, dict=True):
    """One version of who is a member, and how far a change of members is.

    `factors_version` is the version with which a tenant's replication factor changed last: what
    was known of tenants before it places requests wrongly.

    Raises ValueError where a member is there twice, or its state does not fit the phase.
    """

    version: int
    members: tuple[Member, ...] = ()
    phase: Phase = Phase.STABLE
    factors_version: int = 0

    def __post_init__(self) -> None:
        names = [member.node_id for member in self.members]
        if len(names) != len(set(names)):
            raise ValueError(f"members: {sorted(names)}; allowed: each node once")
        for member in self.members:
            if self.phase is Phase.STABLE and member.state is not MemberState.NORMAL:
                raise ValueError(
                    f"members[{member.node_id}].state: {member.state.value}; "
                    "allowed: normal, while the ring is stable"
                )

    def member(self, node_id: str) -> Member | None:
        """Return the member of that name, None where there is none."""
        return self._by_name.get(node_id)

    def placement(self, token: int, rf: int, moving_to: int | None = None) -> Placement:
        """Return the nodes of a token.

        `rf` is the tenant's replication factor; `moving_to` the one that it is changing to, while
        it is (members and factors never change at the same time).
        """
        if self.phase is Phase.STABLE:
            natural = self.before.replicas(token, rf)
            if moving_to is None or moving_to == rf:
                return Placement(natural)
            return Placement(natural, self.before.replicas(token, moving_to))
        old, new = self.before.replicas(token, rf), self.after.replicas(token, rf)
        if self.phase is Phase.SWITCHED:
            old, new = new, old
        return Placement(old) if set(old) == set(new) else Placement(old, new)

    def ranges(self, node_id: str, rf: int) -> list[TokenRange]:
        """Return the tokens that a node holds or will hold with replication factor `rf`."""
        return coalesce(
            [
                each
                for previous, token in arcs(self.before, self.after)
                if node_id in self.placement(token, rf).writers
                for each in between(previous, token)
            ]
        )

    @cached_property
    def before(self) -> Walk:
        """The ring without members that join."""
        joining = MemberState.BOOTSTRAPPING
        return Walk(tuple(member for member in self.members if member.state is not joining))

    @cached_property
    def after(self) -> Walk:
        """The ring without members that leave."""
        if self.phase is Phase.STABLE:
            return self.before
        leaving = MemberState.LEAVING
        return Walk(tuple(member for member in self.members if member.state is not leaving))

    @cached_property
    def _by_name(self) -> dict[str, Member]:
        return {member.node_id: member for member in self.members}


def arcs(*walks: Walk) -> list[tuple[int, int]]:
    """Return the pieces (after, up to and with) of the ring in which no walk places differently."""
    tokens = sorted({token for walk in walks for token in walk.tokens})
    return [(tokens[at - 1], token) for at, token in enumerate(tokens)]
