"""A gate that many pass at once, or one alone."""

import contextlib
import threading
import time
from collections.abc import Iterator


class GateBusyError(Exception):
    """Others were inside for too long."""


class Gate:
    """As a context manager: be inside, beside others; waits while somebody is alone there."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._closed = False

    def __enter__(self) -> None:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        with self._changed:
            self._inside -= 1
            if self._closed:
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self, within: float) -> Iterator[None]:
        """Be inside alone: let nobody in any more, and wait for those who are.

        Args:
            within: seconds that they may take; one thread at a time may ask for it.

        Raises:
            GateBusyError: they took longer.
        """
        until = time.monotonic() + within
        with self._changed:
            self._closed = True
        try:
            with self._changed:
                while self._inside:
                    if not self._changed.wait(until - time.monotonic()):
                        raise GateBusyError
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()
