"""Whether RocksDB goes on to refuse writes when nothing is in their way any more.

After a write that failed for want of space it refuses all others, and looks every five seconds
whether there is space again. It waits for that by the wall clock. Where the clock is set back
meanwhile, it looks again only when the clock has come to where it was, which may be in hours. After
some other errors it refuses all writes until it is opened anew.
"""

import time
from collections.abc import Callable

PATIENCE = 10.0
"""Seconds in which RocksDB should have seen by itself that it can go on."""


class Refusing:
    """What became of the latest writes; written to by one thread.

    Args:
        now: a clock that only goes forward, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._needless_since: float | None = None
        self.some = False
        """Whether the latest write was refused."""

    def refused(self, *, needless: bool) -> None:
        """A write was refused, with or without need."""
        self.some = True
        if not needless:
            self._needless_since = None
        elif self._needless_since is None:
            self._needless_since = self._now()

    def over(self) -> None:
        """A write was taken, or RocksDB knows nothing of those that were not."""
        self.some = False
        self._needless_since = None

    @property
    def stuck(self) -> bool:
        """Whether writes have been refused without need for longer than RocksDB should take."""
        since = self._needless_since
        return since is not None and self._now() - since >= PATIENCE
