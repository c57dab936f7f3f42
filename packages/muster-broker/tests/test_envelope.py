"""The frame around every message, as others write and read it."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_broker import messages as wire
from muster_broker.envelope import Envelope, Malformed, Sender, decode

GOOD: dict[str, Any] = {
    "message_id": "m-1",
    "type": "workload.completed",
    "timestamp": "2026-01-02T03:04:05Z",
    "sender_id": "w-1",
    "sender_type": "worker",
    "correlation_id": "",
    "payload": {"workload_id": "x"},
}


def encoded(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_message_comes_back_as_it_was_sent() -> None:
    sent = Sender("w-1", "worker").message("a.b", {"n": 1}, correlation_id="c")
    assert decode(sent.encode()) == sent
    assert sent.timestamp.tzinfo is not None


def test_what_others_write_is_read() -> None:
    message = decode(encoded(later_versions="may add fields"))
    assert message.timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert message.payload == {"workload_id": "x"}
    short = {key: GOOD[key] for key in GOOD if key not in {"correlation_id", "payload"}}
    assert decode(json.dumps(short).encode()).payload == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"message_id": ""}, "message_id is ''; allowed: "),
        ({"message_id": "a b"}, "message_id is 'a b'; allowed: "),
        ({"type": 7}, "type is 7; allowed: "),
        ({"timestamp": "yesterday"}, "timestamp is 'yesterday'; allowed: "),
        ({"timestamp": "2026-01-02T03:04:05"}, "timestamp is '2026-01-02T03:04:05'; allowed: "),
        ({"sender_type": "king"}, "sender_type is 'king'; allowed: be 'worker' or 'coordinator'"),
        ({"payload": [1]}, "payload is a list; allowed: "),
        ({"sender_id": "x" * 300}, "sender_id is a text of 300 characters; allowed: "),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(Malformed) as refused:
        decode(encoded(**changes))
    assert str(refused.value).startswith(said)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(Malformed, match="sender_id is missing"):
        decode(json.dumps({key: GOOD[key] for key in GOOD if key != "sender_id"}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]", b"7", b"null", b"[" * 100_000])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert isinstance(decode(data), Envelope)


def test_bytes_travel_in_base64() -> None:
    completed = wire.Completed(workload_id="x", generation=2, proof=b"\x00\xff", output=None)
    message = Sender("w", "worker").message(wire.Event.COMPLETED, completed)
    assert message.payload["proof"] == "AP8="
    assert wire.read(decode(message.encode()), wire.Completed) == completed


def test_a_payload_names_its_mistakes() -> None:
    message = Sender("w", "worker").message(
        wire.Event.PROGRESS, {"workload_id": "x", "percent": 101}
    )
    with pytest.raises(Malformed, match=r"payload\.percent is 101; allowed: be less than or equal"):
        wire.read(message, wire.Progress)
    broken = Sender("w", "worker").message(wire.Event.CHECKPOINT, {"workload_id": "x", "data": "%"})
    with pytest.raises(Malformed, match=r"payload\.data is '%'; allowed: bytes in base64"):
        wire.read(broken, wire.Checkpoint)


def test_a_long_result_is_not_shown() -> None:
    message = Sender("w", "worker").message(
        wire.Event.COMPLETED, {"workload_id": "x", "output": "secret\x00" * 100}
    )
    with pytest.raises(Malformed) as refused:
        wire.read(message, wire.Completed)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a*", "a.>", "x" * 254])
def test_a_worker_has_a_name(name: str) -> None:
    with pytest.raises(Malformed, match="sender_id"):
        wire.worker_name(name)
