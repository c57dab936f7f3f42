"""Configuration of security: tokens of tenants, who may administrate."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from muster_runtime.config import OptionalFile, Section


class AuthSection(Section):
    """Bearer tokens (JWT) of tenants and administrators.

    Keys are PEM public keys, one file with one or more, or a secret for HS256 of at least 32 bytes.
    Tokens that are signed (HS256) with `admin_secret_file` count beside those, of whatever issuer
    and audience: they are made by what maintains the cluster.
    """

    mode: Literal["disabled", "jwt"] = "disabled"
    public_keys_file: OptionalFile = None
    secret_file: OptionalFile = None
    admin_secret_file: OptionalFile = None
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

    @field_validator("admin_secret_file")
    @classmethod
    def _with_tokens(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("mode") == "disabled" and value:
            raise ValueError("only where mode is jwt, and mode is disabled")
        return value
