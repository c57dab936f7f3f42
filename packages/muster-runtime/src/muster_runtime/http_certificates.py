"""TLS of an HTTP port: a certificate that follows its files, and those of clients."""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from muster_runtime.filemarks import mark
from muster_runtime.pem import check_authorities, check_pair
from muster_runtime.tls import TlsSection

log = logging.getLogger(__name__)

FOLLOWED_SECONDS = 5.0
"""Between two looks at the files."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where certificate and key are.

    Args:
        authorities: of clients, which may then show certificates.
        required: whether they must.
    """

    certificate: Path
    key: Path
    authorities: Path | None = None
    required: bool = False


class Encryption:
    """The server's side of TLS, at least of version 1.2.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._marks = self._now()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._load()
        if files.authorities is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED if files.required else ssl.CERT_OPTIONAL

    async def follow(self) -> None:
        """Use new files for new connections, for ever.

        Files that are no pair, as in the middle of a rotation, leave what was before in use.
        """
        while True:
            await asyncio.sleep(FOLLOWED_SECONDS)
            now = self._now()
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
        check_pair(self._files.certificate, self._files.key)
        self.context.load_cert_chain(self._files.certificate, self._files.key)
        if self._files.authorities is not None:
            check_authorities(self._files.authorities)
            # Those from before stay trusted until the process ends.
            self.context.load_verify_locations(cafile=self._files.authorities)

    def _now(self) -> list[tuple[int, int, int] | None]:
        files = (self._files.certificate, self._files.key, self._files.authorities)
        return [mark(path) for path in files if path is not None]


def encryption(section: TlsSection) -> Encryption | None:
    """TLS of a port; None where it is disabled."""
    if section.cert_file is None or section.key_file is None:
        return None
    required = section.mode == "mutual"
    return Encryption(TlsFiles(section.cert_file, section.key_file, section.ca_file, required))
