"""Scheduling strategies. A new one is a class with `choose` and a line in `STRATEGIES`.

All take the queue in the order of `aging.rank`, which is first in, first out among equals.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from muster_coordinator.engine.scheduling.placement import Slot


class Strategy(Protocol):
    """Chooses among the workers that can take a workload now.

    Attributes:
        fair: whether customers take turns by their weights, instead of the order of the queue.
        weighted: whether priorities count by the weight of their customer.
    """

    fair: bool
    weighted: bool

    def choose(self, slots: Sequence[Slot]) -> Slot:
        """Pick one of `slots`; there is at least one, and each has room."""
        ...

    def preference(self, slot: Slot) -> tuple[float, ...] | None:
        """Least for the one that `choose` would pick; None where it takes more to say than that."""
        ...


class RoundRobin:
    """Each worker in turn, by its id, whatever its load."""

    fair = False
    weighted = False

    def __init__(self) -> None:
        self._last = ""

    def choose(self, slots: Sequence[Slot]) -> Slot:
        """The first worker after the one chosen last, or the first of all."""
        turn = sorted(slots, key=lambda slot: slot.worker.id)
        chosen = next((slot for slot in turn if slot.worker.id > self._last), turn[0])
        self._last = chosen.worker.id
        return chosen

    def preference(self, slot: Slot) -> None:
        """None: it depends on whose turn it was."""


class LeastLoaded:
    """The worker with the smallest part of its capacity in use; a random one among equals."""

    fair = False
    weighted = False

    def choose(self, slots: Sequence[Slot]) -> Slot:
        """The least loaded of `slots`."""
        return min(slots, key=self.preference)

    def preference(self, slot: Slot) -> tuple[float, ...]:
        """The part of its capacity that is in use."""
        return slot.load / slot.worker.capacity, _tie()


class FairShare(LeastLoaded):
    """The least loaded worker, for the customer that has least of the fleet for its weight."""

    fair = True


class Priority:
    """The strongest worker with room: what is first in the queue gets the most capacity."""

    fair = False
    weighted = True

    def choose(self, slots: Sequence[Slot]) -> Slot:
        """The one of `slots` with the greatest capacity, then with the most of it left."""
        return min(slots, key=self.preference)

    def preference(self, slot: Slot) -> tuple[float, ...]:
        """The greatest capacity, then the most of it left."""
        return -slot.worker.capacity, slot.load, _tie()


def _tie() -> float:
    return random.random()  # noqa: S311 - spreads load, is no secret


STRATEGIES: Mapping[str, Callable[[], Strategy]] = {
    "fifo": LeastLoaded,
    "round-robin": RoundRobin,
    "least-loaded": LeastLoaded,
    "priority": Priority,
    "fair-share": FairShare,
}
