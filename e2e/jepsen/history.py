"""What clients asked for, what they were told, and when."""

import math
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """What a client knows of a request."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Write:
    """One write or deletion, with all its retries. Names are unique; that of a write is its value.

    Args:
        seen: names of what its client had read and replaces; None where it did not say, so that
            it replaces whatever is there.
        begun: seconds; when it was asked for first.
        ended: when it was acknowledged; infinite where it never was, and may still happen.
        left: when its client was told for the last time, or gave it up.
        doubts: how often its client was not told whether it had happened.
    """

    key: str
    name: str
    seen: frozenset[str] | None
    begun: float
    ended: float = math.inf
    outcome: Outcome = Outcome.UNKNOWN
    deletes: bool = False
    left: float = math.inf
    doubts: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """One read that was answered: the names of all values that it was shown.

    Args:
        known: those of them that came with a context, so that a quorum has them.
    """

    key: str
    found: frozenset[str]
    begun: float
    ended: float
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Again:
    """A write that was asked for once more after it had been acknowledged; `duplicate` was said."""

    key: str
    name: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Addition:
    """An element of a set, or an amount added to a counter; `left` and `doubts` are as in Write."""

    key: str
    name: str
    begun: float
    left: float = math.inf
    outcome: Outcome = Outcome.UNKNOWN
    amount: int = 1
    doubts: int = 0


@dataclass(slots=True)
class History:
    """All that clients of a run have written down."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    agains: list[Again] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)

    def text(self) -> str:
        """All events, one a line, in the order in which they began."""
        events: list[Write | Read | Addition] = [*self.writes, *self.reads, *self.additions]
        lines = [f"{event}\n" for event in sorted(events, key=lambda event: event.begun)]
        return "".join([*lines, *(f"{again}\n" for again in self.agains)])
