"""The coordinator's configuration; see docs/coordinator.md for each key."""

import re
import socket
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from muster_broker.access import BrokerSection
from muster_coordinator.accounts.section import AccountsSection
from muster_coordinator.engine.scheduling import STRATEGIES
from muster_coordinator.security import AuthSection
from muster_proving import CircuitSpec, InvalidInput, parse_circuit
from muster_runtime.config import (
    AbsolutePath,
    Duration,
    Port,
    Quantity,
    Section,
    Sha256,
    Span,
    between,
)
from muster_runtime.election.configured import ElectionSection
from muster_runtime.tls import GrpcTlsSection, TlsSection

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?")


TYPE_PATTERN = r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"
"""Of a kind of work, as in `command` or `prove.merkle`."""

LongSpan = Annotated[
    Duration,
    between(timedelta(seconds=1), timedelta(days=3650), "a duration from 1s to 87600h"),
]


class CoordinatorSection(Section):
    """What this process serves, and its times."""

    id: str = Field(default="", max_length=253)
    grpc_port: Port = 9090
    http_port: Port = 8080
    ops_port: Port = 8090
    scaler_port: Port | None = None
    """Where KEDA asks how much work there is; None answers nowhere."""
    poll_interval: Span = timedelta(seconds=2)
    heartbeat_timeout: Span = timedelta(seconds=30)
    worker_dead_threshold: Span | None = None
    stale_task_timeout: Span = timedelta(minutes=5)
    cleanup_interval: Span = timedelta(minutes=1)
    strategy: str = "least-loaded"
    max_retries: int = Field(default=3, ge=0, le=100)
    max_worker_losses: int = Field(default=5, ge=0, le=100)
    quarantine: LongSpan = timedelta(hours=1)
    task_retention: LongSpan = timedelta(days=7)
    max_queued: int = Field(default=100_000, ge=0)
    max_pending: int = Field(default=0, ge=0)
    batch_size: int = Field(default=100, ge=1, le=1000)
    drain_timeout: Span = timedelta(seconds=30)

    @property
    def dead_threshold(self) -> timedelta:
        """The silence that makes a worker dead."""
        return self.worker_dead_threshold or 3 * self.heartbeat_timeout

    @field_validator("worker_dead_threshold")
    @classmethod
    def _beyond_suspicion(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        suspect = info.data.get("heartbeat_timeout")
        if value is not None and suspect is not None and value <= suspect:
            raise ValueError("a duration longer than heartbeat_timeout")
        return value

    @field_validator("strategy")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in STRATEGIES:
            raise ValueError(", ".join(STRATEGIES))
        return value

    def identity(self, env: Mapping[str, str]) -> str:
        """This replica's name: `id`, else POD_NAME, else the host's name."""
        return self.id or env.get("POD_NAME") or socket.gethostname()


def _network(value: object) -> object:
    try:
        return ip_network(str(value))
    except ValueError:
        raise ValueError("an address or a network such as 10.0.0.0/8") from None


def _origin(value: object) -> str:
    if value == "*" or (isinstance(value, str) and _ORIGIN.fullmatch(value)):
        return value
    raise ValueError("an origin such as https://example.com, or *")


class HttpSection(Section):
    """How much one client of the HTTP API may ask, from which web pages, and with what."""

    rate_limit: float = Field(default=10.0, ge=0, le=1_000_000, allow_inf_nan=False)
    rate_burst: int = Field(default=20, ge=1, le=1_000_000)
    trusted_proxies: tuple[
        Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...
    ] = ()
    cors_origins: tuple[Annotated[str, BeforeValidator(_origin)], ...] = ()
    require_keys: bool = False
    """Whether proofs need a key or token as other work does."""


class DatabaseSection(Section):
    """The PostgreSQL database; its connection string is read from a file, as it is a secret."""

    dsn_file: Path = Path("/etc/muster/database/dsn")
    witness_key_file: Path | None = None
    max_open_conns: int = Field(default=25, ge=4, le=1000)
    max_idle_conns: int = Field(default=5, ge=0, le=1000)
    conn_max_lifetime: Span = timedelta(minutes=5)

    @field_validator("max_idle_conns")
    @classmethod
    def _at_most_open(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("max_open_conns", value)
        if value > most:
            raise ValueError(f"at most max_open_conns, which is {most}")
        return value


class LeaderElectionSection(ElectionSection):
    """How replicas agree on their leader; outside a cluster an advisory lock needs no name."""

    @model_validator(mode="after")
    def _named(self) -> "LeaderElectionSection":
        if self.backend == "lease" and not self.lease_name:
            raise ValueError("a lease_name where backend is lease")
        return self


class ImportSection(Section):
    """A file with the key of a circuit."""

    path: AbsolutePath
    sha256: Sha256


class CircuitSection(Section):
    """One circuit that a pool proves; `size` is the depth of a merkle tree, the bits of a range."""

    name: str
    curve: str = "bn254"
    size: int | None = None
    hash: str = "poseidon"
    import_: ImportSection | None = Field(default=None, alias="import")
    """Where the key comes from, in a pool without insecure_setup."""

    @model_validator(mode="after")
    def _in_the_catalogue(self) -> "CircuitSection":
        try:
            _ = self.spec
        except InvalidInput as error:
            raise ValueError(f"{error.field} {error.allowed}") from None
        return self

    @property
    def spec(self) -> CircuitSpec:
        """The circuit of the catalogue."""
        return parse_circuit(self.name, curve=self.curve, size=self.size, hash_with=self.hash)


class PoolSection(Section):
    """One pool of workers and what it proves."""

    name: str = Field(min_length=1, max_length=253)
    insecure_setup: bool = False
    verification: Literal["Required", "None"] = "Required"
    circuits: tuple[CircuitSection, ...]

    @field_validator("circuits")
    @classmethod
    def _distinct(cls, value: tuple[CircuitSection, ...]) -> tuple[CircuitSection, ...]:
        if not value or len({circuit.spec for circuit in value}) < len(value):
            raise ValueError("at least one circuit, and each once")
        return value

    @model_validator(mode="after")
    def _keys_of_one_kind(self) -> "PoolSection":
        if self.insecure_setup and any(circuit.import_ for circuit in self.circuits):
            raise ValueError("no circuits[].import where insecure_setup is true")
        return self


class ProvingSection(Section):
    """The pools that this coordinator serves."""

    pools: tuple[PoolSection, ...] = ()

    @field_validator("pools")
    @classmethod
    def _distinct(cls, value: tuple[PoolSection, ...]) -> tuple[PoolSection, ...]:
        if len({pool.name for pool in value}) < len(value):
            raise ValueError("each pool name once")
        return value


class WorkPoolSection(Section):
    """One pool of workers for work that is no proof."""

    name: str = Field(min_length=1, max_length=253)
    types: tuple[Annotated[str, Field(pattern=TYPE_PATTERN)], ...] = ()
    """The kinds of work that it does; none stands for any."""


class WorkloadsSection(Section):
    """The pools of this coordinator that do other work than proofs."""

    pools: tuple[WorkPoolSection, ...] = ()

    @field_validator("pools")
    @classmethod
    def _distinct(cls, value: tuple[WorkPoolSection, ...]) -> tuple[WorkPoolSection, ...]:
        if len({pool.name for pool in value}) < len(value):
            raise ValueError("each pool name once")
        return value


class CoordinatorBrokerSection(BrokerSection):
    """The broker of a coordinator, which makes the streams on it.

    Attributes:
        stream_replicas: servers that keep each message, where the broker is a cluster.
        stream_bytes: of events that no coordinator has stored yet; a full stream takes no more.
    """

    stream_replicas: int = Field(default=1, ge=1, le=5)
    stream_bytes: Annotated[Quantity, Field(ge=2**20, le=2**40)] = 256 * 2**20


class CoordinatorConfig(Section):
    """The whole file."""

    coordinator: CoordinatorSection = CoordinatorSection()
    http: HttpSection = HttpSection()
    http_tls: TlsSection = TlsSection()
    accounts: AccountsSection = AccountsSection()
    grpc_tls: GrpcTlsSection = GrpcTlsSection()
    auth: AuthSection = AuthSection()
    database: DatabaseSection = DatabaseSection()
    leader_election: LeaderElectionSection = Field(default_factory=LeaderElectionSection)
    proving: ProvingSection = ProvingSection()
    workloads: WorkloadsSection = WorkloadsSection()
    broker: CoordinatorBrokerSection = CoordinatorBrokerSection()
