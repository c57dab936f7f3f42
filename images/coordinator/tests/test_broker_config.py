"""The section `broker` of a coordinator's configuration, and what it remembers of messages."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_broker.messages import Answer
from muster_coordinator.broker_face.recent import Recent
from muster_coordinator.cli import main
from muster_coordinator.config import CoordinatorConfig
from muster_runtime.config import ConfigError, load


def loaded(tmp_path: Path, env: dict[str, str] | None = None, **broker: Any) -> CoordinatorConfig:
    path = tmp_path / "config.yaml"
    document = {"broker": broker, "leader_election": {"backend": "advisory-lock"}}
    path.write_text(yaml.safe_dump(document))
    return load(CoordinatorConfig, path, env or {})


def test_defaults(tmp_path: Path) -> None:
    broker = loaded(tmp_path).broker
    assert not broker.enabled
    assert (broker.stream_replicas, broker.stream_bytes) == (1, 256 * 2**20)


def test_the_environment_wins(tmp_path: Path) -> None:
    env = {"BROKER_SERVERS": "nats://a:1", "BROKER_STREAM_BYTES": "1Gi", "BROKER_PREFIX": "demo"}
    broker = loaded(tmp_path, env, servers=["nats://b:2"]).broker
    assert broker.servers == ("nats://a:1",)
    assert broker.stream_bytes == 2**30
    assert broker.subjects.events == "demo.coordinator.events"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"stream_replicas": 6}, "broker.stream_replicas: got 6; allowed: "),
        ({"stream_bytes": "1k"}, "broker.stream_bytes: got '1k'; allowed: "),
        ({"stream": 1}, "broker.stream: unknown key"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, **keys)
    assert refused.value.errors[0].startswith(said)


def test_urls_are_looked_at_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dsn").write_text("postgresql://u@h/d")
    document = {
        "broker": {"servers": ["http://u:hunter2@nats"]},
        "database": {"dsn_file": str(tmp_path / "dsn")},
        "leader_election": {"backend": "advisory-lock"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    assert main(["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert "broker.servers: has something else in it; allowed: nats://host:port" in said
    assert "hunter2" not in said


async def test_what_is_remembered_is_bounded() -> None:
    recent = Recent(most=2)
    for message_id in ("a", "b", "c"):
        recent.begin(message_id).set_result(Answer())
    assert recent.of("a") is None
    assert recent.of("c") is not None


async def test_a_copy_waits_for_the_answer_to_the_first() -> None:
    recent = Recent()
    first = recent.begin("a")
    copy = recent.of("a")
    assert copy is not None
    waiting = asyncio.ensure_future(copy)
    recent.forget("a")
    assert await waiting is None
    assert recent.of("a") is None
    assert first.done()
