"""The engine's vocabulary: immutable records that the store and the faces exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from muster_coordinator.engine.states import State, WorkerStatus, check_transition


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a worker must be able to do for a workload.

    Args:
        pool: only workers of this pool take it.
        type: the kind of work, as in `prove.merkle`.
        key_id: the key it must hold; empty for work without keys.
        key_version: the one version of that key that counts.
    """

    pool: str
    type: str
    key_id: str = ""
    key_version: str = ""


@dataclass(frozen=True, slots=True)
class NewWorkload:
    """A workload as it is submitted; `input` is secret and leaves the row at its end.

    Args:
        deadline: when it fails if it still waits for a worker.
        timeout_seconds: the same, counted from when it is stored.
    """

    id: UUID
    requirement: Requirement
    input: bytes
    priority: int = 10
    max_retries: int = 3
    customer_id: str = "default"
    request_id: str = ""
    traceparent: str = ""
    deadline: datetime | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """A submission that must not be taken in twice.

    Args:
        key_sha256: of the key that its customer chose.
        fingerprint: differs between two requests that are not the same.
    """

    key_sha256: bytes
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What a completed workload yielded; `public` are decimal strings."""

    proof: bytes
    public: tuple[str, ...]
    encoding: str
    key_version: str
    verified: bool
    duration_ms: int
    merkle_root: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as its owner may see it: without its input."""

    id: UUID
    customer_id: str
    requirement: Requirement
    state: State
    priority: int
    generation: int
    worker_id: str | None
    retry_count: int
    error: str | None
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    deadline: datetime | None = None
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class WorkloadQuery:
    """Which workloads to list, newest first; `before` is the last one of the page before."""

    customer_id: str = "default"
    state: frozenset[State] = frozenset()
    type: str | None = None
    pool: str | None = None
    before: UUID | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Registration:
    """What a worker says of itself.

    Args:
        capacity: how many workloads it works on at once.
        types: the kinds of work it can do.
        keys: key id to the versions of it that are loaded, separated by spaces; empty where it
            does not say.
        instance: differs between two processes of one name; empty where the worker sends none.
    """

    id: str
    pool: str
    capacity: int
    types: frozenset[str]
    keys: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Worker:
    """A known worker and what it holds: `load` is its number of assigned workloads."""

    id: str
    pool: str
    status: WorkerStatus
    capacity: int
    types: frozenset[str]
    keys: Mapping[str, str]
    load: int
    connected: bool
    last_heartbeat_at: datetime
    status_reason: str = ""
    quarantined_until: datetime | None = None

    def can_do(self, need: Requirement) -> bool:
        """Whether pool, kind of work and key fit; a worker that names no keys has them all."""
        if self.pool != need.pool or need.type not in self.types:
            return False
        if not need.key_id or not self.keys:
            return True
        return need.key_version in self.keys.get(need.key_id, "").split()


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """What a worker has done since it was first known; durations in milliseconds."""

    tasks_completed: int
    total_duration_ms: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose assignment a report is about; generation 0 means the one that the worker holds."""

    workload_id: UUID
    worker_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Held:
    """The part of a workload's row that decisions are made on."""

    id: UUID
    requirement: Requirement
    state: State
    worker_id: str | None
    generation: int
    retry_count: int
    max_retries: int
    redistributions: int
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """One transition of one workload, legal by construction.

    Args:
        event: its name in the audit, as in `workload.retried`.
        reason: one sentence for the audit.
        worker_id: who gets it; only for a move to SCHEDULED.
        lease: seconds until it counts as stuck; only for a move to SCHEDULED or RUNNING.
        delay: seconds until it may be scheduled again.
        failed_on: a worker that should not get it again.
        error: what its owner is told.
    """

    id: UUID
    before: State
    after: State
    event: str
    reason: str = ""
    worker_id: str | None = None
    lease: float = 0.0
    delay: float = 0.0
    retried: bool = False
    redistributed: bool = False
    failed_on: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        check_transition(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Moved:
    """A move that was stored, with what is worth counting about it."""

    id: UUID
    requirement: Requirement
    after: State
    worker_id: str | None
    generation: int
    created_at: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Assignment:
    """An assignment as it is delivered to its worker."""

    workload_id: UUID
    worker_id: str
    requirement: Requirement
    generation: int
    input: bytes
    created_at: datetime
    traceparent: str


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much work of one kind waits and runs in one pool."""

    pool: str
    type: str
    key_id: str
    pending: int
    assigned: int
    in_progress: int
    oldest_pending_seconds: float


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key without its bytes; digests are lower-case hex.

    Args:
        source_sha256: of the file that it was imported from; empty where it was made here.
        retired: only its verifying side is left.
    """

    key_id: str
    version: str
    proving_key_sha256: str
    size_bytes: int
    insecure: bool
    source_sha256: str = ""
    retired: bool = False
