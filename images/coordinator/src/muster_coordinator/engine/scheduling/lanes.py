"""Lanes: work is fetched apart for each requirement, so that none blocks another.

A single queue would stand still behind a workload that no free worker can do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from muster_coordinator.engine.model import Requirement, Worker
from muster_coordinator.engine.states import WorkerStatus


@dataclass(frozen=True, slots=True)
class Lane:
    """Waiting work of one requirement that at least one worker has room for.

    Args:
        room: how many workloads the workers of this lane can take now.
        free: ids of the workers that have room.
        able: ids of all workers that can do this work, busy ones too.
    """

    need: Requirement
    room: int
    free: tuple[str, ...]
    able: tuple[str, ...]


def schedulable(worker: Worker) -> bool:
    """Whether a worker may be given anything at all."""
    return worker.status is WorkerStatus.ACTIVE and worker.connected


def open_lanes(
    needs: Iterable[Requirement], workers: Sequence[Worker], prefetch: int, batch: int
) -> list[Lane]:
    """The lanes of `needs` that can move now, each for at most `batch` workloads."""
    lanes = []
    for need in needs:
        able = [worker for worker in workers if schedulable(worker) and worker.can_do(need)]
        room = {
            worker.id: worker.capacity + prefetch - worker.load
            for worker in able
            if worker.capacity + prefetch > worker.load
        }
        if room:
            lanes.append(
                Lane(
                    need,
                    min(batch, sum(room.values())),
                    tuple(room),
                    tuple(worker.id for worker in able),
                )
            )
    return lanes
