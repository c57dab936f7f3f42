"""Placing workloads on workers: eligibility here, the choice among the eligible by strategy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from muster_coordinator.engine.model import Requirement, Worker
from muster_coordinator.engine.scheduling.lanes import schedulable
from muster_coordinator.engine.states import State


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting workload; `excluded` are the workers that failed it before."""

    id: UUID
    need: Requirement
    state: State
    excluded: frozenset[str] = frozenset()


@dataclass(slots=True)
class Slot:
    """A worker while a batch is placed: `load` rises with each placement."""

    worker: Worker
    load: int


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
    candidates: Sequence[Candidate], workers: Sequence[Worker], chooser: Chooser, prefetch: int
) -> list[Placement]:
    """Place `candidates` in their order, as far as there is room.

    A worker is given more than its capacity, by at most `prefetch`, only where no other has real
    room. A worker that failed a workload gets it again only where no other can do it at all.
    """
    slots = [Slot(worker, worker.load) for worker in workers if schedulable(worker)]
    able: dict[Requirement, list[Slot]] = {}
    placements = []
    for candidate in candidates:
        need = candidate.need
        if need not in able:
            able[need] = [slot for slot in slots if slot.worker.can_do(need)]
        allowed = [slot for slot in able[need] if slot.worker.id not in candidate.excluded]
        open_slots = _with_room(allowed or able[need], prefetch)
        if open_slots:
            chosen = chooser.choose(open_slots)
            chosen.load += 1
            placements.append(Placement(candidate, chosen.worker.id))
    return placements


def _with_room(slots: Sequence[Slot], prefetch: int) -> list[Slot]:
    idle = [slot for slot in slots if slot.load < slot.worker.capacity]
    return idle or [slot for slot in slots if slot.load < slot.worker.capacity + prefetch]
