"""TLS of an HTTP port: a certificate that follows its files, and those of clients."""

import asyncio
import logging
import ssl

from muster_runtime.certificate_files import CertificateFiles
from muster_runtime.tls import TlsSection

log = logging.getLogger(__name__)

FOLLOWED_SECONDS = 5.0
"""Between two looks at the files."""


class Encryption:
    """The server's side of TLS, at least of version 1.2.

    Args:
        required: whether clients must show certificates, where there are authorities.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    def __init__(self, files: CertificateFiles, *, required: bool) -> None:
        self._files = files
        self._marks = files.marks()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._load()
        if files.authorities is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL

    async def follow(self) -> None:
        """Use new files for new connections, for ever.

        Files that are no pair, as in the middle of a rotation, leave what was before in use.
        """
        while True:
            await asyncio.sleep(FOLLOWED_SECONDS)
            now = self._files.marks()
            if now == self._marks:
                continue
            try:
                self._load()
            except (ValueError, OSError) as error:
                log.warning("new certificates are not used", extra={"error": str(error)})
                continue
            self._marks = now
            log.info("new certificates are used")

    def _load(self) -> None:
        self._files.check()
        self.context.load_cert_chain(self._files.certificate, self._files.key)
        if self._files.authorities is not None:
            # Those from before stay trusted until the process ends.
            self.context.load_verify_locations(cafile=self._files.authorities)


def encryption(section: TlsSection) -> Encryption | None:
    """TLS of a port; None where it is disabled."""
    files = section.files
    return None if files is None else Encryption(files, required=section.mode == "mutual")
