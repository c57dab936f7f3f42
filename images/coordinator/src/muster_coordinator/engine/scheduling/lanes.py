"""Lanes: work is fetched apart for each requirement and customer, so that none blocks another.

A single queue would stand still behind a workload that no free worker can do, or whose customer
has as much as it may have at once.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from muster_coordinator.engine.model import DEFAULT_CUSTOMER, Requirement, Worker
from muster_coordinator.engine.states import WorkerStatus

# Of work that is particular about its workers, more is looked at than there is room for, as some of
# it may fit none. Not all of it: what fits none must not slow the rest.
_PARTICULAR = 200


@dataclass(frozen=True, slots=True)
class Waiting:
    """A kind of waiting work.

    Args:
        particular: whether its workloads have hard or anti affinities.
        weight: of the customer's tier.
        most: how many workloads of this customer workers may hold at once; 0 for any number.
    """

    need: Requirement
    customer_id: str = DEFAULT_CUSTOMER
    particular: bool = False
    weight: float = 1.0
    most: int = 0


@dataclass(frozen=True, slots=True)
class Lane:
    """Waiting work of one kind that at least one worker has room for.

    Args:
        room: how many workloads to look at.
        free: ids of the workers that have room.
        able: ids of all workers that can do this work, busy ones too.
    """

    waiting: Waiting
    room: int
    free: tuple[str, ...]
    able: tuple[str, ...]

    @property
    def need(self) -> Requirement:
        """What a worker must be able to do for it."""
        return self.waiting.need


def schedulable(worker: Worker) -> bool:
    """Whether a worker may be given anything at all."""
    return worker.status is WorkerStatus.ACTIVE and worker.connected


def ahead(need: Requirement, prefetch: int) -> int:
    """How many workloads a worker is given beyond its capacity.

    Only of work that has a key: its workers are alike, and each piece is short. Other work may run
    for hours, and what was given ahead would wait for its end beside idle workers.
    """
    return prefetch if need.key_id else 0


def held_by_customers(workers: Iterable[Worker]) -> Counter[str]:
    """How many workloads of each customer workers hold."""
    held: Counter[str] = Counter()
    for worker in workers:
        for share in worker.shares:
            held[share.customer_id] += share.count
    return held


def open_lanes(
    waiting: Iterable[Waiting], workers: Sequence[Worker], prefetch: int, batch: int
) -> list[Lane]:
    """The lanes that can move now, each for at most `batch` workloads."""
    held = held_by_customers(workers)
    places: dict[Requirement, tuple[Mapping[str, int], tuple[str, ...]]] = {}
    lanes = []
    for kind in waiting:
        if kind.most and held[kind.customer_id] >= kind.most:
            continue
        if kind.need not in places:
            places[kind.need] = _places(kind.need, workers, prefetch)
        room, able = places[kind.need]
        if room:
            count = min(batch, sum(room.values()))
            if kind.most:
                count = min(count, kind.most - held[kind.customer_id])
            lanes.append(
                Lane(kind, max(count, _PARTICULAR) if kind.particular else count, tuple(room), able)
            )
    return lanes


def _places(
    need: Requirement, workers: Sequence[Worker], prefetch: int
) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """The room of the workers that have any, and all workers that can do it."""
    able = [worker for worker in workers if schedulable(worker) and worker.can_do(need)]
    extra = ahead(need, prefetch)
    room = {
        worker.id: worker.capacity + extra - worker.load
        for worker in able
        if worker.capacity + extra > worker.load
    }
    return room, tuple(worker.id for worker in able)
