"""Messages of the broker's contract, from and to what this worker works with."""

import json
import uuid

from muster_broker import messages as wire
from muster_broker.envelope import Envelope, Malformed
from muster_worker.coordinator import (
    CoordinatorError,
    Fenced,
    NotKnown,
    Refused,
    Registration,
    Unavailable,
)
from muster_worker.notes import Notes
from muster_worker.reports import Completion, Failure, Halted
from muster_worker.tasks import Assignment, Cancel, Command, Drain, Pause, Ticket
from muster_worker.workloads import PROOFS

Said = tuple[wire.Event, wire.Payload]
"""The type of a message, and what is in it."""

_REFUSALS: dict[wire.Outcome, type[CoordinatorError]] = {
    wire.Outcome.FENCED: Fenced,
    wire.Outcome.NOT_FOUND: NotKnown,
    wire.Outcome.REJECTED: Refused,
    wire.Outcome.UNAVAILABLE: Unavailable,
}


def registration(one: Registration) -> wire.Register:
    """How a worker introduces itself."""
    circuits = filter(None, one.capabilities.get("circuits", "").split(","))
    return wire.Register(
        pool=one.pool,
        capacity=one.concurrency,
        types=frozenset((*one.types, *(f"{PROOFS}{circuit}" for circuit in circuits))),
        keys=_keys(one.capabilities.get("keys", "")),
        version=one.version,
        tags=dict(one.tags),
        instance=one.instance,
        holding=tuple(
            wire.Holding(workload_id=ticket.task_id, generation=ticket.generation)
            for ticket in one.holding
        ),
    )


def _keys(listed: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for entry in filter(None, listed.split(",")):
        key_id, _, version = entry.partition("=")
        keys[key_id] = f"{keys.get(key_id, '')} {version}".strip()
    return keys


def command(message: Envelope) -> Command | None:
    """What a coordinator says of a task or of this worker; None where it says something else.

    Raises:
        Malformed: the payload is none of this type.
    """
    match message.type:
        case wire.Command.ASSIGN:
            return _assignment(wire.read(message, wire.Assign))
        case wire.Command.CANCEL:
            return Cancel(_ticket(wire.read(message, wire.Stop)))
        case wire.Command.PAUSE:
            return Pause(_ticket(wire.read(message, wire.Stop)))
        case wire.Command.DRAIN:
            return Drain()
    return None


def _assignment(said: wire.Assign) -> Assignment:
    return Assignment(
        ticket=_ticket(said),
        task_type=said.type,
        payload=said.input.encode(),
        key_id=said.key_id,
        key_version=said.key_version,
        time_limit=said.timeout_ms / 1000 if said.timeout_ms > 0 else None,
        traceparent=said.traceparent,
        customer_id=said.customer_id or "default",
        checkpoint=said.checkpoint,
        attempt=max(1, said.attempt),
    )


def _ticket(said: wire.Claimed) -> Ticket:
    return Ticket(said.workload_id, said.generation)


def started(ticket: Ticket) -> Said:
    """The task began."""
    return wire.Event.ACK, wire.Ack(workload_id=ticket.task_id, generation=ticket.generation)


def notes(ticket: Ticket, told: Notes) -> list[Said]:
    """How the task goes."""
    task_id, generation = ticket.task_id, ticket.generation
    said: list[Said] = []
    if told.lines:
        lines = tuple(
            wire.LogLine.model_validate(
                {"at_ms": one.at_ms, "level": one.level, "message": one.message[: wire.MAX_TEXT]}
            )
            for one in told.lines
        )
        log = wire.Log(workload_id=task_id, generation=generation, lines=lines)
        said.append((wire.Event.LOG, log))
    if told.checkpoint is not None:
        checkpoint = wire.Checkpoint(
            workload_id=task_id, generation=generation, data=told.checkpoint
        )
        said.append((wire.Event.CHECKPOINT, checkpoint))
    if told.progress is not None:
        percent, text = told.progress
        progress = wire.Progress(
            workload_id=task_id,
            generation=generation,
            percent=percent,
            message=text[: wire.MAX_TEXT],
        )
        said.append((wire.Event.PROGRESS, progress))
    return said


def completion(report: Completion) -> Said:
    """The task has a result."""
    result: dict[str, object] = (
        {
            "proof": report.output,
            "metadata": json.loads(report.metadata_json or "{}"),
            "merkle_root": report.merkle_root,
        }
        if report.proof
        else {"output": report.output.decode()}
    )
    completed = wire.Completed.model_validate(
        {
            "workload_id": report.task_id,
            "generation": report.generation,
            "traceparent": report.traceparent,
            "duration_ms": report.duration_ms,
        }
        | result
    )
    return wire.Event.COMPLETED, completed


def failure(report: Failure) -> Said:
    """The task failed here."""
    failed = wire.Failed(
        workload_id=report.task_id,
        generation=report.generation,
        traceparent=report.traceparent,
        error_message=report.message[: wire.MAX_TEXT],
        error_type="transient" if report.transient else "permanent",
    )
    return wire.Event.FAILED, failed


def halted(report: Halted) -> Said:
    """The task stopped as it was asked to."""
    paused = wire.Paused(
        workload_id=report.task_id, generation=report.generation, data=report.checkpoint
    )
    return wire.Event.PAUSED, paused


def released(ticket: Ticket, reason: str) -> Said:
    """The task goes back unfinished."""
    back = wire.Released(
        workload_id=ticket.task_id,
        generation=ticket.generation,
        reason=reason[: wire.MAX_TEXT],
    )
    return wire.Event.RELEASED, back


_ONCE = frozenset(
    {
        wire.Event.ACK,
        wire.Event.COMPLETED,
        wire.Event.FAILED,
        wire.Event.PAUSED,
        wire.Event.RELEASED,
    }
)


def stable_id(worker_id: str, kind: wire.Event, payload: wire.Payload) -> str:
    """The id of a message that says something once of an assignment, however often it is sent.

    Empty for others, of which each is one of its own.
    """
    if kind not in _ONCE or not isinstance(payload, wire.Claimed):
        return ""
    name = f"{worker_id}/{kind}/{payload.workload_id}/{payload.generation}"
    return uuid.uuid5(uuid.NAMESPACE_OID, name).hex


def accepted(answer: Envelope) -> None:
    """Look at an answer.

    Raises:
        CoordinatorError: it is not that the coordinator took in what it answers.
    """
    try:
        said = wire.read(answer, wire.Answer)
    except Malformed as error:
        raise Unavailable(f"the coordinator's answer is none: {error}") from error
    if said.outcome is not wire.Outcome.ACCEPTED:
        text = said.message or "refused without a reason"
        raise _REFUSALS.get(said.outcome, Unavailable)(text)
