"""Deadlines across two monotonic clocks, and many timeouts with one timer."""

from collections.abc import Iterator

_WINDOW_US = 30_000_000


class Offset:
    """How far the other end's monotonic clock is from ours, from the stamps on its frames.

    The quickest frame of the last windows tells (as LEDBAT, RFC 6817, finds its base delay): our
    time of receipt minus its time of sending is the offset plus the least delay of the way. A frame
    that lay in a buffer while a process was stopped is late by that, instead of fresh. Old windows
    are forgotten because clocks drift.
    """

    def __init__(self) -> None:
        self._least: int | None = None
        self._before: int | None = None
        self._since_us = 0

    def observe(self, sent_us: int, received_us: int) -> None:
        """Take in a frame's stamp (other clock) and when it came (our clock), microseconds."""
        offset = received_us - sent_us
        if self._least is None or received_us - self._since_us >= _WINDOW_US:
            self._before, self._least, self._since_us = self._least, offset, received_us
        elif offset < self._least:
            self._least = offset

    def ours(self, theirs_us: int) -> int:
        """Return the moment on our clock that the other end calls `theirs_us`.

        Late by at most the quickest frame's delay. Raises ValueError before any frame came.
        """
        if self._least is None:
            raise ValueError("no frame has come yet")
        least = self._least if self._before is None else min(self._least, self._before)
        return theirs_us + least


class Wheel:
    """Remembers which numbers are due, to the next tick; adding costs next to nothing."""

    def __init__(self, tick_seconds: float) -> None:
        self.tick_seconds = tick_seconds
        self._slots: dict[int, list[int]] = {}

    def add(self, number: int, due: float) -> None:
        """Remember `number` until `due` (seconds, any monotonic clock)."""
        self._slots.setdefault(int(due / self.tick_seconds) + 1, []).append(number)

    def due(self, now: float) -> Iterator[int]:
        """Yield and forget the numbers whose time has come, the earliest first."""
        current = int(now / self.tick_seconds)
        for tick in sorted(tick for tick in self._slots if tick <= current):
            yield from self._slots.pop(tick)

    def clear(self) -> None:
        """Forget all."""
        self._slots.clear()
