"""Certificates that are read again when their files change, while a server runs."""

import asyncio
import logging
from collections.abc import Callable

from muster_runtime.certificate_files import CertificateFiles

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Between two looks at the files."""


class Renewal:
    """Certificates that are used at once, and again whenever their files change.

    Files that can't be used, as in the middle of a rotation, leave what was before in use.

    Args:
        use: uses what the files hold, which have been looked at; raises ValueError or OSError
            where it can't.

    Raises:
        ValueError, OSError: the files can't be used at the start.
    """

    def __init__(self, files: CertificateFiles, use: Callable[[], None]) -> None:
        self._files = files
        self._use = use
        self._marks = files.marks()
        self._read()

    async def follow(self) -> None:
        """Use new files, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> bool:
        """Use the files if they have changed and can be used; whether that was done."""
        now = self._files.marks()
        if now == self._marks:
            return False
        try:
            self._read()
        except (ValueError, OSError) as error:
            log.warning("new certificates are not used", extra={"error": str(error)})
            return False
        self._marks = now
        log.info("new certificates are used")
        return True

    def _read(self) -> None:
        self._files.check()
        self._use()
