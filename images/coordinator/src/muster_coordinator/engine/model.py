"""The engine's vocabulary: immutable records that the store and the faces exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from muster_coordinator.engine.affinity import NO_AFFINITY, Affinity
from muster_coordinator.engine.records import record
from muster_coordinator.engine.states import State, Wish, WorkerStatus, check_transition

DEFAULT_CUSTOMER = "default"
"""Whose workloads those are that come without an account, as proofs do."""


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


@record
class NewWorkload:
    """A workload as it is submitted.

    Args:
        input: secret; leaves the row at its end, unless `keeps_input`.
        weight: of its customer's tier, for the order of the queue.
        deadline: when it fails if it still waits for a worker.
        wait_seconds: the same, counted from when it is stored.
        timeout_seconds: how long a worker may work on it, at most; None for the general limit.
        config_id: the stored configuration that it was made from.
    """

    id: UUID
    requirement: Requirement
    input: bytes
    priority: int = 10
    max_retries: int = 3
    customer_id: str = DEFAULT_CUSTOMER
    request_id: str = ""
    traceparent: str = ""
    weight: float = 1.0
    deadline: datetime | None = None
    wait_seconds: float | None = None
    timeout_seconds: float | None = None
    affinity: Affinity = NO_AFFINITY
    config_id: UUID | None = None
    keeps_input: bool = False


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
class Proof:
    """What work of a type `prove.*` yields; `public` are decimal strings."""

    data: bytes
    public: tuple[str, ...]
    encoding: str
    key_version: str
    verified: bool
    merkle_root: str = ""


@record
class Result:
    """What a completed workload yielded: a proof, or a JSON text in UTF-8, or neither."""

    duration_ms: int
    proof: Proof | None = None
    output: bytes | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as its owner may see it.

    Args:
        progress_percent: 0 to 100, as its worker says; 100 once it is completed.
        wish: what its owner asked of its worker and the worker has not done yet.
        input: only of one that `keeps_input`, and only where it was asked for alone.
        checkpoint_seq: number of its newest checkpoint, from 1; 0 for none.
    """

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
    max_retries: int = 3
    timeout_seconds: float | None = None
    progress_percent: float = 0.0
    progress_message: str = ""
    wish: Wish = Wish.NONE
    affinity: Affinity = NO_AFFINITY
    config_id: UUID | None = None
    checkpoint_seq: int = 0
    input: bytes | None = None


Ordering: TypeAlias = Literal["created_at", "-created_at", "priority", "-priority"]
"""How to list workloads; `-` is for the greatest, or newest, first."""


@dataclass(frozen=True, slots=True)
class WorkloadQuery:
    """Which workloads to list.

    Args:
        cursor: the last one of the page before; only for an ordering by `created_at`.
        offset: how many to leave out, after `cursor`.
    """

    customer_id: str = DEFAULT_CUSTOMER
    state: frozenset[State] = frozenset()
    type: str | None = None
    pool: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    ordering: Ordering = "-created_at"
    cursor: UUID | None = None
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a workload came: `seq` counts from 1, `data` is its worker's own."""

    seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a worker wrote; `level` is debug, info, warning or error."""

    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """A line as it is kept; `seq` counts from 1 within the workload."""

    seq: int
    line: LogLine
    generation: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that happened to a workload or a worker; `seq` rises."""

    seq: int
    at: datetime
    actor: str
    event: str
    before: str | None
    after: str | None
    worker_id: str | None
    generation: int | None
    reason: str


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
class Share:
    """How many workloads of one customer and type a worker holds."""

    customer_id: str
    type: str
    count: int


Holding = Mapping[str, tuple[Share, ...]]
"""Worker id to what it holds; those that hold nothing are missing."""


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
    tags: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    shares: tuple[Share, ...] = ()

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


@record
class Claim:
    """Whose assignment a report is about; generation 0 means the one that the worker holds."""

    workload_id: UUID
    worker_id: str
    generation: int


@record
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
    created_at: datetime
    started_at: datetime | None = None
    timeout_seconds: float | None = None
    wish: Wish = Wish.NONE
    customer_id: str = DEFAULT_CUSTOMER


@record
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
        begun: it is two steps in one, of which the first is to RUNNING.
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
    begun: bool = False

    def __post_init__(self) -> None:
        if self.begun:
            check_transition(self.before, State.RUNNING)
        check_transition(State.RUNNING if self.begun else self.before, self.after)


@record
class Moved:
    """A move that was stored, with what is worth counting about it.

    Args:
        assignment: what its worker is to be sent, where that is known without another look.
        held: what reports on it are judged by, likewise.
        duration_ms: what its worker took; only of a move to COMPLETED.
    """

    id: UUID
    requirement: Requirement
    after: State
    worker_id: str | None
    generation: int
    created_at: datetime
    at: datetime
    assignment: "Assignment | None" = None
    held: Held | None = None
    duration_ms: int = 0


@record
class Assignment:
    """An assignment as it is delivered to its worker.

    Args:
        checkpoint: where to go on from; None where it begins anew.
        timeout_ms: the workload's own limit; 0 where only the general one holds.
        attempt: 1, and one more with each try and each worker that was lost.
    """

    workload_id: UUID
    worker_id: str
    requirement: Requirement
    generation: int
    input: bytes
    created_at: datetime
    traceparent: str
    customer_id: str = DEFAULT_CUSTOMER
    timeout_ms: int = 0
    attempt: int = 1
    checkpoint: Checkpoint | None = None

    @property
    def type(self) -> str:
        """The kind of work, as in `prove.merkle`."""
        return self.requirement.type


@dataclass(frozen=True, slots=True)
class Cancel:
    """An assignment is its worker's no more: stop it, and report nothing on it."""

    workload_id: UUID
    generation: int


@dataclass(frozen=True, slots=True)
class Pause:
    """The owner wants an assignment to rest: make a checkpoint, stop, and report `paused`."""

    workload_id: UUID
    generation: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Take nothing more, finish what is held, and leave."""


Command: TypeAlias = Assignment | Cancel | Pause | Drain
"""What a worker's stream carries."""


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
