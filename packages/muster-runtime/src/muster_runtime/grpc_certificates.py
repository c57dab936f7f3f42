"""The server's certificate, read again when its files change."""

import threading
from collections.abc import Callable
from typing import cast

import grpc

from muster_runtime.certificate_files import CertificateFiles
from muster_runtime.renewal import Renewal
from muster_runtime.tls import TlsSection


class Certificates:
    """Server credentials that follow their files; with authorities, clients need a certificate.

    Certificates rotate while a server runs, so the files are looked at with every new connection.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    _configuration: grpc.ServerCertificateConfiguration

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._renewal = Renewal(files, self._read)
        # None is allowed there, and means no change; the types don't say so.
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._changed)
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._configuration,
            fetch,
            require_client_authentication=files.authorities is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """New certificates, if there are any; called by a thread of gRPC for each connection."""
        with self._lock:
            return self._configuration if self._renewal.look() else None

    def _read(self) -> None:
        files = self._files
        pair = (files.key.read_bytes(), files.certificate.read_bytes())
        authorities = None if files.authorities is None else files.authorities.read_bytes()
        self._configuration = grpc.ssl_server_certificate_configuration([pair], authorities)


def credentials(section: TlsSection) -> grpc.ServerCredentials | None:
    """TLS of a port; None where it is disabled."""
    files = section.files
    return None if files is None else Certificates(files).credentials
