import io

import pytest

from muster_worker.executor import messages
from muster_worker.tasks import Reason

ALL = [
    messages.Load((("merkle-3-poseidon@bn254", "sha256:1", "/cache/1.key"),)),
    messages.Execute("prove.merkle", "task-1", "merkle-3-poseidon@bn254", "sha256:1", b"{}\xff"),
    messages.Loaded(),
    messages.LoadRefused("no such key"),
    messages.Executed('{"public": []}', "0x1", 0.174, bytes(range(256))),
    messages.failed(Reason.INVALID_INPUT, "leaves: missing"),
]


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_messages_arrive_as_they_were_sent(message: messages.Request | messages.Reply) -> None:
    stream = io.BytesIO(messages.frame(message))
    arrived = messages.receive(stream.read)
    assert arrived is not None
    assert messages.frame(arrived) == messages.frame(message)
    assert messages.receive(stream.read) is None


@pytest.mark.parametrize("body", [b"", b"[]", b'["Nobody", {}]', b'["Failed", {"x": 1}]', b"{}"])
def test_noise_is_no_message(body: bytes) -> None:
    with pytest.raises(ValueError, match="no message"):
        messages.parse(body, b"")


def test_a_witness_shows_in_no_text() -> None:
    assert "secret" not in repr(messages.Execute("t", "id", "", "", b"secret"))
