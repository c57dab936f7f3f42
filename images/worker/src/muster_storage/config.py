"""The storage node's configuration, validated whole before anything starts."""

import re
import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from muster_runtime.config import (
    AbsolutePath,
    Duration,
    EmptyIsNone,
    OptionalFile,
    Port,
    Quantity,
    Section,
    WritableDirectory,
    between,
    load,
)
from muster_runtime.pem import check_authorities, check_pair
from muster_storage.disk import Thresholds

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def _name(value: str) -> str:
    if value and _NAME.fullmatch(value) is None:
        raise ValueError(
            "1 to 253 letters, digits, '-', '_' and '.', a letter or digit at each end"
        )
    return value


def _bytes(least: int, most: int, allowed: str) -> AfterValidator:
    def check(value: int) -> int:
        if not least <= value <= most:
            raise ValueError(allowed)
        return value

    return AfterValidator(check)


def _token(value: Path | None) -> Path | None:
    if value is not None:
        try:
            text = value.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"a file that can be read; this one: {error.strerror}") from None
        if not text:
            raise ValueError("a file with one token; this one is empty")
    return value


_Name = Annotated[str, AfterValidator(_name)]
_Percent = Annotated[float, Field(ge=1, le=100, validate_default=True)]


class StorageSection(Section):
    """Who this node is, where it keeps its data, and what it takes at once."""

    node_id: _Name = ""
    """Name of this node; empty takes POD_NAME, else the host name."""
    cluster: _Name = "muster"
    """Only coordinators and nodes that say the same name are spoken to."""
    zone: str = Field(default="", max_length=253)
    """Where the node is; said by `/ready`, for whoever makes the ring."""
    host: str = ""
    """Address to listen on; empty for all."""
    port: Port = 50052
    """0 takes a free port, which the log names."""
    ops_port: Port = 8094
    data_dir: WritableDirectory = Path("/var/lib/muster")
    backup_dir: Annotated[AbsolutePath | None, EmptyIsNone] = None
    """A mounted volume for backups; none refuses them."""
    token_file: Annotated[Path | None, AfterValidator(_token), EmptyIsNone] = None
    """The secret that coordinators and nodes share; none asks for none."""
    sync: bool = True
    """Whether a write is on disk, not only with the kernel, before it is acknowledged.

    Without it, tenants' own choice counts for nothing: all are as with `durability: Async`.
    """
    sync_interval: Annotated[
        Duration, between(timedelta(milliseconds=1), timedelta(minutes=1), "1ms to 1m")
    ] = timedelta(milliseconds=200)
    """After so much time at most it is on disk where it was not before."""
    max_batch: Annotated[int, Field(ge=1, le=65536)] = 1024
    """Requests (and units of 4 KiB of their values) in one durable batch."""
    max_queued: Annotated[int, Field(ge=1, le=2**20)] = 32768
    """As many may wait for a batch; further ones are refused as OVERLOADED."""
    disk_warn: _Percent = 80
    disk_large: _Percent = 90
    disk_all: _Percent = 95
    large_value: Annotated[Quantity, _bytes(1, 2**40, "at least 1")] = 64 * 2**10
    """From this size on a value is large, and refused from `disk_large` on."""
    block_cache: Annotated[Quantity, _bytes(2**20, 2**40, "1Mi to 1Ti")] = 64 * 2**20
    write_buffer: Annotated[Quantity, _bytes(2**20, 2**30, "1Mi to 1Gi")] = 32 * 2**20
    record_cache: Annotated[Quantity, _bytes(0, 2**40, "0 to 1Ti")] = 32 * 2**20
    """Memory for records that were written last, which the next write need not read; 0 for none."""
    shutdown_timeout: Annotated[
        Duration, between(timedelta(seconds=1), timedelta(hours=1), "1s to 1h")
    ] = timedelta(seconds=30)
    """Time from SIGTERM to the end of the process."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("disk_large", "disk_all")
    @classmethod
    def _rising(cls, value: float, info: ValidationInfo) -> float:
        before = {"disk_large": "disk_warn", "disk_all": "disk_large"}[str(info.field_name)]
        least = info.data.get(before)
        if least is not None and value < least:
            raise ValueError(f"at least storage.{before}, which is {least:g}")
        return value

    @property
    def thresholds(self) -> Thresholds:
        """From when on the disk is too full."""
        return Thresholds(self.disk_warn, self.disk_large, self.disk_all, self.large_value)


class HintsSection(Section):
    """Writes kept for nodes that missed them."""

    limit: Annotated[int, Field(ge=0, le=10**7)] = 10_000
    """Hints for one node; further ones are dropped, and left to anti-entropy."""
    ttl: Annotated[Duration, between(timedelta(seconds=1), timedelta(days=7), "1s to 168h")] = (
        timedelta(hours=3)
    )
    interval: Annotated[
        Duration, between(timedelta(milliseconds=100), timedelta(hours=1), "100ms to 1h")
    ] = timedelta(seconds=10)
    """Between two attempts to deliver the hints of one node."""


class RetentionSection(Section):
    """How long what is deleted or over is kept."""

    tombstone_grace: Annotated[
        Duration, between(timedelta(seconds=1), timedelta(days=365), "1s to 8760h")
    ] = timedelta(days=10)
    """Nothing that died is forgotten sooner, even if all replicas have it."""
    interval: Annotated[
        Duration, between(timedelta(milliseconds=100), timedelta(days=7), "100ms to 168h")
    ] = timedelta(hours=1)
    """Between two passes over all records."""
    records_per_second: Annotated[int, Field(ge=100, le=10**7)] = 20_000
    """How fast passes in the background (sweeper, Merkle trees) read, at most."""


class TlsSection(Section):
    """Transport security; all three files, or none."""

    ca_file: OptionalFile = None
    """Authorities whose certificates coordinators and nodes have to have."""
    cert_file: OptionalFile = None
    key_file: OptionalFile = None

    @field_validator("ca_file")
    @classmethod
    def _authorities(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_authorities(value)
        return value

    @field_validator("key_file")
    @classmethod
    def _pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("cert_file")
        if not ("cert_file" in info.data and "ca_file" in info.data):
            return value
        if len({value is None, certificate is None, info.data["ca_file"] is None}) > 1:
            raise ValueError("tls.ca_file, tls.cert_file and tls.key_file, or none of them")
        if value is not None and certificate is not None:
            check_pair(certificate, value)
        return value


class StorageConfig(Section):
    """The whole of `storage.yaml`."""

    storage: StorageSection
    hints: HintsSection = HintsSection()
    retention: RetentionSection = RetentionSection()
    tls: TlsSection = TlsSection()


def load_config(path: Path | None, env: Mapping[str, str]) -> StorageConfig:
    """Read the configuration, make the data folder, and name the node.

    Raises:
        ConfigError: anything is wrong; every error is named, with key, value and what is allowed.
    """
    config = load(StorageConfig, path, env)
    storage = config.storage
    if storage.node_id:
        return config
    identity = env.get("POD_NAME") or socket.gethostname()
    return config.model_copy(update={"storage": storage.model_copy(update={"node_id": identity})})
