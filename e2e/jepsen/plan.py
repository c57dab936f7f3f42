"""What a run has against the store: drawn from its seed, or said."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """A kind of trouble; each has a nemesis of its own, and they work side by side."""

    PROCESSES = "processes"
    PARTITIONS = "partitions"
    CLOCKS = "clocks"
    DISKS = "disks"
    TOPOLOGY = "topology"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Args:
        seed: what is done follows from it; when, only about.
        seconds: of trouble.
    """

    seed: int
    seconds: float
    kinds: frozenset[Kind]

    @property
    def grace_seconds(self) -> int:
        """How long nodes keep what was deleted.

        No request lives as long, no hint does, and no clock may be as wrong: what a clock that is
        behind by more deletes, a node may forget before all replicas know of it.
        """
        return 3600 if Kind.CLOCKS in self.kinds else 4

    @property
    def names(self) -> str:
        """The kinds, for people and for `--nemeses`."""
        return ",".join(kind.value for kind in Kind if kind in self.kinds)


def plan(seed: int, seconds: float, kinds: Collection[Kind] = ()) -> Plan:
    """The plan of a seed: two or three kinds of trouble, unless `kinds` says which."""
    chance = random.Random(f"{seed}/plan")
    drawn = chance.sample(list(Kind), chance.choice((2, 3)))
    return Plan(seed, seconds, frozenset(kinds or drawn))
