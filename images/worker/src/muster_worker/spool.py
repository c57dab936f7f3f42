"""Reports that wait on disk for the coordinator to come back."""

import hashlib
import logging
from pathlib import Path

from muster_worker import files
from muster_worker.reports import Final, decode, encode
from muster_worker.tasks import Ticket

log = logging.getLogger(__name__)

_SUFFIX = ".report.json"


class Spool:
    """The undelivered reports of one worker, one file each.

    Files of different workers in one directory do not meet, because the worker's id is part of
    the file names. Calls block on the disk.
    """

    def __init__(self, directory: Path, worker_id: str) -> None:
        self._directory = directory
        self._prefix = _digest(worker_id)

    def store(self, report: Final) -> None:
        """Keep a report until `remove`; it is on the disk when this returns.

        Raises:
            OSError: the disk is full, or not writable.
        """
        files.write_whole(self._path(report.ticket), encode(report))

    def remove(self, ticket: Ticket) -> None:
        """The report is answered, or was never stored."""
        self._path(ticket).unlink(missing_ok=True)

    def reports(self) -> list[Final]:
        """All stored reports, in no order; a file that can't be read is set aside with a log line.

        Raises:
            OSError: the directory can't be read.
        """
        for leftover in self._directory.glob(f"{self._prefix}-*{files.PARTIAL}"):
            leftover.unlink(missing_ok=True)
        found: list[Final] = []
        for path in self._directory.glob(f"{self._prefix}-*{_SUFFIX}"):
            try:
                found.append(decode(path.read_bytes()))
            except ValueError:
                log.exception("a spooled report is damaged", extra={"path": str(path)})
                path.replace(path.with_suffix(".damaged"))
        return found

    def _path(self, ticket: Ticket) -> Path:
        task = _digest(f"{ticket.task_id}/{ticket.generation}")
        return self._directory / f"{self._prefix}-{task}{_SUFFIX}"


def _digest(name: str) -> str:
    """A file name for any text from outside."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]
