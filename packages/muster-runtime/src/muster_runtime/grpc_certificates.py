"""The server's certificate, read again when its files change."""

import logging
import threading
from collections.abc import Callable
from typing import cast

import grpc

from muster_runtime.certificate_files import CertificateFiles
from muster_runtime.tls import TlsSection

log = logging.getLogger(__name__)


class Certificates:
    """Server credentials that follow their files; with authorities, clients need a certificate.

    Certificates rotate while a server runs, so the files are looked at with every new connection.
    Files that are no pair, as in the middle of a rotation, leave what was there before in use.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._marks = files.marks()
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
                marks = self._files.marks()
                if marks == self._marks:
                    return None
                configuration = _read(self._files)
            except (ValueError, OSError) as error:
                log.warning("new certificates are not used", extra={"error": str(error)})
                return None
            self._marks = marks
            log.info("new certificates are used")
            return configuration


def credentials(section: TlsSection) -> grpc.ServerCredentials | None:
    """TLS of a port; None where it is disabled."""
    files = section.files
    return None if files is None else Certificates(files).credentials


def _read(files: CertificateFiles) -> grpc.ServerCertificateConfiguration:
    files.check()
    pair = (files.key.read_bytes(), files.certificate.read_bytes())
    authorities = None if files.authorities is None else files.authorities.read_bytes()
    return grpc.ssl_server_certificate_configuration([pair], authorities)
