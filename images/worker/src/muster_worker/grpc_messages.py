"""Messages of the coordinator's contract, from and to what this worker works with."""

from typing import Any

from muster_protos import coordinator_pb2 as pb
from muster_proving import InvalidInput, parse_circuit
from muster_worker.coordinator import (
    CoordinatorError,
    Fenced,
    NotKnown,
    Refused,
    Registration,
    Unavailable,
)
from muster_worker.grpc_calls import traced
from muster_worker.notes import Notes
from muster_worker.reports import Completion, Failure, Halted
from muster_worker.tasks import Assignment, Cancel, Pause, Ticket

INSTANCE_TAG = "instance"
"""The tag by which two processes of one worker name differ."""

_REFUSALS: dict[int, type[CoordinatorError]] = {
    pb.Refusal.UNAVAILABLE: Unavailable,
    pb.Refusal.FENCED: Fenced,
    pb.Refusal.NOT_FOUND: NotKnown,
    pb.Refusal.REJECTED: Refused,
}


def registration(worker_id: str, one: Registration) -> pb.RegisterWorkerRequest:
    """How a worker introduces itself."""
    return pb.RegisterWorkerRequest(
        worker_id=worker_id,
        max_concurrent_tasks=one.concurrency,
        capabilities=dict(one.capabilities),
        pool=one.pool,
        version=one.version,
        tags={**one.tags, INSTANCE_TAG: one.instance},
        types=one.types,
    )


def interval(milliseconds: int) -> float | None:
    """Seconds between heartbeats; None where the coordinator does not say."""
    return milliseconds / 1000 if milliseconds > 0 else None


def assignment(message: pb.TaskAssignment) -> Assignment:
    """An assignment; a circuit name becomes the name of its workload type."""
    return Assignment(
        ticket=Ticket(message.task_id, message.generation),
        task_type=message.workload_type or _type_of(message.circuit_type),
        payload=message.input_data_json,
        key_id=message.key_id,
        key_version=message.key_version,
        time_limit=message.timeout_ms / 1000 if message.timeout_ms > 0 else None,
        traceparent=message.traceparent,
        customer_id=message.customer_id or "default",
        checkpoint=message.checkpoint if message.has_checkpoint else None,
        attempt=max(1, message.attempt),
    )


def _type_of(circuit: str) -> str:
    try:
        return parse_circuit(circuit).task_type
    except InvalidInput:
        return circuit


def stop(message: pb.Stop) -> Cancel | Pause:
    """What became of an assignment; a kind that is not known is a reason to stop, too."""
    ticket = Ticket(message.task_id, message.generation)
    return Pause(ticket) if message.kind == pb.Stop.PAUSE else Cancel(ticket)


def refusal(message: pb.Refusal) -> CoordinatorError:
    """Why a report was not taken in."""
    text = message.message or "refused without a reason"
    return _REFUSALS.get(message.reason, Unavailable)(text)


def started(ticket: Ticket) -> pb.Report:
    """The task began."""
    return _report(ticket, started=pb.Started())


def notes(ticket: Ticket, told: Notes) -> list[pb.Report]:
    """How the task goes."""
    reports = []
    if told.lines:
        lines = [
            pb.LogLine(at_ms=one.at_ms, level=one.level, message=one.message) for one in told.lines
        ]
        reports.append(_report(ticket, log=pb.LogLines(lines=lines)))
    if told.checkpoint is not None:
        reports.append(_report(ticket, checkpoint=pb.Checkpoint(data=told.checkpoint)))
    if told.progress is not None:
        percent, message = told.progress
        reports.append(_report(ticket, progress=pb.Progress(percent=percent, message=message)))
    return reports


def completion(report: Completion) -> pb.Report:
    """The task has a result."""
    made = pb.Completion(merkle_root=report.merkle_root, duration_ms=report.duration_ms)
    if report.proof:
        made.proof_data = report.output
        made.proof_metadata_json = report.metadata_json.encode()
    else:
        made.output_json = report.output
    return _report(report.ticket, report.traceparent, completion=made)


def failure(report: Failure) -> pb.Report:
    """The task failed."""
    made = pb.Failure(message=report.message, transient=report.transient)
    return _report(report.ticket, report.traceparent, failure=made)


def halted(report: Halted) -> pb.Report:
    """The task stopped, as it was asked to."""
    kept = None if report.checkpoint is None else pb.Checkpoint(data=report.checkpoint)
    made = pb.Paused(checkpoint=kept)
    return _report(report.ticket, report.traceparent, paused=made)


def released(ticket: Ticket, reason: str) -> pb.Report:
    """The task is handed back."""
    return _report(ticket, released=pb.Released(reason=reason))


def _report(ticket: Ticket, traceparent: str = "", **what: Any) -> pb.Report:
    return pb.Report(
        task_id=ticket.task_id,
        generation=ticket.generation,
        traceparent=traceparent if traced(traceparent) else "",
        **what,
    )
