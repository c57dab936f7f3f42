"""The configuration: documented defaults, names in the environment, mistakes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_kv.consistency import Level
from muster_kv_coordinator.config import KvConfig, environment
from muster_runtime.config import ConfigError, load


def _load(tmp_path: Path, document: dict[str, Any], env: dict[str, str] | None = None) -> KvConfig:
    path = tmp_path / "kv.yaml"
    path.write_text(yaml.safe_dump(document))
    return load(KvConfig, path, environment(env or {}))


def test_defaults() -> None:
    config = load(KvConfig, None, {})
    assert config.server.host == "0.0.0.0"  # noqa: S104
    assert (config.server.port, config.server.http_port) == (50051, 8080)
    assert config.server.max_connections == 1000
    assert config.server.read_timeout == config.server.write_timeout == timedelta(seconds=10)
    assert config.server.shutdown_timeout == timedelta(seconds=30)
    assert (config.database.max_connections, config.database.min_connections) == (50, 10)
    assert config.database.conn_max_lifetime == timedelta(minutes=30)
    assert (config.redis.max_retries, config.redis.pool_size) == (3, 100)
    assert config.redis.min_idle_conns == 10
    assert config.hash_ring.virtual_nodes == 150
    assert config.hash_ring.update_interval == timedelta(seconds=30)
    assert config.consistency.default_level is Level.QUORUM
    assert config.consistency.write_timeout == timedelta(seconds=5)
    assert config.consistency.read_timeout == timedelta(seconds=3)
    assert config.consistency.repair_async
    assert config.cache.tenant_config_ttl == timedelta(minutes=5)
    assert config.cache.max_size == 10_000
    assert (config.metrics.enabled, config.metrics.port, config.metrics.path) == (
        True,
        9090,
        "/metrics",
    )
    assert (config.logging.level, config.logging.format) == ("info", "json")
    assert (config.limits.writes_per_minute, config.limits.reads_per_minute) == (1_000, 10_000)


def test_documented_names_of_the_environment(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        {"server": {"node_id": "file"}},
        {
            "COORDINATOR_NODE_ID": "007",
            "DATABASE_HOST": "db",
            "DATABASE_PORT": "5433",
            "DATABASE_NAME": "meta",
            "DATABASE_USER": "no",
            "DATABASE_PASSWORD": "0123",
            "REDIS_HOST": "cache",
            "REDIS_PORT": "6380",
            "REDIS_PASSWORD": "true",
            "LOG_LEVEL": "debug",
            "CONSISTENCY_WRITE_TIMEOUT": "7s",
        },
    )
    assert config.server.node_id == "007"
    assert config.database.dsn() == "postgresql://no:0123@db:5433/meta"
    assert (config.redis.host, config.redis.port, config.redis.secret()) == ("cache", 6380, "true")
    assert config.logging.level == "debug"
    assert config.consistency.write_timeout == timedelta(seconds=7)


def test_the_identity_of_a_replica() -> None:
    server = load(KvConfig, None, {}).server
    assert server.identity({"POD_NAME": "kv-0"}) == "kv-0"
    assert server.identity({})


def test_secrets_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/word\n")
    config = _load(tmp_path, {"database": {"password_file": str(tmp_path / "password")}})
    assert config.database.dsn() == (
        "postgresql://coordinator:p%40ss%2Fword@localhost:5432/muster_kv"
    )
    (tmp_path / "dsn").write_text("mysql://hidden")
    config = _load(tmp_path, {"database": {"dsn_file": str(tmp_path / "dsn")}})
    with pytest.raises(ConfigError, match=r"database.dsn_file: .* has no connection") as refused:
        config.database.dsn()
    assert "hidden" not in str(refused.value)
    shown = repr(_load(tmp_path, {"database": {"password": "s3cr3t"}}))
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("server", "port", 70000),
        ("server", "max_connections", 0),
        ("server", "read_timeout", "soon"),
        ("server", "shutdown_timeout", "48h"),
        ("database", "min_connections", 51),
        ("database", "port", 0),
        ("redis", "db", -1),
        ("redis", "pool_size", 0),
        ("hash_ring", "virtual_nodes", 0),
        ("consistency", "default_level", "most"),
        ("consistency", "repair_queue", 0),
        ("cache", "max_size", 0),
        ("limits", "writes_per_minute", 0),
        ("limits", "reads_per_minute", -2),
        ("storage", "cluster", ""),
        ("metrics", "path", "metrics"),
        ("logging", "level", "loud"),
        ("logging", "format", "text"),
        ("auth", "mode", "basic"),
        ("tls", "mode", "mtls"),
        ("server", "colour", "red"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, section: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{section}\.{key}: "):
        _load(tmp_path, {section: {key: value}})


def test_security_that_is_half_there(tmp_path: Path) -> None:
    for section, document, key in (
        ("auth", {"mode": "jwt"}, "secret_file"),
        ("auth", {"secret_file": "/secret"}, "secret_file"),
        ("tls", {"mode": "server"}, "cert_file"),
        ("tls", {"cert_file": "/cert"}, "cert_file"),
    ):
        with pytest.raises(ConfigError, match=rf"^{section}\.{key}: "):
            _load(tmp_path, {section: document})


def test_maintenance(tmp_path: Path) -> None:
    config = _load(tmp_path, {}, {"TOPOLOGY_KEYS_PER_SECOND": "7"})
    assert (config.topology.enabled, config.topology.keys_per_second) == (True, 7)
    assert config.topology.repair_interval == timedelta(hours=1)
    assert config.topology.disk_limit == 85
    assert config.leader_election.backend == "advisory-lock"
    assert config.leader_election.timings.lease_duration == 15
    with pytest.raises(ConfigError, match=r"topology\.keys_per_second"):
        _load(tmp_path, {"topology": {"keys_per_second": 0}})
    with pytest.raises(ConfigError, match=r"topology\.disk_limit"):
        _load(tmp_path, {"topology": {"disk_limit": 101}})
    with pytest.raises(ConfigError, match="retry_period < renew_deadline < lease_duration"):
        _load(tmp_path, {"leader_election": {"retry_period": "1m"}})
