"""TLS of an HTTP port: a certificate that follows its files, and those of clients."""

import ssl

from muster_runtime.certificate_files import CertificateFiles
from muster_runtime.renewal import Renewal
from muster_runtime.tls import TlsSection


class Encryption:
    """The server's side of TLS, at least of version 1.2.

    Args:
        required: whether clients must show certificates, where there are authorities.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    def __init__(self, files: CertificateFiles, *, required: bool) -> None:
        self._files = files
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._renewal = Renewal(files, self._load)
        if files.authorities is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL

    async def follow(self) -> None:
        """Use new files for new connections, for ever."""
        await self._renewal.follow()

    def _load(self) -> None:
        self.context.load_cert_chain(self._files.certificate, self._files.key)
        if self._files.authorities is not None:
            # Those from before stay trusted until the process ends.
            self.context.load_verify_locations(cafile=self._files.authorities)


def encryption(section: TlsSection) -> Encryption | None:
    """TLS of a port; None where it is disabled."""
    files = section.files
    return None if files is None else Encryption(files, required=section.mode == "mutual")
