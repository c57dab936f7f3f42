"""Placing workloads on workers: eligibility here, the choice among the eligible by strategy."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from muster_coordinator.engine.affinity import NO_AFFINITY, Affinity
from muster_coordinator.engine.model import DEFAULT_CUSTOMER, Requirement, Worker
from muster_coordinator.engine.records import record
from muster_coordinator.engine.scheduling.lanes import ahead, schedulable
from muster_coordinator.engine.states import State


@record
class Candidate:
    """A waiting workload; `excluded` are the workers that failed it before."""

    id: UUID
    need: Requirement
    state: State
    excluded: frozenset[str] = frozenset()
    customer_id: str = DEFAULT_CUSTOMER
    affinity: Affinity = NO_AFFINITY


@dataclass(slots=True)
class Slot:
    """A worker while a batch is placed: `load` and `types` grow with each placement."""

    worker: Worker
    load: int
    types: set[str] = field(default_factory=set)

    def admits(self, affinity: Affinity) -> bool:
        """Whether a workload with this affinity may be here."""
        return affinity.admits(self.worker.id, self.worker.tags, self.types)

    def points(self, affinity: Affinity) -> int:
        """How much a workload with this affinity would rather be here."""
        return affinity.soft.points(self.worker.id, self.worker.tags, self.types)


@record
class Placement:
    """One workload and the worker that gets it."""

    candidate: Candidate
    worker_id: str


class Chooser(Protocol):
    """The part of a strategy that placing needs."""

    def choose(self, slots: Sequence[Slot]) -> Slot:
        """Pick one of `slots`; there is at least one, and each has room."""
        ...

    def preference(self, slot: Slot) -> tuple[float, ...] | None:
        """Least for the one that `choose` would pick; None where it takes more to say than that."""
        ...


def place(
    candidates: Sequence[Candidate],
    workers: Sequence[Worker],
    chooser: Chooser,
    prefetch: int,
    left: Mapping[str, int] | None = None,
) -> list[Placement]:
    """Place `candidates` in their order, as far as there is room.

    A worker is given more than its capacity, by at most `prefetch`, only where no other has real
    room. A worker that failed a workload gets it again only where no other can do it at all.

    Args:
        left: how many workloads customers may still be given; any number to those not named.
    """
    slots = [
        Slot(worker, worker.load, {share.type for share in worker.shares})
        for worker in workers
        if schedulable(worker)
    ]
    remaining = dict(left or {})
    able: dict[Requirement, _Able] = {}
    last: Requirement | None = None
    those: _Able | None = None
    placements = []
    for candidate in candidates:
        need = candidate.need
        if remaining.get(candidate.customer_id, 1) <= 0:
            continue
        # Most come in rows of one kind, which need not be looked up each time.
        if those is None or need is not last:
            last, those = need, able.get(need)
        if those is None:
            can = [slot for slot in slots if slot.worker.can_do(need)]
            those = able[need] = _Able(can, chooser, ahead(need, prefetch))
        chosen = those.chosen(candidate)
        if chosen is None:
            continue
        chosen.load += 1
        chosen.types.add(need.type)
        if candidate.customer_id in remaining:
            remaining[candidate.customer_id] -= 1
        placements.append(Placement(candidate, chosen.worker.id))
    return placements


class _Able:
    """The slots that can do one kind of work.

    What may go to any of them, as nearly all work may, goes to the first of a heap; so the time
    that a placement takes hardly grows with the number of workers.
    """

    def __init__(self, slots: Sequence[Slot], chooser: Chooser, extra: int) -> None:
        self._slots = slots
        self._chooser = chooser
        self._extra = extra
        # With the load that a slot had when it was put in its place.
        self._heap: list[tuple[tuple[float, ...], int, int, Slot]] | None = None
        if all(chooser.preference(slot) is not None for slot in slots[:1]):
            self._heap = [self._entry(number, slot) for number, slot in enumerate(slots)]
            heapq.heapify(self._heap)

    def chosen(self, candidate: Candidate) -> Slot | None:
        """Where a workload goes; None where nobody has room for it."""
        affinity = candidate.affinity
        anywhere = affinity is NO_AFFINITY and not candidate.excluded
        if self._heap is not None and anywhere:
            return self._first(self._heap)
        able = self._slots
        if affinity:
            able = [slot for slot in able if slot.admits(affinity)]
        allowed = [slot for slot in able if slot.worker.id not in candidate.excluded]
        open_slots = _with_room(allowed or able, self._extra)
        if affinity.soft and open_slots:
            points = [slot.points(affinity) for slot in open_slots]
            most = max(points)
            open_slots = [slot for slot, of in zip(open_slots, points, strict=True) if of == most]
        return self._chooser.choose(open_slots) if open_slots else None

    def _entry(self, number: int, slot: Slot) -> tuple[tuple[float, ...], int, int, Slot]:
        busy = float(slot.load >= slot.worker.capacity)
        key = (busy, *(self._chooser.preference(slot) or ()))
        return key, number, slot.load, slot

    def _first(self, heap: list[tuple[tuple[float, ...], int, int, Slot]]) -> Slot | None:
        """Loads only grow, so a slot that has more than it had can only be further behind."""
        while heap:
            _, number, load, slot = heap[0]
            if slot.load >= slot.worker.capacity + self._extra:
                heapq.heappop(heap)
            elif slot.load != load:
                heapq.heapreplace(heap, self._entry(number, slot))
            else:
                return slot
        return None


def _with_room(slots: Sequence[Slot], extra: int) -> list[Slot]:
    idle = [slot for slot in slots if slot.load < slot.worker.capacity]
    return idle or [slot for slot in slots if slot.load < slot.worker.capacity + extra]
