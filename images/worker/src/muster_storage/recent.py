"""Records that were written last, decoded: most writes are to keys that were written before.

Used by the writing thread alone. It holds what RocksDB holds, as everything that changes a record
passes through that thread.
"""

from typing import NamedTuple

from muster_kv.record import Record

_AROUND_BYTES = 512
"""About what Python's objects take beside the bytes, which a record has twice."""


class Held(NamedTuple):
    """A record and its bytes."""

    data: bytes
    record: Record


class Recent:
    """The records of about so many bytes of memory; of more, those written longest ago go.

    Args:
        most: bytes; 0 keeps none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        # The one written last comes last.
        self._held: dict[bytes, Held] = {}

    def get(self, slot: bytes) -> Held | None:
        """A record, if it is among them."""
        return self._held.get(slot)

    def put(self, slot: bytes, data: bytes, record: Record) -> None:
        """Take in a record that was written."""
        held = self._held
        before = held.pop(slot, None)
        self._size += _weight(slot, data) - (_weight(slot, before.data) if before else 0)
        held[slot] = Held(data, record)
        while self._size > self._most:
            oldest = next(iter(held))
            self._size -= _weight(oldest, held.pop(oldest).data)

    def drop(self, slot: bytes) -> None:
        """Let go of a record that was removed."""
        before = self._held.pop(slot, None)
        if before is not None:
            self._size -= _weight(slot, before.data)

    def clear(self) -> None:
        """Let go of all, as nobody knows what was written."""
        self._held.clear()
        self._size = 0


def _weight(slot: bytes, data: bytes) -> int:
    return len(slot) + 2 * len(data) + _AROUND_BYTES
