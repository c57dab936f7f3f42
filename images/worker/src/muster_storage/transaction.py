"""One batch: the records as they become, request by request, and what has to be written for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from muster_kv.ranges import TokenRange
from muster_kv.record import Record, encode
from muster_records import Batch, Recent, Replica
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


@dataclass(frozen=True, slots=True)
class Names:
    """As whom the node makes dots, and as whom it would go on where some may be lost."""

    identity: Identity
    spare: Identity


class Transaction:
    """What a batch sees and does. Nothing of it lasts unless its changes are written.

    Records are `muster_records.Replica`'s; the rest is here.

    Args:
        replica: the records that the batch may touch.
        hints: bytes of the hints that it may touch, by their keys; None where there is none.
        waiting: number of all hints, by node.
        now_us: the time of the whole batch, in microseconds since 1970.
    """

    def __init__(
        self,
        replica: Replica,
        hints: Mapping[bytes, bytes | None],
        waiting: Mapping[str, int],
        names: Names,
        forgotten: Forgotten,
        now_us: int,
    ) -> None:
        self._replica = replica
        self._hints_held = hints
        self._hints: dict[bytes, bytes | None] = {}
        self._waiting = waiting
        self.hint_counts: dict[str, int] = {}
        """By how much the number of hints has changed, by node."""
        self._meta: list[Change] = []
        self._names = names
        self._forgotten = forgotten
        self.horizon = forgotten.horizon
        self.now_us = now_us

    @property
    def identity(self) -> Identity:
        """As whom the node makes dots now."""
        return self._names.spare if self._replica.renewed else self._names.identity

    @property
    def floor(self) -> int:
        """The greatest counter of own dots in records that are forgotten by now."""
        return self._replica.floor

    @property
    def corrupted(self) -> int:
        """How many damaged records it has met."""
        return self._replica.corrupted

    def apply(self, batch: Batch, now_us: int) -> None:
        """Do plain writes; `now_us` is the monotonic clock's, for their deadlines."""
        batch.apply(self._replica, now_us)

    def data(self, slot: bytes) -> bytes | None:
        """The bytes of a record as they are now, whole or not; None where there is none."""
        return self._replica.data(slot)

    def join(self, slot: bytes, data: bytes) -> bool:
        """Join a record into the one that is held; tells whether that was news.

        Raises:
            CorruptRecordError: `data` is damaged.
        """
        return self._replica.join(slot, data)

    def put(self, slot: bytes, record: Record) -> None:
        """Replace a record."""
        self._replica.replace(slot, encode(record, slot))

    def forget(self, slot: bytes) -> None:
        """Remove a record whose deletion everybody knows, or that is no longer this node's.

        This node may count on from 0 for the key, so no dot may be made up to those forgotten.
        """
        self._replica.forget(slot)

    def forget_before(self, tokens: TokenRange, before_us: int) -> None:
        """Let what died before a moment be forgotten in a range, from this batch on."""
        self.horizon = self.horizon.raised(tokens, before_us)
        self._replica.forget_before(self.horizon.steps)

    def renew(self) -> None:
        """Become another actor, as dots that this node has made may be lost; once a batch."""
        self._replica.renew()

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

    def remember(self, recent: Recent) -> None:
        """Once it is written, keep the records that it has changed."""
        self._replica.remember(recent)

    @property
    def tokens(self) -> list[int]:
        """Where records have changed."""
        return self._replica.tokens()

    def totals(self) -> tuple[int, int]:
        """By how much the number of records and their bytes have changed."""
        return self._replica.totals()

    def changes(self) -> list[Change]:
        """All that has to be written, but for the totals."""
        data = Family.DATA
        changes = [Change(data, slot, held) for slot, held in self._replica.changes()]
        changes += [Change(Family.HINTS, key, value) for key, value in self._hints.items()]
        changes += self._meta
        if self._replica.renewed:
            changes.append(self.identity.change)
        if self.floor != self._forgotten.floor:
            changes.append(Change(Family.META, layout.META_FLOOR, layout.pack_number(self.floor)))
        if self.horizon != self._forgotten.horizon:
            changes.append(Change(Family.META, layout.META_HORIZON, horizon.pack(self.horizon)))
        return changes
