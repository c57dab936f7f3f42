"""Placing workloads on workers: eligibility here, the choice among the eligible by strategy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from muster_coordinator.engine.affinity import NO_AFFINITY, Affinity
from muster_coordinator.engine.model import DEFAULT_CUSTOMER, Requirement, Worker
from muster_coordinator.engine.scheduling.lanes import ahead, schedulable
from muster_coordinator.engine.states import State


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Placement:
    """One workload and the worker that gets it."""

    candidate: Candidate
    worker_id: str


class Chooser(Protocol):
    """The part of a strategy that placing needs."""

    def choose(self, slots: Sequence[Slot]) -> Slot:
        """Pick one of `slots`; there is at least one, and each has room."""
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
    able: dict[Requirement, list[Slot]] = {}
    placements = []
    for candidate in candidates:
        need = candidate.need
        if remaining.get(candidate.customer_id, 1) <= 0:
            continue
        if need not in able:
            able[need] = [slot for slot in slots if slot.worker.can_do(need)]
        chosen = _chosen(candidate, able[need], chooser, ahead(need, prefetch))
        if chosen is None:
            continue
        chosen.load += 1
        chosen.types.add(need.type)
        if candidate.customer_id in remaining:
            remaining[candidate.customer_id] -= 1
        placements.append(Placement(candidate, chosen.worker.id))
    return placements


def _chosen(
    candidate: Candidate, able: Sequence[Slot], chooser: Chooser, extra: int
) -> Slot | None:
    affinity = candidate.affinity
    if affinity:
        able = [slot for slot in able if slot.admits(affinity)]
    allowed = [slot for slot in able if slot.worker.id not in candidate.excluded]
    open_slots = _with_room(allowed or able, extra)
    if affinity.soft and open_slots:
        points = [slot.points(affinity) for slot in open_slots]
        most = max(points)
        open_slots = [slot for slot, of in zip(open_slots, points, strict=True) if of == most]
    return chooser.choose(open_slots) if open_slots else None


def _with_room(slots: Sequence[Slot], extra: int) -> list[Slot]:
    idle = [slot for slot in slots if slot.load < slot.worker.capacity]
    return idle or [slot for slot in slots if slot.load < slot.worker.capacity + extra]
