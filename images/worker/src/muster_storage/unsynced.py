"""Acknowledged writes that the kernel has, and the disk perhaps not yet.

They outlive the process, and are lost with the power. So a file in the data folder says, on disk
before the first of them, that there may be some; it goes when the node ends in order. Where it is
found at a start, the newest writes may be missing: the node must be another actor from then on, or
it would make their dots a second time, and what is in the log behind a gap does not count.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

_FILE = "unsynced"


class Unsynced:
    """Since when a data folder has such writes, and the file that says so.

    Written to by one thread; the age may be read from any.

    Args:
        folder: the data folder.
        now: a clock that only goes forward, in seconds.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._path = folder / _FILE
        self._now = now
        self._since: float | None = None
        self._marked = self._path.exists()
        self.left = self._marked
        """Whether an earlier process may have left some."""

    @property
    def age(self) -> float:
        """Seconds since the oldest of them was written; 0 where all are on disk."""
        since = self._since
        return 0.0 if since is None else max(0.0, self._now() - since)

    @property
    def marked(self) -> bool:
        """Whether the folder says that there may be some."""
        return self._marked

    @property
    def some(self) -> bool:
        """Whether there are any now."""
        return self._since is not None

    def begin(self) -> None:
        """There will be one: say so on disk, unless that is said already.

        Raises:
            OSError: that can't be; then nothing may be written.
        """
        if not self._marked:
            self._path.touch()
            self._sync_folder()
            self._marked = True
        if self._since is None:
            self._since = self._now()

    def over(self) -> None:
        """All are on disk now."""
        self._since = None

    def forget(self) -> None:
        """All are on disk, and nothing need be done about them at the next start.

        Raises:
            OSError: the file can't be removed.
        """
        self.over()
        if self._marked:
            self._path.unlink(missing_ok=True)
            self._sync_folder()
            self._marked = False

    def _sync_folder(self) -> None:
        opened = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
