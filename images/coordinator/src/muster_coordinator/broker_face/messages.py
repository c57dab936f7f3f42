"""Messages in and out: from what workers send to the engine's words, and back."""

from datetime import UTC, datetime
from uuid import UUID

from muster_broker import messages as wire
from muster_broker.envelope import Envelope, Malformed
from muster_coordinator.engine.errors import EngineError, Fenced, NotFound, Unavailable
from muster_coordinator.engine.model import Assignment, Claim, LogLine, Registration
from muster_coordinator.engine.ports import Submission

_OUTCOMES: tuple[tuple[type[EngineError], wire.Outcome], ...] = (
    (Fenced, wire.Outcome.FENCED),
    (NotFound, wire.Outcome.NOT_FOUND),
    (Unavailable, wire.Outcome.UNAVAILABLE),
)


def claim(worker_id: str, workload_id: str, generation: int) -> Claim:
    """Whose assignment a worker speaks about.

    Raises:
        Malformed: there can be no such workload.
    """
    try:
        found = UUID(workload_id)
    except ValueError:
        raise Malformed(f"payload.workload_id is {workload_id[:64]!r}; allowed: a UUID") from None
    return Claim(found, worker_id, generation)


def registration(worker_id: str, said: wire.Register, pool: str) -> Registration:
    """What a worker says of itself."""
    return Registration(
        id=worker_id,
        pool=pool,
        capacity=said.capacity,
        types=said.types,
        keys=said.keys,
        version=said.version,
        tags=said.tags,
        instance=said.instance,
    )


def holding(worker_id: str, said: wire.Register) -> list[Claim]:
    """What a worker works on already.

    Raises:
        Malformed: there can be no such workload.
    """
    return [claim(worker_id, one.workload_id, one.generation) for one in said.holding]


def submission(said: wire.Completed) -> Submission:
    """A result as it was reported."""
    return Submission(
        duration_ms=said.duration_ms,
        output=None if said.output is None else said.output.encode(),
        proof=said.proof,
        metadata=said.metadata,
        merkle_root=said.merkle_root,
    )


def lines(said: wire.Log) -> tuple[LogLine, ...]:
    """What work wrote."""
    return tuple(
        LogLine(datetime.fromtimestamp(line.at_ms / 1000, UTC), line.level, line.message)
        for line in said.lines
    )


def assign(one: Assignment, timeout_ms: int, traceparent: str) -> wire.Assign:
    """An assignment; `timeout_ms` is the limit where it has none of its own."""
    need = one.requirement
    return wire.Assign(
        workload_id=str(one.workload_id),
        generation=one.generation,
        traceparent=traceparent,
        type=need.type,
        input=one.input.decode(),
        key_id=need.key_id,
        key_version=need.key_version,
        customer_id=one.customer_id,
        checkpoint=one.checkpoint.data if one.checkpoint is not None else None,
        attempt=one.attempt,
        timeout_ms=one.timeout_ms or timeout_ms,
        created_at_ms=round(one.created_at.timestamp() * 1000),
    )


def refusal(error: EngineError) -> wire.Answer:
    """What is answered where the engine does not take something in."""
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return wire.Answer(outcome=outcome, message=_text(str(error)))
    return rejection(str(error))


def rejection(reason: str) -> wire.Answer:
    """What is answered to what can't be right."""
    return wire.Answer(outcome=wire.Outcome.REJECTED, message=_text(reason))


def sender(message: Envelope) -> str:
    """The worker that a message is from.

    Raises:
        Malformed: it is from none.
    """
    if message.sender_type != "worker":
        raise Malformed(f"sender_type is {message.sender_type!r}; allowed: 'worker'")
    return wire.worker_name(message.sender_id)


def _text(reason: str) -> str:
    return reason.replace("\x00", "")[: wire.MAX_TEXT]
