"""What customers and administrators see, over HTTP and WebSocket."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from muster_coordinator.engine import affinity
from muster_coordinator.engine.customers import Customer, CustomerStats, WorkloadConfig
from muster_coordinator.engine.model import (
    AuditEvent,
    LoggedLine,
    QueueDepth,
    Result,
    Worker,
    Workload,
)
from muster_coordinator.engine.states import State, WorkerStatus


class Submitted(BaseModel):
    """A workload that was taken in."""

    workload_id: str
    status: State = State.PENDING
    created_at: datetime
    request_id: str


class WorkloadSummary(BaseModel):
    """A workload without its parameters and its result; what is not known yet is null."""

    workload_id: str
    customer_id: str
    workload_type: str
    status: State
    priority: int
    progress_percent: float
    progress_message: str
    pausing: bool
    pool: str
    worker_id: str | None
    error_message: str | None
    retry_count: int
    max_retries: int
    timeout_seconds: float | None
    affinity: dict[str, Any]
    workload_config_id: str | None
    checkpoint: int
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


class WorkloadDetail(WorkloadSummary):
    """A workload with its parameters, which are null for proofs, and its result, once it has one.

    The result of a proof has `proof_bytes` (base64), `public_inputs`, `key_version`, `encoding`,
    `merkle_root` and `verified`; that of other work is what the worker made.
    """

    input_params: dict[str, Any] | None = None
    result_data: Any = None
    duration_ms: int | None = None


class WorkloadPage(BaseModel):
    """A page of workloads; `next_cursor` is null on the last one, and where order is by priority.

    `total` counts all that the filters let through.
    """

    workloads: list[WorkloadSummary]
    next_cursor: str | None
    total: int


class LogLine(BaseModel):
    """A line that a worker wrote."""

    sequence: int
    at: datetime
    level: str
    message: str


class LogPage(BaseModel):
    """Lines, oldest first; `next_after` leads to what follows, whether it is there yet or not."""

    lines: list[LogLine]
    next_after: int


class AuditEntry(BaseModel):
    """Something that happened to a workload."""

    sequence: int
    at: datetime
    actor: str
    event: str
    before: str | None
    after: str | None
    worker_id: str | None
    generation: int | None
    reason: str


class AuditPage(BaseModel):
    """Events, oldest first; `next_after` leads to what follows, whether it is there yet or not."""

    events: list[AuditEntry]
    next_after: int


class Configuration(BaseModel):
    """What workloads can be made from."""

    config_id: str
    name: str
    workload_type: str
    input_params: dict[str, Any]
    priority: int
    timeout_seconds: float | None
    max_retries: int
    affinity: dict[str, Any]
    created_at: datetime | None
    updated_at: datetime | None


class ConfigurationPage(BaseModel):
    """Configurations, newest first; `next_offset` is null on the last page."""

    configs: list[Configuration]
    next_offset: int | None


class Limits(BaseModel):
    """What a customer may have; 0 stands for no limit."""

    requests_per_second: float
    burst: int
    max_concurrent: int
    max_queued: int


class Account(BaseModel):
    """A customer."""

    customer_id: str
    name: str
    tier: str
    limits: Limits
    created_at: datetime | None


class Stats(BaseModel):
    """What a customer has in the system, by status, without what was deleted after its time."""

    customer_id: str
    workloads: dict[State, int]
    total: int
    average_duration_ms: float
    oldest_pending_seconds: float


class Capacity(BaseModel):
    """How many workloads a worker can have at once."""

    total: int
    used: int
    available: int


class WorkerView(BaseModel):
    """A worker, for administrators."""

    worker_id: str
    pool: str
    status: Literal["HEALTHY", "SUSPECT", "DEAD", "DRAINING", "QUARANTINED"]
    status_reason: str
    capacity: Capacity
    workload_types: list[str]
    tags: dict[str, str]
    version: str
    connected: bool
    last_heartbeat_at: datetime


class WorkerList(BaseModel):
    """All known workers."""

    workers: list[WorkerView]


class QueueView(BaseModel):
    """How much work of one kind waits and runs in one pool."""

    pool: str
    workload_type: str
    pending: int
    assigned: int
    in_progress: int
    oldest_pending_seconds: float


class QueueList(BaseModel):
    """How much work waits and runs."""

    queues: list[QueueView]
    pending: int
    assigned: int
    in_progress: int


def summary(workload: Workload) -> WorkloadSummary:
    """A workload as lists show it."""
    return WorkloadSummary(**_fields(workload))


def detail(workload: Workload) -> WorkloadDetail:
    """A workload with all that its owner may see."""
    result = workload.result
    return WorkloadDetail(
        **_fields(workload),
        input_params=None if workload.input is None else json.loads(workload.input),
        result_data=None if result is None else result_data(result),
        duration_ms=None if result is None else result.duration_ms,
    )


def result_data(result: Result) -> Any:
    """What a workload yielded, as JSON."""
    if result.proof is None:
        return None if result.output is None else json.loads(result.output)
    return {
        "proof_bytes": base64.b64encode(result.proof.data).decode(),
        "public_inputs": list(result.proof.public),
        "key_version": result.proof.key_version,
        "encoding": result.proof.encoding,
        "merkle_root": result.proof.merkle_root or None,
        "verified": result.proof.verified,
    }


def log_line(logged: LoggedLine) -> LogLine:
    """A line that a worker wrote."""
    line = logged.line
    return LogLine(sequence=logged.seq, at=line.at, level=line.level, message=line.message)


def audit_entry(event: AuditEvent) -> AuditEntry:
    """Something that happened to a workload."""
    return AuditEntry(
        sequence=event.seq,
        at=event.at,
        actor=event.actor,
        event=event.event,
        before=event.before,
        after=event.after,
        worker_id=event.worker_id,
        generation=event.generation,
        reason=event.reason,
    )


def configuration(config: WorkloadConfig) -> Configuration:
    """A configuration."""
    return Configuration(
        config_id=str(config.id),
        name=config.name,
        workload_type=config.workload_type,
        input_params=dict(config.input_params),
        priority=config.priority,
        timeout_seconds=config.timeout_seconds,
        max_retries=config.max_retries,
        affinity=dict(config.affinity),
        created_at=config.created_at,
        updated_at=config.updated_at,
    )


def account(customer: Customer) -> Account:
    """A customer and its limits."""
    terms = customer.terms
    return Account(
        customer_id=customer.id,
        name=customer.name,
        tier=customer.tier,
        limits=Limits(
            requests_per_second=terms.rate,
            burst=terms.burst,
            max_concurrent=terms.max_concurrent,
            max_queued=terms.max_queued,
        ),
        created_at=customer.created_at,
    )


def stats(customer: Customer, found: CustomerStats) -> Stats:
    """What a customer has in the system."""
    return Stats(
        customer_id=customer.id,
        workloads={state: found.workloads.get(state, 0) for state in State},
        total=sum(found.workloads.values()),
        average_duration_ms=found.average_duration_ms,
        oldest_pending_seconds=found.oldest_pending_seconds,
    )


def worker(known: Worker) -> WorkerView:
    """A worker."""
    return WorkerView(
        worker_id=known.id,
        pool=known.pool,
        status="HEALTHY" if known.status is WorkerStatus.ACTIVE else known.status.value,
        status_reason=known.status_reason,
        capacity=Capacity(
            total=known.capacity,
            used=known.load,
            available=max(known.capacity - known.load, 0),
        ),
        workload_types=sorted(known.types),
        tags=dict(known.tags),
        version=known.version,
        connected=known.connected,
        last_heartbeat_at=known.last_heartbeat_at,
    )


def queues(depths: Sequence[QueueDepth]) -> QueueList:
    """How much work waits and runs; kinds of work with several keys are counted together."""
    found: dict[tuple[str, str], QueueView] = {}
    for depth in depths:
        place = (depth.pool, depth.type)
        seen = found.get(place)
        found[place] = QueueView(
            pool=depth.pool,
            workload_type=depth.type,
            pending=depth.pending + (seen.pending if seen else 0),
            assigned=depth.assigned + (seen.assigned if seen else 0),
            in_progress=depth.in_progress + (seen.in_progress if seen else 0),
            oldest_pending_seconds=max(
                depth.oldest_pending_seconds, seen.oldest_pending_seconds if seen else 0.0
            ),
        )
    return QueueList(
        queues=[found[place] for place in sorted(found)],
        pending=sum(depth.pending for depth in depths),
        assigned=sum(depth.assigned for depth in depths),
        in_progress=sum(depth.in_progress for depth in depths),
    )


def _fields(workload: Workload) -> dict[str, Any]:
    need = workload.requirement
    return {
        "workload_id": str(workload.id),
        "customer_id": workload.customer_id,
        "workload_type": need.type,
        "status": workload.state,
        "priority": workload.priority,
        "progress_percent": workload.progress_percent,
        "progress_message": workload.progress_message,
        "pausing": bool(workload.wish),
        "pool": need.pool,
        "worker_id": workload.worker_id,
        "error_message": workload.error,
        "retry_count": workload.retry_count,
        "max_retries": workload.max_retries,
        "timeout_seconds": workload.timeout_seconds,
        "affinity": affinity.to_json(workload.affinity),
        "workload_config_id": None if workload.config_id is None else str(workload.config_id),
        "checkpoint": workload.checkpoint_seq,
        "created_at": workload.created_at,
        "scheduled_at": workload.scheduled_at,
        "started_at": workload.started_at,
        "completed_at": workload.completed_at,
    }
