"""How many replicas must answer, and how far a request is on its way there.

Progress is a value: an event makes a new one. Nothing here knows time; deadlines are the caller's.
"""

from enum import Enum

import msgspec

from muster_kv.ring import Placement


class Level(Enum):
    """How many replicas of a key a client wants to have answered."""

    ONE = "one"
    QUORUM = "quorum"
    ALL = "all"


class State(Enum):
    """Where a request stands."""

    PENDING = "pending"
    REACHED = "reached"
    # Too many replicas have failed for the level to be reached.
    IMPOSSIBLE = "impossible"


def parse_level(text: str, default: Level = Level.QUORUM) -> Level:
    """Return the level of that name, `default` where it is empty.

    Raises ValueError that names the field and what is allowed.
    """
    if not text:
        return default
    try:
        return Level(text.lower())
    except ValueError:
        allowed = ", ".join(level.value for level in Level)
        raise ValueError(f"consistency: {text!r}; allowed: {allowed}") from None


def required(level: Level, rf: int) -> int:
    """Return how many of `rf` replicas a level needs."""
    if level is Level.ONE:
        return 1
    return rf if level is Level.ALL else rf // 2 + 1


class Group(msgspec.Struct, frozen=True, gc=False):
    """Replicas of which `needed` must answer."""

    nodes: tuple[str, ...]
    needed: int

    def state(self, acked: tuple[str, ...], failed: tuple[str, ...]) -> State:
        """Return where the group stands."""
        if sum(node in acked for node in self.nodes) >= self.needed:
            return State.REACHED
        if sum(node not in failed for node in self.nodes) < self.needed:
            return State.IMPOSSIBLE
        return State.PENDING


class Progress(msgspec.Struct, frozen=True, gc=False):
    """Who has answered a request so far, who can't any more, and what that makes of it."""

    groups: tuple[Group, ...]
    acked: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def ack(self, node: str) -> "Progress":
        """Return the progress after a node's success; one that had been given up counts again."""
        if node in self.acked:
            return self
        failed = self.failed
        if node in failed:
            failed = tuple(other for other in failed if other != node)
        return Progress(self.groups, (*self.acked, node), failed)

    def fail(self, node: str) -> "Progress":
        """Return the progress after a node's failure; what it has done before stays done."""
        if node in self.acked or node in self.failed:
            return self
        return Progress(self.groups, self.acked, (*self.failed, node))

    @property
    def state(self) -> State:
        """Where the request stands: reached where all groups are, impossible where one is."""
        states = [group.state(self.acked, self.failed) for group in self.groups]
        if State.IMPOSSIBLE in states:
            return State.IMPOSSIBLE
        return State.PENDING if State.PENDING in states else State.REACHED

    @property
    def answered(self) -> int:
        """How many replicas of the first group have succeeded."""
        return sum(node in self.acked for node in self.groups[0].nodes)

    def shortfall(self) -> str:
        """Return what a client is told where the level was not reached."""
        parts = [
            f"{sum(node in self.acked for node in group.nodes)} of {group.needed} needed replicas"
            for group in self.groups
        ]
        return " and ".join(parts) + " answered"


def write_progress(
    placement: Placement, level: Level, rf: int, moving_to: int | None = None
) -> Progress:
    """Return the start of a write: nobody has answered.

    `moving_to` is the replication factor that the tenant is changing to, while it is.
    """
    groups = [Group(placement.natural, required(level, rf))]
    if placement.next:
        groups.append(
            Group(placement.next, required(level, rf if moving_to is None else moving_to))
        )
    return Progress(tuple(groups))


def read_progress(placement: Placement, level: Level, rf: int) -> Progress:
    """Return the start of a read: nobody has answered."""
    return Progress((Group(placement.natural, required(level, rf)),))
