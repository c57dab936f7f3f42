"""What workers need: the registry, their assignments, and what they say of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.model import (
    Assignment,
    Cancel,
    Claim,
    Held,
    LogLine,
    Move,
    Moved,
    Pause,
    Registration,
    Result,
    Worker,
    WorkerStats,
)
from muster_coordinator.engine.records import record


@record
class Decision:
    """What a report leads to: a move, if any, and a result to keep."""

    move: Move | None = None
    result: Result | None = None


Decide = Callable[[Claim, Held | None], Decision | EngineError]
"""Judges one report on the locked row of its workload; pure, as it may be called again."""

Recover = Callable[[Held, str], Move]
"""What becomes of a workload whose worker is gone, for the given reason."""


@record
class Statement:
    """What a result has to prove: the workload and its input, None once that was dropped."""

    held: Held
    input: bytes | None


@dataclass(frozen=True, slots=True)
class Deliverable:
    """What waits at some workers: `fresh` must still be sent, `waiting` is all of it."""

    fresh: Sequence[Assignment]
    waiting: Collection[UUID]


@dataclass(frozen=True, slots=True)
class Orders:
    """What workers must be told.

    Args:
        commands: worker id and command.
        held: of the given assignments those that are still their workers'.
        draining: workers that should take nothing more.
    """

    commands: Sequence[tuple[str, Cancel | Pause]]
    held: Collection[UUID]
    draining: Collection[str] = ()


class AssignmentStore(Protocol):
    """Workloads on their way through workers."""

    async def deliverable(self, workers: Collection[str], known: Mapping[UUID, int]) -> Deliverable:
        """What is scheduled on `workers`; fresh is what `known` (id to generation) lacks."""
        ...

    async def orders(self, workers: Collection[str], given: Collection[Claim]) -> Orders:
        """What `workers` must be told of what they run, of which `given` was sent to them."""
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
        """Judge reports and make the moves of all in one statement.

        `seen` are the workloads as they have just been read, where they have: what moved since
        then is judged anew. Answers each claim with its move, None where there was nothing to do,
        or its error; a report that was fenced off leaves an audit event.
        """
        ...

    async def complete(self, seen: Sequence[Held], results: Sequence[Result]) -> list[Moved]:
        """Store accepted results, none of them a proof, with the ends of their workloads.

        `seen` are the workloads as they were judged, each once and all in one state; what has
        moved since stays as it is, and is not in the answer.
        """
        ...

    async def take_back(
        self, worker_id: str, reason: str, recover: Recover, *, quarantined: bool = False
    ) -> list[Moved]:
        """Move all that a worker holds; with `quarantined`, only while it is in quarantine."""
        ...


@dataclass(frozen=True, slots=True)
class ProgressNote:
    """How far an assignment came; `percent` from 0 to 100."""

    claim: Claim
    percent: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointNote:
    """Where an assignment could go on from; `data` is the worker's own."""

    claim: Claim
    data: bytes


@dataclass(frozen=True, slots=True)
class LogNote:
    """What an assignment wrote."""

    claim: Claim
    lines: tuple[LogLine, ...]


class NoteStore(Protocol):
    """What workers say on the way; each note is judged by its generation.

    All answer each note with None, or with why it was refused; a refused one leaves an audit event.
    """

    async def progress(
        self, notes: Sequence[ProgressNote], lease: float
    ) -> list[EngineError | None]:
        """Keep the newest progress of each workload, which is a sign of life for `lease` seconds.

        The limit of a workload with a `timeout_seconds` of its own stays what it is.
        """
        ...

    async def checkpoints(
        self, notes: Sequence[CheckpointNote], lease: float
    ) -> list[EngineError | None]:
        """Keep the last 10 checkpoints of each workload; a sign of life as well."""
        ...

    async def logs(self, notes: Sequence[LogNote]) -> list[EngineError | None]:
        """Keep lines, the last 10,000 of each workload; also of one that has just ended."""
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

    async def drain(self, worker_id: str, reason: str) -> bool:
        """Give this worker nothing more, and let it be told so; again changes nothing.

        False where it is unknown.

        Raises:
            InvalidState: it is dead or in quarantine, and gets nothing anyway.
        """
        ...

    async def remove(self, worker_id: str, reason: str) -> bool:
        """Forget a worker, whatever its status; False where it is unknown."""
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
