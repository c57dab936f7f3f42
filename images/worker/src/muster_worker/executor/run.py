"""One run of a task in the executing process, as the workload sees it."""

import threading
import time
from collections.abc import Callable

from muster_sdk import Context, Failed, Level, Wish, Workload
from muster_worker.executor import messages

MOST_LINES = 10_000
"""Lines of log that one run may say; further ones are dropped, with a line that says so."""

LONGEST_LINE = 4000
LONGEST_MESSAGE = 1000

MOST_CHECKPOINT_BYTES = 4 * 2**20

_PROGRESS_SECONDS = 0.1
"""Between two messages about progress; what comes faster says nothing more to anybody."""


class Run(Context):
    """Passes on what a workload says, and shows it what is wished.

    Args:
        send: hands a message to the worker; may be called from any thread.
        checkpoint_seconds: between two checkpoints at safe points.
    """

    def __init__(
        self,
        workload: Workload,
        send: Callable[[messages.Event], None],
        checkpoint_seconds: float,
    ) -> None:
        self._workload = workload
        self._send = send
        self._interval = checkpoint_seconds
        self._wish = Wish.NONE
        self._lock = threading.Lock()
        self._lines = 0
        self._told = float("-inf")
        self._saved = time.monotonic()

    @property
    def wish(self) -> Wish:
        """See `Context`."""
        return self._wish

    def wished(self, wish: Wish) -> None:
        """Something is wished of this run; a task that is cancelled need not pause any more."""
        if self._wish is not Wish.CANCEL:
            self._wish = wish

    def progress(self, percent: float, message: str = "") -> None:
        """See `Context`."""
        with self._lock:
            now = time.monotonic()
            if now - self._told < _PROGRESS_SECONDS and percent < 100:
                return
            self._told = now
        cut = min(100.0, max(0.0, float(percent)))
        self._send(messages.Progressed(cut, message[:LONGEST_MESSAGE]))

    def log(self, message: str, level: Level = "info") -> None:
        """See `Context`."""
        with self._lock:
            self._lines += 1
            lines = self._lines
        if lines > MOST_LINES + 1:
            return
        if lines > MOST_LINES:
            message, level = f"more than {MOST_LINES} lines: the rest is dropped", "warning"
        self._send(messages.Logged(time.time_ns() // 1_000_000, level, message[:LONGEST_LINE]))

    def save(self, checkpoint: bytes) -> None:
        """See `Context`.

        Raises:
            Failed: it is too large to be kept.
        """
        self._saved = time.monotonic()
        self._send(messages.Saved(checked(checkpoint)))

    def safe_point(self) -> None:
        """See `Context`."""
        self.stop_if_wished()
        if time.monotonic() - self._saved < self._interval:
            return
        self._saved = time.monotonic()
        state = self._workload.checkpoint()
        if state is not None:
            self.save(state)


def checked(checkpoint: bytes) -> bytes:
    """A checkpoint that can be kept.

    Raises:
        Failed: it is too large.
    """
    if len(checkpoint) > MOST_CHECKPOINT_BYTES:
        raise Failed(
            f"checkpoint is {len(checkpoint)} bytes; allowed: at most {MOST_CHECKPOINT_BYTES}",
            transient=False,
        )
    return bytes(checkpoint)
