"""One batch: the records as they become, request by request, and what has to be written for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from muster_kv.clock import VectorClock
from muster_kv.ranges import TokenRange
from muster_kv.record import ABSENT, CorruptRecordError, Record, decode, encode
from muster_kv.slots import token_of
from muster_storage import horizon, layout
from muster_storage.engine import Change, Family
from muster_storage.horizon import Horizon
from muster_storage.identity import Identity

DAMAGED = b"\xff"
"""Stands for a record whose bytes RocksDB could not read; no record has this format."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a node still knows of records that it has forgotten.

    `floor` is the greatest counter of its own dots in any of them; what died before `horizon` may
    be among them.
    """

    floor: int
    horizon: Horizon


class Transaction:
    """What a batch sees and does. Nothing of it lasts unless its changes are written.

    Args:
        held: bytes of the records that the batch may touch, by slot; None where there is none.
        known: those of them that are decoded already.
        hints: the same of hints, by their keys.
        waiting: number of all hints, by node.
        now_us: the time of the whole batch, in microseconds since 1970.
    """

    def __init__(
        self,
        held: Mapping[bytes, bytes | None],
        known: dict[bytes, Record],
        hints: Mapping[bytes, bytes | None],
        waiting: Mapping[str, int],
        identity: Identity,
        forgotten: Forgotten,
        now_us: int,
    ) -> None:
        self._held = held
        self._hints_held = hints
        self._data: dict[bytes, bytes | None] = {}
        self._hints: dict[bytes, bytes | None] = {}
        self._waiting = waiting
        self.hint_counts: dict[str, int] = {}
        """By how much the number of hints has changed, by node."""
        self._meta: list[Change] = []
        self._records = known
        self._identity = identity
        self._forgotten = forgotten
        self.identity = identity
        self.floor = forgotten.floor
        self.horizon = forgotten.horizon
        self.now_us = now_us

    def data(self, slot: bytes) -> bytes | None:
        """The bytes of a record as they are now, whole or not; None where there is none."""
        return self._data[slot] if slot in self._data else self._held[slot]

    def record(self, slot: bytes) -> Record:
        """A record as it is now.

        Raises:
            CorruptRecordError: its bytes are damaged.
        """
        found = self._records.get(slot)
        if found is None:
            data = self.data(slot)
            found = ABSENT if data is None else decode(data, slot)
            self._records[slot] = found
        return found

    def put(self, slot: bytes, record: Record) -> bytes:
        """Replace a record; returns its bytes."""
        data = encode(record, slot)
        self._records[slot] = record
        self._data[slot] = data
        return data

    def put_whole(self, slot: bytes, record: Record, data: bytes) -> None:
        """Replace a record by one that came as these bytes."""
        self._records[slot] = record
        self._data[slot] = data

    def forget(self, slot: bytes) -> None:
        """Remove a record whose deletion everybody knows, or that is no longer this node's.

        This node may count on from 0 for the key, so no dot may be made up to those forgotten.
        """
        try:
            context: VectorClock = self.record(slot).context
        except CorruptRecordError:
            self.renew()
        else:
            self.floor = max(self.floor, context.get(self.identity.actor, 0))
        self._records[slot] = ABSENT
        self._data[slot] = None

    def forget_before(self, tokens: TokenRange, before_us: int) -> None:
        """Let what died before a moment be forgotten in a range, from this batch on."""
        self.horizon = self.horizon.raised(tokens, before_us)

    def renew(self) -> None:
        """Become another actor, as dots that this node has made may be lost; once a batch."""
        if self.identity is self._identity:
            self.identity = self._identity.renewed()

    def hint(self, key: bytes) -> bytes | None:
        """A hint as it is now."""
        return self._hints[key] if key in self._hints else self._hints_held[key]

    def put_hint(self, node: str, key: bytes, value: bytes | None) -> None:
        """Replace a hint for `node`, or remove it."""
        change = (value is not None) - (self.hint(key) is not None)
        self.hint_counts[node] = self.hint_counts.get(node, 0) + change
        self._hints[key] = value

    def waiting(self, node: str) -> int:
        """How many hints wait for `node` now."""
        return self._waiting.get(node, 0) + self.hint_counts.get(node, 0)

    def put_meta(self, change: Change) -> None:
        """Write something about the node itself."""
        self._meta.append(change)

    def written(self) -> Iterator[tuple[bytes, bytes | None, Record]]:
        """The records that have changed: slot, bytes (None: removed), and decoded."""
        for slot, data in self._data.items():
            yield slot, data, self._records[slot]

    @property
    def tokens(self) -> list[int]:
        """Where records have changed."""
        return [token_of(slot) for slot in self._data]

    def totals(self) -> tuple[int, int]:
        """By how much the number of records and their bytes have changed."""
        keys = size = 0
        for slot, data in self._data.items():
            before = self._held[slot]
            keys += (data is not None) - (before is not None)
            size += len(data or b"") - len(before or b"")
        return keys, size

    def changes(self) -> list[Change]:
        """All that has to be written, but for the totals."""
        changes = [Change(Family.DATA, slot, data) for slot, data in self._data.items()]
        changes += [Change(Family.HINTS, key, value) for key, value in self._hints.items()]
        changes += self._meta
        if self.identity is not self._identity:
            changes.append(self.identity.change)
        if self.floor != self._forgotten.floor:
            changes.append(Change(Family.META, layout.META_FLOOR, layout.pack_number(self.floor)))
        if self.horizon != self._forgotten.horizon:
            changes.append(Change(Family.META, layout.META_HORIZON, horizon.pack(self.horizon)))
        return changes
