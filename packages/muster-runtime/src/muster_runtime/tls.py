"""Configuration of a port's transport security."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationInfo, field_validator

from muster_runtime.certificate_files import CertificateFiles
from muster_runtime.config import OptionalFile, Section
from muster_runtime.pem import check_authorities, check_pair

_ASKING = frozenset({"optional", "mutual"})


class TlsSection(Section):
    """Transport security of a port; its files are read again when they change."""

    mode: Literal["disabled", "server", "optional", "mutual"] = "disabled"
    cert_file: OptionalFile = None
    key_file: OptionalFile = None
    ca_file: OptionalFile = None

    @property
    def files(self) -> CertificateFiles | None:
        """Where its certificates are; None where it is disabled."""
        if self.cert_file is None or self.key_file is None:
            return None
        return CertificateFiles(self.cert_file, self.key_file, self.ca_file)

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
    """Transport security of a gRPC port, which asks all clients for certificates or none."""

    mode: Literal["disabled", "server", "mutual"] = "disabled"
