"""The server's certificate, read again when its files change."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from muster_runtime.pem import check_authorities, check_pair

log = logging.getLogger(__name__)

_Marks = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where certificate and key are; with `authorities`, clients need a certificate of theirs."""

    certificate: Path
    key: Path
    authorities: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(filter(None, (self.certificate, self.key, self.authorities)))


class Certificates:
    """Server credentials that follow their files.

    Certificates rotate while a server runs, so the files are looked at with every new connection.
    Files that are no pair, as in the middle of a rotation, leave what was there before in use.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._marks = _marks(files)
        # None is allowed there, and means no change; the types don't say so.
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._changed)
        self.credentials = grpc.dynamic_ssl_server_credentials(
            _read(files),
            fetch,
            require_client_authentication=files.authorities is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """New certificates, if there are any; called by a thread of gRPC for each connection."""
        with self._lock:
            try:
                marks = _marks(self._files)
                if marks == self._marks:
                    return None
                configuration = _read(self._files)
            except (ValueError, OSError) as error:
                log.warning("new certificates are not used", extra={"error": str(error)})
                return None
            self._marks = marks
            log.info("new certificates are used")
            return configuration


def _marks(files: TlsFiles) -> _Marks:
    """What changes whenever a file is replaced or written."""
    found = (path.stat() for path in files.all)
    return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)


def _read(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    check_pair(files.certificate, files.key)
    pair = (files.key.read_bytes(), files.certificate.read_bytes())
    authorities = None
    if files.authorities is not None:
        check_authorities(files.authorities)
        authorities = files.authorities.read_bytes()
    return grpc.ssl_server_certificate_configuration([pair], authorities)
