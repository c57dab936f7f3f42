"""What the leader needs."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from muster_coordinator.engine.model import Held, Holding, Move, Moved, NewWorkload
from muster_coordinator.engine.ports.workers import Recover
from muster_coordinator.engine.scheduling import Candidate, Lane, Placement, Waiting
from muster_coordinator.engine.states import WorkerStatus

Expire = Callable[[Held, datetime], Move]
"""What becomes of a workload that still waits at its deadline."""


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """When silence makes a worker suspect, dead and forgotten; all in seconds.

    Args:
        grace: how long what runs on a worker without a stream waits for a sign of life; longer
            than the heartbeat interval.
        replica: after how long a silent replica's streams count as ended.
    """

    suspect: float = 30.0
    dead: float = 90.0
    forgotten: float = 7 * 24 * 3600.0
    grace: float = 8.0
    replica: float = 10.0


@dataclass(frozen=True, slots=True)
class Sight:
    """All that waits, where that is little, and what workers hold at the same moment.

    Args:
        candidates: what may be given away now, in the order of the queue.
    """

    kinds: Sequence[Waiting]
    candidates: Sequence[Candidate]
    holding: Holding


class LeaderStore(Protocol):
    """What only the leader does."""

    async def take_epoch(self, holder: str) -> tuple[int, datetime]:
        """Begin a new epoch: the greatest ever seen plus one. Also the database's time."""
        ...

    async def epoch(self) -> int:
        """The greatest epoch ever seen; 0 where nobody has led yet."""
        ...

    async def fenced(self, epoch: int, holder: str) -> None:
        """Leave an audit event: a write of this epoch was refused."""
        ...

    async def now(self) -> datetime:
        """The database's time; the only clock that decisions are made by."""
        ...

    async def waiting(self) -> list[Waiting]:
        """Every kind of waiting work: what it needs, whose it is, whether it is particular."""
        ...

    async def assign(
        self,
        epoch: int,
        lanes: Sequence[Lane],
        place: Callable[[Sequence[Candidate]], Sequence[Placement]],
        lease: float,
    ) -> list[Moved]:
        """Let `place` choose for what is first in each lane, and schedule what still waits then."""
        ...

    async def assign_few(
        self,
        epoch: int,
        most: int,
        place: Callable[[Sight], Awaitable[Sequence[Placement]]],
        lease: float,
    ) -> list[Moved] | None:
        """As `assign`, with all that waits in sight; None where that is more than `most`."""
        ...

    async def vacant(self, one: NewWorkload) -> tuple[Waiting, Holding] | None:
        """The lane of new work in a pool where nothing waits; None where something does."""
        ...

    async def hand_over(
        self, epoch: int, batch: Sequence[NewWorkload], workers: Sequence[str], lease: float
    ) -> list[Moved]:
        """Store new workloads, the first of them as scheduled on `workers`, a worker for each.

        What these got.

        All are stored, and wait where a newer epoch has begun, or their worker can't have them.
        """
        ...

    async def amiss(self, epoch: int, since: datetime, limits: HealthLimits) -> bool:
        """Whether there is anything to judge, recover, expire or release now; read only."""
        ...

    async def judge_workers(
        self, epoch: int, limits: HealthLimits, since: datetime
    ) -> list[tuple[str, WorkerStatus]]:
        """Mark silent workers; silence before `since` does not count. Those that changed."""
        ...

    async def recover(
        self, epoch: int, since: datetime, limits: HealthLimits, recover: Recover
    ) -> list[Moved]:
        """Move what is held by workers that are gone, or for longer than its lease.

        The streams of replicas that are silent, which does not count before `since`, have ended.
        """
        ...

    async def expire(self, epoch: int, expire: Expire) -> list[Moved]:
        """Move what waits beyond its deadline."""
        ...

    async def release(self, epoch: int) -> list[str]:
        """End the quarantines whose time is over; the workers that are out of it."""
        ...

    async def retire(self, epoch: int, seconds: float, most: int) -> int:
        """Delete work that ended `seconds` ago or earlier, at most so much; how much it was."""
        ...

    async def maintain(self, epoch: int, limits: HealthLimits) -> None:
        """Forget long dead workers and replicas and old keys, and keep the audit's partitions."""
        ...
