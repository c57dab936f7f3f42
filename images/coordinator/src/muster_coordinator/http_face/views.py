"""What clients see: tasks, in the words of the proof API."""

import base64
from datetime import datetime
from typing import Any

from pydantic import BaseModel, RootModel

from muster_coordinator.engine.model import Proof, Workload
from muster_coordinator.engine.states import State
from muster_coordinator.http_face.requests import Status
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import PREFIX
from muster_proving import CircuitSpec, MalformedProof

STATUSES: dict[State, Status] = {
    State.PENDING: Status.PENDING,
    State.SCHEDULED: Status.ASSIGNED,
    State.RUNNING: Status.IN_PROGRESS,
    State.PAUSED: Status.PAUSED,
    State.REDISTRIBUTING: Status.PENDING,
    State.COMPLETED: Status.COMPLETED,
    State.FAILED: Status.FAILED,
    State.CANCELLED: Status.CANCELLED,
}


class Submitted(BaseModel):
    """A task that was taken in."""

    success: bool = True
    task_id: str
    status: Status = Status.PENDING
    message: str
    request_id: str


class SubmittedBatch(BaseModel):
    """Tasks that were taken in together; the ids are in the order of the request."""

    success: bool = True
    task_ids: list[str]
    status: Status = Status.PENDING
    message: str
    request_id: str


class Task(BaseModel):
    """A task; what is not known yet is null."""

    task_id: str
    circuit: str
    curve: str
    pool: str
    status: Status
    priority: int
    deadline: datetime | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    worker_id: str | None
    retry_count: int
    error: str | None


class ProvedTask(Task):
    """A task with its proof, once it is completed.

    `proof` and `public_inputs` are snarkjs' proof.json and public.json, `proof_bytes` is the same
    proof in base64, `duration_ms` is how long the worker took.
    """

    proof: dict[str, Any] | None = None
    proof_bytes: str | None = None
    public_inputs: list[str] | None = None
    merkle_root: str | None = None
    key_version: str | None = None
    verified: bool | None = None
    duration_ms: int | None = None


class TaskList(BaseModel):
    """A page of tasks, newest first; `next_cursor` is null on the last one."""

    tasks: list[Task]
    next_cursor: str | None


class VerificationKey(RootModel[dict[str, Any]]):
    """A verifying key in snarkjs' form."""


class Verification(BaseModel):
    """Whether a proof holds, under which key."""

    valid: bool
    circuit: str
    curve: str
    key_version: str


def task(workload: Workload) -> Task:
    """A task without its proof."""
    return Task(**_fields(workload))


def proved_task(workload: Workload, keyring: KeyRing) -> ProvedTask:
    """A task with its proof, where there is one."""
    result = workload.result
    if result is None or result.proof is None:
        return ProvedTask(**_fields(workload))
    proof = result.proof
    return ProvedTask(
        **_fields(workload),
        proof=_snarkjs(workload, proof, keyring),
        proof_bytes=base64.b64encode(proof.data).decode(),
        public_inputs=list(proof.public),
        merkle_root=proof.merkle_root or None,
        key_version=proof.key_version,
        verified=proof.verified,
        duration_ms=result.duration_ms,
    )


def _fields(workload: Workload) -> dict[str, Any]:
    need = workload.requirement
    return {
        "task_id": str(workload.id),
        "circuit": need.type.removeprefix(PREFIX),
        "curve": CircuitSpec.from_key_id(need.key_id).curve.value,
        "pool": need.pool,
        "status": STATUSES[workload.state],
        "priority": workload.priority,
        "deadline": workload.deadline,
        "created_at": workload.created_at,
        "started_at": workload.started_at,
        "completed_at": workload.completed_at,
        "worker_id": workload.worker_id,
        "retry_count": workload.retry_count,
        "error": workload.error,
    }


def _snarkjs(workload: Workload, proof: Proof, keyring: KeyRing) -> dict[str, Any] | None:
    """snarkjs' proof.json; None where the proof is of another make and was accepted unseen."""
    verifier = keyring.verifier(workload.requirement.key_id, proof.key_version)
    if verifier is None:
        return None
    try:
        document, _, _ = verifier.to_snarkjs(proof.public, proof.data)
    except MalformedProof:
        return None
    return document
