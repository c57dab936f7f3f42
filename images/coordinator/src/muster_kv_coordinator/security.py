"""Configuration of security: transport, tokens of tenants, who may administrate."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from muster_runtime.config import Section
from muster_runtime.pem import check_authorities, check_pair


def _empty_to_none(value: object) -> object:
    return None if value == "" else value


OptionalFile = Annotated[Path | None, BeforeValidator(_empty_to_none), Field(validate_default=True)]


class TlsSection(Section):
    """Transport security of both faces; files that change are used from the next connection on."""

    mode: Literal["disabled", "server", "mutual"] = "disabled"
    cert_file: OptionalFile = None
    key_file: OptionalFile = None
    ca_file: OptionalFile = None

    @field_validator("cert_file", "key_file")
    @classmethod
    def _with_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        mode = info.data.get("mode", "disabled")
        if mode == "disabled" and value is not None:
            raise ValueError("only where mode is server or mutual")
        if mode != "disabled" and value is None:
            raise ValueError(f"a PEM file, as mode is {mode}")
        certificate = info.data.get("cert_file")
        if info.field_name == "key_file" and value is not None and certificate is not None:
            check_pair(certificate, value)
        return value

    @field_validator("ca_file")
    @classmethod
    def _with_mutual(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        mode = info.data.get("mode", "mutual")
        if mode != "mutual" and value is not None:
            raise ValueError(f"only where mode is mutual, and mode is {mode}")
        if mode == "mutual" and value is None:
            raise ValueError("a PEM file with the authorities of clients, as mode is mutual")
        if value is not None:
            check_authorities(value)
        return value


class AuthSection(Section):
    """Bearer tokens (JWT) of tenants and administrators.

    Keys are PEM public keys, one file with one or more, or a secret for HS256 of at least 32 bytes.
    """

    mode: Literal["disabled", "jwt"] = "disabled"
    public_keys_file: OptionalFile = None
    secret_file: OptionalFile = None
    issuer: str = ""
    audience: str = ""
    admin_common_names: Annotated[tuple[str, ...], Field(validate_default=True)] = ()
    """Clients with such a certificate need no token, and may administrate; gRPC only."""

    @field_validator("secret_file")
    @classmethod
    def _one_of_them(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        public = info.data.get("public_keys_file")
        if info.data.get("mode") == "jwt" and (value is None) == (public is None):
            raise ValueError("exactly one of public_keys_file and secret_file, as mode is jwt")
        if info.data.get("mode") == "disabled" and (value or public):
            raise ValueError("only where mode is jwt, and mode is disabled")
        return value
