import io

import pytest

from muster_worker.executor import messages
from muster_worker.tasks import Reason

ALL = [
    messages.Load(
        ("prove.merkle", "sleep"),
        (("merkle-3-poseidon@bn254", "sha256:1", "/cache/1.key"),),
        {"prove.merkle": {"curve": "BN254"}},
    ),
    messages.Execute("prove.merkle", "task-1", "key", "sha256:1", "acme", 2, 1, b"{}\xff"),
    messages.Stop("pause"),
    messages.Progressed(12.5, "on the way"),
    messages.Logged(1_700_000_000_000, "info", "line"),
    messages.Saved(b"state"),
    messages.Loaded(),
    messages.LoadRefused("no such key"),
    messages.Executed(0.174, bytes(range(256)), True, '{"public": []}', "0x1"),
    messages.Stopped("pause", kept=True, blob=b"state"),
    messages.failed(Reason.INVALID_INPUT, "leaves: missing"),
]


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_messages_arrive_as_they_were_sent(message: messages.Message) -> None:
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
    execute = messages.Execute("t", "id", "", "", "default", 1, None, b"secret")
    assert "secret" not in repr(execute)
    assert "secret" not in repr(messages.Saved(b"secret"))


@pytest.mark.parametrize("checkpoint", [None, b"", b"state"])
def test_a_checkpoint_goes_behind_the_payload(checkpoint: bytes | None) -> None:
    size = None if checkpoint is None else len(checkpoint)
    sent = messages.Execute("t", "id", "", "", "default", 1, size, b"{}" + (checkpoint or b""))
    arrived = messages.receive(io.BytesIO(messages.frame(sent)).read)
    assert isinstance(arrived, messages.Execute)
    assert (arrived.payload, arrived.checkpoint) == (b"{}", checkpoint)
