"""Configuration of the faces' security: who may connect, and workers as whom."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from muster_runtime.config import OptionalFile, Section
from muster_runtime.pem import check_authorities, check_pair

_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_ASKING = frozenset({"optional", "mutual"})


class TlsSection(Section):
    """Transport security of a port; its files are read again when they change."""

    mode: Literal["disabled", "server", "optional", "mutual"] = "disabled"
    cert_file: OptionalFile = None
    key_file: OptionalFile = None
    ca_file: OptionalFile = None

    @field_validator("cert_file", "key_file")
    @classmethod
    def _with_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        mode = info.data.get("mode", "disabled")
        if mode == "disabled" and value is not None:
            raise ValueError("only where mode is another than disabled")
        if mode != "disabled" and value is None:
            raise ValueError(f"a PEM file, as mode is {mode}")
        certificate = info.data.get("cert_file")
        if info.field_name == "key_file" and value is not None and certificate is not None:
            check_pair(certificate, value)
        return value

    @field_validator("ca_file")
    @classmethod
    def _with_authorities(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        # Where the mode itself is wrong, that is said and no more.
        mode = info.data.get("mode", "")
        if mode in {"disabled", "server"} and value is not None:
            raise ValueError(f"only where clients show certificates, and mode is {mode}")
        if mode in _ASKING and value is None:
            raise ValueError(f"a PEM file with the authorities of clients, as mode is {mode}")
        if value is not None:
            check_authorities(value)
        return value


class GrpcTlsSection(TlsSection):
    """Transport security of the gRPC port, which asks all clients for certificates or none."""

    mode: Literal["disabled", "server", "mutual"] = "disabled"


class AuthSection(Section):
    """Bearer tokens of workers; they are ServiceAccount tokens, which the API server judges."""

    mode: Literal["disabled", "token-review"] = "disabled"
    audience: str = Field(default="muster-coordinator", min_length=1, max_length=253)
    allowed_service_accounts: Annotated[tuple[str, ...], Field(validate_default=True)] = ()

    @field_validator("allowed_service_accounts")
    @classmethod
    def _named(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if any(_ACCOUNT.fullmatch(account) is None for account in value):
            raise ValueError("a list of <namespace>:<name>")
        mode = info.data.get("mode")
        if mode == "token-review" and not value:
            raise ValueError("at least one <namespace>:<name>, as mode is token-review")
        if mode == "disabled" and value:
            raise ValueError("only where mode is token-review, and mode is disabled")
        return value
