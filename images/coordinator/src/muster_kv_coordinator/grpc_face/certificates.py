"""The certificate of the gRPC port and the authorities of its clients, which follow their files."""

from collections.abc import Callable

from muster_front import Tls
from muster_runtime.certificate_files import CertificateFiles
from muster_runtime.renewal import Renewal


class Certificates:
    """What is shown to clients and asked of them now.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    tls: Tls

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._use: Callable[[Tls], None] | None = None
        self._renewal = Renewal(files, self._load)

    async def follow(self, use: Callable[[Tls], None]) -> None:
        """Hand on what has changed, for ever."""
        self._use = use
        await self._renewal.follow()

    def _load(self) -> None:
        files = self._files
        authorities = None if files.authorities is None else files.authorities.read_bytes()
        self.tls = Tls(files.certificate.read_bytes(), files.key.read_bytes(), authorities)
        if self._use is not None:
            self._use(self.tls)
