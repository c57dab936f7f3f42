"""Workload ids: UUIDs of version 7 (RFC 9562), so that they sort by time in indexes."""

import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from uuid import UUID

# To ask the system for each id alone would cost as much as all the rest of it.
_RANDOM_BYTES = 4096


class Ids:
    """Makes ids, each above all it made before: what one replica takes in first comes first.

    48 bits of Unix milliseconds, 12 of the fraction of one (RFC 9562, section 6.2, method 3), which
    counts on where the clock stands still or was set back, then 62 bits of randomness.

    Args:
        clock: nanoseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0
        self._random = _random_numbers()

    def new(self) -> UUID:
        """A new id."""
        now = (self._clock() << 12) // 1_000_000
        with self._lock:
            self._last = moment = max(now, self._last + 1)
            random = next(self._random)
        milliseconds, fraction = moment >> 12 & (2**48 - 1), moment & (2**12 - 1)
        head = milliseconds << 16 | 7 << 12 | fraction
        return UUID(int=head << 64 | 0b10 << 62 | random)


def _random_numbers() -> Iterator[int]:
    """Numbers of 62 bits, as hard to foresee as the system's."""
    while True:
        for (number,) in struct.iter_unpack("<Q", os.urandom(_RANDOM_BYTES)):
            yield number >> 2


new_id = Ids().new
