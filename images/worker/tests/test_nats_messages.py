"""What goes over the broker comes out as the other side means it."""

import pytest

from muster_broker import messages as wire
from muster_broker.envelope import Malformed, Sender, decode
from muster_worker import nats_messages as messages
from muster_worker.coordinator import (
    CoordinatorError,
    Fenced,
    NotKnown,
    Refused,
    Registration,
    Unavailable,
)
from muster_worker.notes import Line, Notes
from muster_worker.reports import Completion, Failure
from muster_worker.tasks import Assignment, Cancel, Drain, Pause, Reason, Ticket

TICKET = Ticket("01a1ff6d-7cbd-7c99-856b-20dca4e01fd5", 3)
COORDINATOR = Sender("c-1", "coordinator")


def said(kind: wire.Command, payload: wire.Payload) -> object:
    return messages.command(decode(COORDINATOR.message(kind, payload).encode()))


def test_a_registration_names_types_and_every_version_of_a_key() -> None:
    registered = messages.registration(
        Registration(
            pool="demo",
            concurrency=2,
            version="1",
            instance="i",
            capabilities={"circuits": "merkle,range", "keys": "k=v1,k=v2,l=v1"},
            types=["sleep"],
            tags={"zone": "a"},
            holding=[TICKET],
        )
    )
    assert registered.types == {"prove.merkle", "prove.range", "sleep"}
    assert registered.keys == {"k": "v1 v2", "l": "v1"}
    assert registered.holding[0].generation == 3


def test_commands_are_read() -> None:
    assign = wire.Assign(
        workload_id=TICKET.task_id,
        generation=3,
        type="sleep",
        input='{"seconds": 1}',
        checkpoint=b"\x00",
        attempt=2,
        timeout_ms=1500,
    )
    assert said(wire.Command.ASSIGN, assign) == Assignment(
        TICKET, "sleep", b'{"seconds": 1}', time_limit=1.5, checkpoint=b"\x00", attempt=2
    )
    stop = wire.Stop(workload_id=TICKET.task_id, generation=3)
    assert said(wire.Command.CANCEL, stop) == Cancel(TICKET)
    assert said(wire.Command.PAUSE, stop) == Pause(TICKET)
    assert said(wire.Command.DRAIN, wire.Payload()) == Drain()
    assert said(wire.Command.ANSWER, wire.Answer()) is None


def test_a_command_without_its_task_is_refused() -> None:
    with pytest.raises(Malformed, match=r"payload\.workload_id is missing"):
        said(wire.Command.CANCEL, wire.Payload())


def test_the_input_stays_out_of_what_is_printed() -> None:
    assign = wire.Assign(workload_id="x", generation=1, type="t", input="witness")
    assert "witness" not in repr(assign)


def test_a_proof_and_another_result_are_told_apart() -> None:
    about = {"task_id": TICKET.task_id, "generation": 3, "duration_ms": 7}
    _, proof = messages.completion(
        Completion(**about, output=b"\x01", metadata_json='{"a": 1}', merkle_root="0x2")
    )
    assert isinstance(proof, wire.Completed)
    assert (proof.proof, proof.metadata, proof.output) == (b"\x01", {"a": 1}, None)
    _, other = messages.completion(Completion(**about, output=b'{"b": 2}', proof=False))
    assert isinstance(other, wire.Completed)
    assert (other.proof, other.output) == (b"", '{"b": 2}')


@pytest.mark.parametrize(
    ("reason", "permanent", "kind"),
    [
        (Reason.CRASHED, False, "transient"),
        (Reason.INVALID_INPUT, False, "permanent"),
        (Reason.FAILED, True, "permanent"),
    ],
)
def test_a_failure_says_whether_it_lasts(reason: Reason, permanent: bool, kind: str) -> None:
    report = Failure(
        task_id=TICKET.task_id, generation=3, reason=reason, message="no", permanent=permanent
    )
    _, failed = messages.failure(report)
    assert isinstance(failed, wire.Failed)
    assert failed.error_type == kind


def test_notes_become_messages_of_their_kinds() -> None:
    told = Notes(progress=(50.0, "half"), lines=(Line(1, "info", "x" * 5000),), checkpoint=b"c")
    kinds = [kind for kind, _ in messages.notes(TICKET, told)]
    assert kinds == [wire.Event.LOG, wire.Event.CHECKPOINT, wire.Event.PROGRESS]
    assert messages.notes(TICKET, Notes()) == []


def test_what_is_said_once_has_one_id_however_often_it_is_sent() -> None:
    kind, payload = messages.started(TICKET)
    first = messages.stable_id("w", kind, payload)
    assert first
    assert messages.stable_id("w", *messages.started(TICKET)) == first
    assert messages.stable_id("v", kind, payload) != first
    assert messages.stable_id("w", *messages.started(Ticket(TICKET.task_id, 4))) != first
    [(kind, payload)] = messages.notes(TICKET, Notes(progress=(1.0, "")))
    assert messages.stable_id("w", kind, payload) == ""


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (wire.Outcome.FENCED, Fenced),
        (wire.Outcome.NOT_FOUND, NotKnown),
        (wire.Outcome.REJECTED, Refused),
        (wire.Outcome.UNAVAILABLE, Unavailable),
    ],
)
def test_refusals_keep_their_meaning(outcome: wire.Outcome, error: type[CoordinatorError]) -> None:
    answer = wire.Answer(outcome=outcome, message="so it is")
    with pytest.raises(error, match="so it is"):
        messages.accepted(decode(COORDINATOR.message(wire.Command.ANSWER, answer).encode()))
    messages.accepted(COORDINATOR.message(wire.Command.ANSWER, wire.Answer()))
