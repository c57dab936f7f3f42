"""The server's certificate, read again when its files change."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc

from muster_kv_coordinator.security import TlsSection
from muster_runtime.pem import check_authorities, check_pair

log = logging.getLogger(__name__)

_Marks = tuple[tuple[int, int, int], ...]


class Certificates:
    """Server credentials that follow their files, which are looked at with every new connection.

    Files that are no pair, as in the middle of a rotation, leave what was there before in use.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    def __init__(self, section: TlsSection) -> None:
        self._section = section
        self._lock = threading.Lock()
        self._marks = self._look()
        # None is allowed there, and means no change; the types don't say so.
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._changed)
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._read(),
            fetch,
            require_client_authentication=section.mode == "mutual",
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        with self._lock:
            try:
                marks = self._look()
                if marks == self._marks:
                    return None
                configuration = self._read()
            except (ValueError, OSError) as error:
                log.warning("new certificates are not used", extra={"error": str(error)})
                return None
            self._marks = marks
            log.info("new certificates are used")
            return configuration

    @property
    def _files(self) -> tuple[Path, ...]:
        section = self._section
        return tuple(filter(None, (section.cert_file, section.key_file, section.ca_file)))

    def _look(self) -> _Marks:
        found = (path.stat() for path in self._files)
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        certificate, key = self._section.cert_file, self._section.key_file
        if certificate is None or key is None:
            raise ValueError("tls.cert_file and tls.key_file are missing")
        check_pair(certificate, key)
        authorities = None
        if self._section.ca_file is not None:
            check_authorities(self._section.ca_file)
            authorities = self._section.ca_file.read_bytes()
        pair = (key.read_bytes(), certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], authorities)
