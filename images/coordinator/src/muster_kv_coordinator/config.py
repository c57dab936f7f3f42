"""The configuration of the key-value coordinator; see docs/kv-api.md for each key."""

import json
import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import (
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from muster_kv.consistency import Level
from muster_kv_coordinator.core.model import READS_PER_MINUTE, WRITES_PER_MINUTE
from muster_kv_coordinator.security import AuthSection
from muster_runtime.config import ConfigError, OptionalFile, Port, Section, Span
from muster_runtime.election.configured import ElectionSection
from muster_runtime.tls import GrpcTlsSection

_RATE = Annotated[int, Field(ge=-1, le=1_000_000_000)]


class ServerSection(Section):
    """What is served, and for how long one request may take at most."""

    host: str = "0.0.0.0"  # noqa: S104 - a server in a pod of its own
    port: Port = 50051
    http_port: Port = 8080
    node_id: str = Field(default="", max_length=253)
    max_connections: int = Field(default=1000, ge=1, le=1_000_000)
    read_timeout: Span = timedelta(seconds=10)
    write_timeout: Span = timedelta(seconds=10)
    shutdown_timeout: Span = timedelta(seconds=30)

    def identity(self, env: Mapping[str, str]) -> str:
        """This replica's name: `node_id`, else POD_NAME, else the host's name."""
        return self.node_id or env.get("POD_NAME") or socket.gethostname()


class DatabaseSection(Section):
    """The PostgreSQL database with the metadata: its parts, or a file with a whole DSN."""

    dsn_file: OptionalFile = None
    host: str = "localhost"
    port: int = Field(default=5432, ge=1, le=65535)
    database: str = "muster_kv"
    user: str = "coordinator"
    password: SecretStr = SecretStr("")
    password_file: OptionalFile = None
    max_connections: int = Field(default=50, ge=2, le=1000)
    min_connections: int = Field(default=10, ge=0, le=1000)
    conn_max_lifetime: Span = timedelta(minutes=30)

    @field_validator("min_connections")
    @classmethod
    def _at_most_all(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("max_connections", value)
        if value > most:
            raise ValueError(f"at most max_connections, which is {most}")
        return value

    def dsn(self) -> str:
        """The connection string, with its secret.

        Raises:
            ConfigError: a file can't be used; its text is not shown.
        """
        if self.dsn_file is not None:
            dsn = _secret("database.dsn_file", self.dsn_file)
            if not dsn.startswith(("postgresql://", "postgres://")):
                allowed = "postgresql://user:password@host:5432/database"
                text = f"{str(self.dsn_file)!r} has no connection string; allowed: {allowed}"
                raise ConfigError([f"database.dsn_file: {text}"])
            return dsn
        password = self.password.get_secret_value()
        if self.password_file is not None:
            password = _secret("database.password_file", self.password_file)
        who = quote(self.user, safe="") + (f":{quote(password, safe='')}" if password else "")
        return f"postgresql://{who}@{self.host}:{self.port}/{quote(self.database, safe='')}"


class RedisSection(Section):
    """Where retries of tenants with `idempotency: Redis` are recognised; none without a host."""

    host: str = ""
    port: int = Field(default=6379, ge=1, le=65535)
    password: SecretStr = SecretStr("")
    password_file: OptionalFile = None
    db: int = Field(default=0, ge=0, le=1023)
    max_retries: int = Field(default=3, ge=0, le=10)
    pool_size: int = Field(default=100, ge=1, le=10_000)
    min_idle_conns: int = Field(default=10, ge=0, le=10_000)

    def secret(self) -> str | None:
        """The password, if there is one.

        Raises:
            ConfigError: its file can't be used.
        """
        if self.password_file is not None:
            return _secret("redis.password_file", self.password_file)
        return self.password.get_secret_value() or None


class HashRingSection(Section):
    """How nodes are placed on the ring, and how often the ring is looked at unasked."""

    virtual_nodes: int = Field(default=150, ge=1, le=4096)
    update_interval: Span = timedelta(seconds=30)


class ConsistencySection(Section):
    """How replicas are asked.

    `hedge_after` is how long a replica may take before another is asked as well; `suspect_after`
    how long one may be silent, with requests waiting, before it is asked for nothing more.
    """

    default_level: Level = Level.QUORUM
    write_timeout: Span = timedelta(seconds=5)
    read_timeout: Span = timedelta(seconds=3)
    repair_async: bool = True
    repair_queue: int = Field(default=1000, ge=1, le=1_000_000)
    hedge_after: Span = timedelta(milliseconds=50)
    suspect_after: Span = timedelta(milliseconds=500)
    hint_queue: int = Field(default=10_000, ge=0, le=1_000_000)


class CacheSection(Section):
    """Tenants that are known without asking."""

    tenant_config_ttl: Span = timedelta(minutes=5)
    max_size: int = Field(default=10_000, ge=1, le=10_000_000)


class LimitsSection(Section):
    """Rates of tenants whose policy names none; per minute, -1 for no limit."""

    writes_per_minute: _RATE = WRITES_PER_MINUTE
    reads_per_minute: _RATE = READS_PER_MINUTE

    @field_validator("writes_per_minute", "reads_per_minute")
    @classmethod
    def _some(cls, value: int) -> int:
        if value == 0:
            raise ValueError("a rate above 0, or -1 for no limit")
        return value


class StorageSection(Section):
    """How storage nodes are spoken to."""

    cluster: str = Field(default="muster", min_length=1, max_length=253)
    token_file: OptionalFile = None
    ca_file: OptionalFile = None
    cert_file: OptionalFile = None
    key_file: OptionalFile = None

    def token(self) -> str:
        """The secret that they share with coordinators; empty for none.

        Raises:
            ConfigError: its file can't be used.
        """
        return "" if self.token_file is None else _secret("storage.token_file", self.token_file)


class TopologySection(Section):
    """What the maintenance leader does, and how fast.

    `repair_interval` is from the end of one complete anti-entropy round to the next; `disk_limit`
    how full, in percent, the disks of those that stay may become when a node leaves.
    """

    enabled: bool = True
    keys_per_second: int = Field(default=20_000, ge=1, le=10_000_000)
    repair_interval: Span = timedelta(hours=1)
    disk_limit: float = Field(default=85.0, gt=0, le=100)


class LeaderElectionSection(ElectionSection):
    """How coordinators agree on the maintenance leader."""

    backend: Literal["lease", "advisory-lock"] = "advisory-lock"
    lease_name: str = Field(default="muster-kv-maintenance", min_length=1, max_length=253)


class MetricsSection(Section):
    """The operations endpoints, metrics among them."""

    enabled: bool = True
    port: Port = 9090
    path: str = Field(default="/metrics", pattern=r"^/[A-Za-z0-9/_-]{0,100}$")


class LoggingSection(Section):
    """What is logged; `format` has one choice."""

    level: Literal["debug", "info", "warn", "warning", "error"] = "info"
    format: Literal["json"] = "json"


class KvConfig(Section):
    """The whole file."""

    server: ServerSection = ServerSection()
    tls: GrpcTlsSection = GrpcTlsSection()
    auth: AuthSection = AuthSection()
    database: DatabaseSection = DatabaseSection()
    redis: RedisSection = RedisSection()
    hash_ring: HashRingSection = HashRingSection()
    consistency: ConsistencySection = ConsistencySection()
    cache: CacheSection = CacheSection()
    limits: LimitsSection = LimitsSection()
    storage: StorageSection = StorageSection()
    topology: TopologySection = TopologySection()
    leader_election: LeaderElectionSection = LeaderElectionSection()
    metrics: MetricsSection = MetricsSection()
    logging: LoggingSection = LoggingSection()


# Names of the environment that are not made of section and key.
_NAMES = {
    "COORDINATOR_NODE_ID": "SERVER_NODE_ID",
    "DATABASE_NAME": "DATABASE_DATABASE",
    "LOG_LEVEL": "LOGGING_LEVEL",
}
# Texts, whatever else they look like as YAML.
_TEXTS = (
    "SERVER_NODE_ID",
    "DATABASE_HOST",
    "DATABASE_DATABASE",
    "DATABASE_USER",
    "DATABASE_PASSWORD",
    "REDIS_HOST",
    "REDIS_PASSWORD",
)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment under the names and in the form that the configuration is read with."""
    named = dict(env)
    for name, own in _NAMES.items():
        if name in env:
            named[own] = env[name]
    return named | {name: json.dumps(named[name]) for name in _TEXTS if name in named}


def _secret(key: str, path: Path) -> str:
    """The secret in a file; errors show nothing of it."""
    allowed = "a file with one line"
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError([f"{key}: got {str(path)!r} ({what}); allowed: {allowed}"]) from None
    if not text:
        raise ConfigError([f"{key}: got {str(path)!r}, which is empty; allowed: {allowed}"])
    return text
