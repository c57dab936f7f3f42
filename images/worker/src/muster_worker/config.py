"""The worker's configuration, validated whole before anything starts."""

import re
import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from muster_broker.access import Access, BrokerSection
from muster_proving import CircuitSpec, InvalidInput
from muster_runtime.config import (
    AbsolutePath,
    ConfigError,
    Duration,
    EmptyIsNone,
    OptionalFile,
    Port,
    Quantity,
    Section,
    Sha256,
    WritableDirectory,
    between,
    load,
)
from muster_runtime.pem import check_authorities, check_pair
from muster_worker.cgroup import available_cpus
from muster_worker.link import Link, Pings, Tls, read_token
from muster_worker.workloads import PROOFS, installed

SMALLEST_MEMORY_LIMIT = 64 * 2**20

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9._/-]{1,63}")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):(\d{1,5})")


def _name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise ValueError(
            "1 to 253 letters, digits, '-', '_' and '.', a letter or digit at each end"
        )
    return value


def _optional_name(value: str) -> str:
    return _name(value) if value else ""


def _address(value: str | None) -> str | None:
    if value is None:
        return value
    match = _ADDRESS.fullmatch(value)
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise ValueError("host:port, as in demo-coordinator:9090, the port from 1 to 65535")
    return value


def _concurrency(value: int) -> int:
    most = 2 * available_cpus()
    if not 1 <= value <= most:
        raise ValueError(f"1 to {most}, twice the CPUs of this worker")
    return value


def _memory_limit(value: int | None) -> int | None:
    if value is not None and value < SMALLEST_MEMORY_LIMIT:
        raise ValueError("at least 64Mi, or empty for no limit")
    return value


def _listed(value: object) -> object:
    """A list, or as an environment variable has it: names between commas."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


def _workloads(value: tuple[str, ...]) -> tuple[str, ...]:
    known = installed()
    if len(set(value)) < len(value) or not known.keys() >= set(value):
        raise ValueError(
            f"a list of installed workload types, each once: {', '.join(sorted(known))}"
        )
    return value


def _tags(value: dict[str, str]) -> dict[str, str]:
    for key, tag in value.items():
        if _TAG.fullmatch(key) is None or _TAG.fullmatch(tag) is None or key == "instance":
            raise ValueError(
                "names and values of 1 to 63 letters, digits, '-', '_', '.' and '/'; "
                "not the name instance"
            )
    return value


def _token(value: Path | None) -> Path | None:
    if value is not None:
        try:
            read_token(value)
        except OSError as error:
            raise ValueError(f"a file that can be read; this one: {error.strerror}") from None
    return value


class WorkerSection(Section):
    """Who this worker is, whom it works for, and within which limits."""

    id: Annotated[str, AfterValidator(_optional_name)] = ""
    """Name of this worker; empty takes POD_NAME, else the host name."""
    coordinator_address: Annotated[str | None, AfterValidator(_address)] = None
    """`host:port` of the coordinator; none where this worker speaks to it over a broker."""
    pool: Annotated[str, AfterValidator(_name)]
    concurrency: Annotated[int, AfterValidator(_concurrency)] = 1
    """Tasks executed at once, each in a process of its own."""
    workloads: Annotated[tuple[str, ...], AfterValidator(_workloads), BeforeValidator(_listed)] = ()
    """Workload types that it executes; none named is all `prove.*` that are installed."""
    tags: Annotated[
        dict[str, str], Field(default_factory=dict, max_length=60), AfterValidator(_tags)
    ]
    """What affinity rules of workloads may name."""
    heartbeat_interval: Annotated[
        Duration, between(timedelta(seconds=1), timedelta(seconds=60), "1s to 60s")
    ] = timedelta(seconds=5)
    shutdown_timeout: Annotated[
        Duration, between(timedelta(seconds=1), timedelta(hours=1), "1s to 1h")
    ] = timedelta(seconds=30)
    """Time from SIGTERM to the end of the process."""
    ops_port: Port = 8091
    """0 takes a free port."""
    cache_dir: WritableDirectory = Path("/var/cache/muster")
    spool_dir: WritableDirectory = Path("/var/spool/muster")
    task_memory_limit: Annotated[Quantity | None, AfterValidator(_memory_limit), EmptyIsNone] = None
    """Bytes of private memory for one executing process, its keys included; none is no limit."""
    task_timeout: Annotated[
        Duration, between(timedelta(milliseconds=1), timedelta(hours=24), "1ms to 24h")
    ] = timedelta(minutes=5)
    """Time limit of a task whose assignment names none."""
    checkpoint_interval: Annotated[
        Duration, between(timedelta(seconds=1), timedelta(hours=1), "1s to 1h")
    ] = timedelta(seconds=30)
    """Between two checkpoints that a running task is asked for."""
    pause_timeout: Annotated[
        Duration, between(timedelta(seconds=1), timedelta(minutes=10), "1s to 10m")
    ] = timedelta(seconds=10)
    """How long a task that is to pause may take; then it is killed, and goes on from what it saved
    before."""
    keepalive_time: Annotated[
        Duration, between(timedelta(seconds=5), timedelta(hours=1), "5s to 1h")
    ] = timedelta(seconds=10)
    """Between two pings of the connection."""
    keepalive_timeout: Annotated[
        Duration, between(timedelta(seconds=1), timedelta(minutes=1), "1s to 1m")
    ] = timedelta(seconds=3)
    """How long a ping may be unanswered."""
    token_file: Annotated[Path | None, AfterValidator(_token), EmptyIsNone] = None
    """A bearer token for the coordinator; none sends none."""

    def served(self) -> tuple[str, ...]:
        """The workload types that this worker executes."""
        return self.workloads or tuple(name for name in installed() if name.startswith(PROOFS))


class TlsSection(Section):
    """Transport security of the connection; `ca_file` turns it on."""

    ca_file: OptionalFile = None
    """Authorities whose certificates a coordinator may have."""
    cert_file: OptionalFile = None
    key_file: OptionalFile = None
    """With `cert_file`: who this worker is, for a coordinator that asks."""
    server_name: Annotated[str, Field(max_length=253, validate_default=True)] = ""
    """What the coordinator's certificate has to be for; empty for the host of the address."""

    @field_validator("ca_file")
    @classmethod
    def _authorities(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_authorities(value)
        return value

    @field_validator("cert_file", "key_file", "server_name")
    @classmethod
    def _with_authorities(cls, value: Path | str | None, info: ValidationInfo) -> object:
        if value and "ca_file" in info.data and info.data["ca_file"] is None:
            raise ValueError("only with tls.ca_file")
        return value

    @field_validator("key_file")
    @classmethod
    def _pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("cert_file")
        if (value is None) != (certificate is None) and "cert_file" in info.data:
            raise ValueError("with tls.cert_file, and only with it")
        if value is not None and certificate is not None:
            check_pair(certificate, value)
        return value

    @property
    def files(self) -> Tls | None:
        """What a connection needs; None without TLS."""
        if self.ca_file is None:
            return None
        return Tls(self.ca_file, self.cert_file, self.key_file, self.server_name)


class ZkpSection(Section):
    """Settings of the proof system."""

    curve: Literal["BN254", "BLS12-381"] = "BN254"
    """Curve of a task whose assignment names no key."""


def _key_id(value: str) -> str:
    try:
        return CircuitSpec.from_key_id(value).key_id
    except InvalidInput as error:
        raise ValueError(f"a key id, {error.allowed}") from None


class KeySection(Section):
    """A proving key in a file: a `.zkey`, or a key file of Muster."""

    key_id: Annotated[str, AfterValidator(_key_id)]
    path: AbsolutePath
    sha256: Sha256


def _distinct(value: tuple[KeySection, ...]) -> tuple[KeySection, ...]:
    if len({(key.key_id, key.sha256) for key in value}) < len(value):
        raise ValueError("each file of a key once")
    return value


class WorkerConfig(Section):
    """The whole of `worker.yaml`."""

    worker: WorkerSection
    tls: TlsSection = TlsSection()
    zkp: ZkpSection = ZkpSection()
    broker: BrokerSection = BrokerSection()
    """The NATS server that the coordinator is reached over, instead of its address."""
    keys: Annotated[tuple[KeySection, ...], AfterValidator(_distinct)] = ()
    """Files that spare fetching a key: used where their version is one that the pool asks for."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What workload types are told, by their names."""

    @field_validator("options")
    @classmethod
    def _of_served_types(
        cls, value: dict[str, dict[str, Any]], info: ValidationInfo
    ) -> dict[str, dict[str, Any]]:
        worker = info.data.get("worker")
        if isinstance(worker, WorkerSection) and not value.keys() <= set(worker.served()):
            raise ValueError(f"only types that this worker serves: {', '.join(worker.served())}")
        return value

    @property
    def link(self) -> Link:
        """How to reach the coordinator by its address, where there is no broker."""
        worker = self.worker
        pings = Pings(
            worker.keepalive_time.total_seconds(), worker.keepalive_timeout.total_seconds()
        )
        return Link(worker.coordinator_address or "", self.tls.files, worker.token_file, pings)


def load_config(path: Path | None, env: Mapping[str, str]) -> WorkerConfig:
    """Read the configuration, make its directories, and name the worker.

    Raises:
        ConfigError: anything is wrong; every error is named, with key, value and what is allowed.
    """
    config = load(WorkerConfig, path, env)
    worker = config.worker
    if config.broker.enabled == (worker.coordinator_address is not None):
        found = "also broker" if config.broker.enabled else "missing"
        allowed = "host:port of the coordinator, or else broker.servers or broker.url_file"
        raise ConfigError([f"worker.coordinator_address: {found}; allowed: {allowed}"])
    if config.broker.enabled:
        Access(config.broker)
    if worker.id:
        return config
    identity = env.get("POD_NAME") or socket.gethostname()
    return config.model_copy(update={"worker": worker.model_copy(update={"id": identity})})
