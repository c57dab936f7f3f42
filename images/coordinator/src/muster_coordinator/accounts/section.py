"""Configuration of accounts: whose tokens and certificates count, beside API keys."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from muster_coordinator.accounts.callers import Identity
from muster_coordinator.accounts.certificates import Subjects, read_subject
from muster_coordinator.accounts.keys import CUSTOMER_IDS, is_customer_id, read_digests
from muster_coordinator.accounts.tokens import Issuer, read_keys
from muster_coordinator.engine.customers import Tier
from muster_runtime.config import OptionalFile, Section


def _subject(value: object) -> str:
    text = str(value)
    read_subject(text)
    return text


def _customer(value: object) -> str:
    if not isinstance(value, str) or not (value == "" or is_customer_id(value)):
        raise ValueError(CUSTOMER_IDS)
    return value


class CertificateSection(Section):
    """Whose certificate has a subject: a customer's, or an administrator's."""

    subject: Annotated[str, BeforeValidator(_subject)]
    customer: Annotated[str, BeforeValidator(_customer)] = ""
    tier: Tier | None = None
    admin: bool = False

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if self.admin == bool(self.customer):
            raise ValueError("either a customer, or admin: true")
        return self


class AccountsSection(Section):
    """How callers of `/v1` and WorkloadService may show who they are, beside API keys."""

    jwt_algorithm: Literal["", "HS256", "RS256", "ES256", "EdDSA"] = ""
    jwt_key_file: OptionalFile = None
    jwt_jwks_file: OptionalFile = None
    jwt_issuer: str = Field(default="", max_length=1000)
    jwt_audience: str = Field(default="", max_length=1000)
    certificates: tuple[CertificateSection, ...] = ()
    admin_keys_file: OptionalFile = None

    @field_validator("admin_keys_file")
    @classmethod
    def _digests(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_digests(value)
        return value

    @field_validator("jwt_key_file")
    @classmethod
    def _a_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        algorithm = info.data.get("jwt_algorithm", "")
        if value is not None and not algorithm:
            raise ValueError("only beside jwt_algorithm")
        if value is not None:
            read_keys(value, algorithm)
        return value

    @field_validator("jwt_jwks_file")
    @classmethod
    def _a_set(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        key, algorithm = info.data.get("jwt_key_file"), info.data.get("jwt_algorithm", "")
        if value is not None and (key is not None or algorithm):
            raise ValueError("only without jwt_key_file and jwt_algorithm")
        if value is not None:
            read_keys(value, "")
        elif algorithm and "jwt_key_file" in info.data and key is None:
            raise ValueError("jwt_key_file beside jwt_algorithm, or a JWK set and no algorithm")
        return value

    @field_validator("certificates")
    @classmethod
    def _distinct(cls, value: tuple[CertificateSection, ...]) -> tuple[CertificateSection, ...]:
        if len({read_subject(one.subject) for one in value}) < len(value):
            raise ValueError("each subject once")
        return value

    @property
    def administrators(self) -> frozenset[bytes]:
        """Digests of keys that are administrators', whatever the database says.

        Raises:
            ValueError: the file can't be read any more.
        """
        return read_digests(self.admin_keys_file) if self.admin_keys_file else frozenset()

    @property
    def issuer(self) -> Issuer | None:
        """Whose tokens count; None where nobody's do."""
        path = self.jwt_key_file or self.jwt_jwks_file
        if path is None:
            return None
        return Issuer(path, self.jwt_algorithm, self.jwt_issuer, self.jwt_audience)

    @property
    def subjects(self) -> Subjects:
        """Whose certificates count."""
        return Subjects(
            (
                read_subject(one.subject),
                Identity(one.customer or one.subject, one.customer or None, one.tier),
            )
            for one in self.certificates
        )
