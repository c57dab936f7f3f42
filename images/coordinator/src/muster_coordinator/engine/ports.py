"""What the engine needs from the outside, as protocols.

Stores raise `Unavailable` while their database is away. Everything that a leader writes carries
its epoch and raises `StaleEpoch` where a newer one exists; everything that a worker writes is
judged by generation.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.model import (
    Assignment,
    Claim,
    Held,
    KeyRecord,
    Move,
    Moved,
    NewWorkload,
    Once,
    QueueDepth,
    Registration,
    Requirement,
    Result,
    Worker,
    WorkerStats,
    Workload,
    WorkloadQuery,
)
from muster_coordinator.engine.scheduling import Candidate, Lane, Placement
from muster_coordinator.engine.states import WorkerStatus


@dataclass(frozen=True, slots=True)
class Decision:
    """What a report leads to: moves to make one after the other, and a result to keep."""

    moves: tuple[Move, ...] = ()
    result: Result | None = None


Decide = Callable[[Claim, Held | None], Decision | EngineError]
"""Judges one report on the locked row of its workload; pure, as it may be called again."""

Recover = Callable[[Held, str], Move]
"""What becomes of a workload whose worker is gone, for the given reason."""

Expire = Callable[[Held, datetime], Move]
"""What becomes of a workload that still waits at its deadline."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a result has to prove: the workload and its input, None once that was dropped."""

    held: Held
    input: bytes | None


@dataclass(frozen=True, slots=True)
class Deliverable:
    """What waits at some workers: `fresh` must still be sent, `waiting` is all of it."""

    fresh: Sequence[Assignment]
    waiting: Collection[UUID]


class QueueStore(Protocol):
    """Workloads as their owners see them."""

    async def submit(self, batch: Sequence[NewWorkload]) -> None:
        """Store new workloads and wake the leader; storing one again changes nothing."""
        ...

    async def submit_once(self, batch: Sequence[NewWorkload], once: Once) -> list[UUID]:
        """Store new workloads of one customer, or nothing where its key was used before.

        The ids of the workloads that are stored under the key.

        Raises:
            Conflict: the key was used for another request.
        """
        ...

    async def submitted(self, once: Once, customer_id: str) -> list[UUID] | None:
        """The ids of what was stored under a key, None where it was not used within 24 hours.

        Raises:
            Conflict: the key was used for another request.
        """
        ...

    async def get(self, workload_id: UUID, customer_id: str) -> Workload | None:
        """One workload with its result, or None where the customer has none such."""
        ...

    async def find(self, query: WorkloadQuery) -> list[Workload]:
        """Workloads without their results, newest first."""
        ...

    async def cancel(self, workload_id: UUID, customer_id: str) -> None:
        """Cancel one workload.

        Raises:
            NotFound: the customer has none such.
            InvalidState: it is at its end already.
        """
        ...

    async def depth(self) -> list[QueueDepth]:
        """How much waits and runs, by pool and kind."""
        ...


class AssignmentStore(Protocol):
    """Workloads on their way through workers."""

    async def deliverable(self, workers: Collection[str], known: Mapping[UUID, int]) -> Deliverable:
        """What is scheduled on `workers`; fresh is what `known` (id to generation) lacks."""
        ...

    async def statements(self, ids: Collection[UUID]) -> dict[UUID, Statement]:
        """The workloads `ids` with their inputs; unknown ones are missing."""
        ...

    async def report(
        self,
        claims: Sequence[Claim],
        decide: Decide,
        seen: Mapping[UUID, Held] | None = None,
    ) -> list[Moved | EngineError | None]:
        """Judge reports and make the moves of each in one transaction.

        `seen` are the workloads as they have just been read, where they have: what moved since
        then is judged anew. Answers each claim with its last move, None where there was nothing to
        do, or its error; a report that was fenced off leaves an audit event.
        """
        ...

    async def take_back(self, worker_id: str, reason: str, recover: Recover) -> list[Moved]:
        """Move all that a worker holds."""
        ...


class WorkerStore(Protocol):
    """The registry of workers."""

    async def register(self, worker: Registration) -> bool:
        """Make a worker known and alive; True where it is a new process of a known name."""
        ...

    async def beat(self, active: Mapping[str, int]) -> Collection[str]:
        """Note heartbeats (worker id to active tasks); the ids that are known."""
        ...

    async def open_stream(self, worker_id: str, replica_id: str, stream_id: UUID) -> bool:
        """Note which replica delivers to a worker; False where the worker is unknown."""
        ...

    async def close_streams(self, streams: Collection[UUID], recover: Recover) -> list[str]:
        """Note that streams ended, and move what was scheduled but not begun on them.

        The workers whose stream it was; one that has opened another stream is not among them.
        """
        ...

    async def replica_started(self, replica_id: str) -> None:
        """Note a new process of a replica: what streams it held before have ended."""
        ...

    async def replica_lives(self, replica_id: str) -> Collection[UUID]:
        """Note that a replica lives; the streams that are recorded as its own."""
        ...

    async def replica_stopped(self, replica_id: str) -> None:
        """Forget a replica."""
        ...

    async def deregister(self, worker_id: str) -> bool:
        """Forget a worker; False where it is unknown."""
        ...

    async def quarantine(self, worker_id: str, reason: str, seconds: float) -> None:
        """Give this worker nothing for a time: `seconds`, and twice as long each further time."""
        ...

    async def lift_quarantine(self, worker_id: str) -> bool:
        """Trust a worker again; False where it is not in quarantine."""
        ...

    async def workers(self) -> list[Worker]:
        """All known workers with what they hold."""
        ...

    async def stats(self, worker_id: str) -> WorkerStats | None:
        """What a worker has done, or None where it is unknown."""
        ...


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

    async def waiting_needs(self) -> list[Requirement]:
        """The requirements that at least one waiting workload has."""
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


class KeyStore(Protocol):
    """Proving and verifying keys."""

    async def keys(self) -> list[KeyRecord]:
        """All keys, oldest first."""
        ...

    async def verifying_key(self, key_id: str, version: str) -> bytes | None:
        """The verifying side of one key."""
        ...

    def proving_key(self, key_id: str, version: str) -> AsyncIterator[bytes]:
        """The proving side of one key, in chunks of at most 1 MiB; none where it is unknown."""
        ...

    async def add(self, epoch: int, record: KeyRecord, proving: bytes, verifying: bytes) -> None:
        """Store a key, unless there is one of this kind already; a retired one is whole again."""
        ...

    async def needed(self, pool: str) -> set[tuple[str, str]]:
        """Key id and version of every key that unfinished work of a pool was queued with."""
        ...

    async def retire(self, epoch: int, current: Collection[tuple[str, str]], grace: float) -> None:
        """Drop the proving sides that were not `current` for `grace` seconds and serve no work."""
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """A result as a worker reported it; `metadata` is what it says about it."""

    proof: bytes
    metadata: Mapping[str, object]
    merkle_root: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a submission is accepted: with the result to keep, or with the reason why not."""

    accepted: bool
    result: Result | None = None
    reason: str = ""


class Acceptance(Protocol):
    """Looks at results before anyone is told that they exist."""

    async def judge(
        self, items: Sequence[tuple[Statement, Submission]]
    ) -> list[Verdict | EngineError]:
        """One verdict for each item; an error where it can't be judged now."""
        ...


class Meter(Protocol):
    """Counts what happens."""

    def assigned(self, moved: Sequence[Moved]) -> None:
        """Workloads were given to workers."""
        ...

    def assigning_failed(self) -> None:
        """A round of scheduling could not be stored."""
        ...

    def polled(self) -> None:
        """A round of scheduling began."""
        ...

    def ended(self, moved: Sequence[Moved], durations_ms: Mapping[UUID, int]) -> None:
        """Workloads moved on a worker's report or by recovery."""
        ...

    def fenced(self, kind: str) -> None:
        """A write was refused: of an old `generation`, or of an old `epoch`."""
        ...

    def quarantined(self, worker_id: str) -> None:
        """A worker was found lying."""
        ...

    def retired(self, count: int) -> None:
        """Finished work was deleted, as it was kept long enough."""
        ...
