"""Hash trees over ranges of tokens, brought up to date by reading only what has changed.

Their shape is that of `muster_kv.merkle`. A leaf's hash is over slots and fingerprints of its
records, less what the sweeper would purge, so that replicas that purge at different times agree.
A tree holds for one horizon; a `Purge` makes others.
The hash of nothing is 16 zero bytes. Only leaves whose part of the token space has changed since
they were read are read again: a write costs the trees nothing but a mark.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from muster_kv.merkle import HASH_BYTES, leaf_range
from muster_kv.ranges import TokenRange
from muster_kv.record import CorruptRecordError, decode, fingerprint
from muster_kv.slots import token_of
from muster_kv.tombstones import purge
from muster_kv.wire.messages import Tenants
from muster_storage.horizon import Horizon
from muster_storage.marks import Marks
from muster_storage.pace import Pace
from muster_storage.store import Store

EMPTY = bytes(HASH_BYTES)
MAX_DEPTH = 16
_LEAVES = 1 << 20
"""Of all trees that are kept; each leaf takes 40 bytes."""
_RECORDS_AT_ONCE = 2000
_DAMAGED = b"damaged"


class Tree:
    """The hashes of one range."""

    def __init__(self, tokens: TokenRange, depth: int) -> None:
        self.tokens = tokens
        self._depth = depth
        self.leaves = 1 << depth
        self._hashes = bytearray(2 * self.leaves * HASH_BYTES)
        # The commit up to which each leaf has been read; 0 is never.
        self._read_at = array("Q", bytes(8 * self.leaves))

    def part(self, leaf: int) -> TokenRange | None:
        """Tokens of a leaf; None where the range is so narrow that it has none."""
        try:
            return leaf_range(self.tokens, self._depth, leaf)
        except ValueError:
            return None

    def outdated(self, marks: Marks) -> list[int]:
        """Leaves that may have changed since they were read."""
        return [
            leaf
            for leaf, read_at in enumerate(self._read_at)
            if read_at == 0 or self._changed(marks, leaf, read_at)
        ]

    def hash(self, position: int) -> bytes:
        """The hash of a node."""
        return bytes(self._hashes[position * HASH_BYTES : (position + 1) * HASH_BYTES])

    def replace(self, leaf: int, leaf_hash: bytes, read_at: int) -> None:
        """Put in what was read as of a commit, and what follows from it."""
        self._read_at[leaf] = read_at
        position = self.leaves + leaf
        if self.hash(position) == leaf_hash:
            return
        self._put(position, leaf_hash)
        while position > 1:
            position //= 2
            self._put(position, _join(self.hash(2 * position), self.hash(2 * position + 1)))

    def _put(self, position: int, value: bytes) -> None:
        self._hashes[position * HASH_BYTES : (position + 1) * HASH_BYTES] = value

    def _changed(self, marks: Marks, leaf: int, read_at: int) -> bool:
        part = self.part(leaf)
        return part is not None and marks.changed_since(read_at, part.first, part.last)


def leaf_hash(found: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The hash of slots and fingerprints, in their order."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    empty = True
    for slot, mark in found:
        empty = False
        digest.update(len(slot).to_bytes(4, "big") + slot + mark)
    return EMPTY if empty else digest.digest()


def _join(left: bytes, right: bytes) -> bytes:
    if left == EMPTY and right == EMPTY:
        return EMPTY
    return hashlib.blake2b(left + right, digest_size=HASH_BYTES).digest()


class Forest:
    """The trees that were asked for lately."""

    def __init__(self, store: Store, pace: Pace) -> None:
        self._store = store
        self._pace = pace
        self._trees: OrderedDict[tuple[TokenRange, int, Tenants, Horizon], Tree] = OrderedDict()

    async def hashes(
        self, tokens: TokenRange, depth: int, tenants: Tenants, positions: Sequence[int]
    ) -> tuple[bytes, ...]:
        """The hashes of some nodes of a tree, as the records are now."""
        horizon = self._store.writer.horizon
        key = (tokens, depth, tenants, horizon)
        tree = self._trees.setdefault(key, Tree(tokens, depth))
        self._trees.move_to_end(key)
        while len(self._trees) > 1 and sum(each.leaves for each in self._trees.values()) > _LEAVES:
            self._trees.popitem(last=False)
        outdated = tree.outdated(self._store.writer.marks)
        while outdated:
            read, records = await self._store.background(
                self._read, tree, tenants, horizon, outdated
            )
            outdated = outdated[read:]
            if outdated:
                await self._pace.spent(records)
        return tuple(tree.hash(position) for position in positions)

    def _read(
        self, tree: Tree, tenants: Tenants, horizon: Horizon, leaves: Sequence[int]
    ) -> tuple[int, int]:
        """Read some of the leaves; returns how many, and of how many records."""
        records = 0
        for count, leaf in enumerate(leaves, 1):
            read_at = self._store.writer.marks.now
            part = tree.part(leaf)
            found: list[tuple[bytes, bytes]] = []
            if part is not None:
                held = self._store.reads.records(part, b"", tenants)
                marked = ((slot, _mark(slot, data, horizon)) for slot, data in held)
                found = [(slot, mark) for slot, mark in marked if mark]
            tree.replace(leaf, leaf_hash(found), read_at)
            records += len(found)
            if records >= _RECORDS_AT_ONCE:
                return count, records
        return len(leaves), records


def _mark(slot: bytes, data: bytes, horizon: Horizon) -> bytes:
    """What stands for a record in a hash; nothing where it is about to be purged."""
    try:
        record = decode(data, slot)
    except CorruptRecordError:
        return _DAMAGED
    left = purge(record, horizon.at(token_of(slot)), record.context)
    return b"" if left is None else fingerprint(left)
