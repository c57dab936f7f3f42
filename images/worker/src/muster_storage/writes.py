"""What writing requests that are not plain do to the records and hints of a batch."""

import contextlib

from muster_kv.errors import FailureCode
from muster_kv.merging import merge
from muster_kv.record import CorruptRecordError, Record, decode, encode
from muster_kv.wire.messages import (
    Done,
    Failure,
    Merged,
    MergeMany,
    ReplyBody,
    StoreHint,
)
from muster_storage import layout
from muster_storage.metrics import Metrics
from muster_storage.transaction import Transaction

_CREATED_BYTES = 8

Write = MergeMany | StoreHint


def slots_of(body: Write) -> list[bytes]:
    """The records that a request touches."""
    return [slot for slot, _ in body.items] if isinstance(body, MergeMany) else []


def hints_of(body: Write) -> list[bytes]:
    """The hints that a request touches."""
    if isinstance(body, StoreHint):
        return [layout.hint_key(body.target, slot) for slot, _ in body.items]
    return []


def largest(body: Write) -> int:
    """Bytes of the largest record in a request."""
    return max((len(data) for _, data in body.items), default=0)


def pack_hint(created_us: int, record: bytes) -> bytes:
    """A hint: when it was stored, and the record to bring."""
    return created_us.to_bytes(_CREATED_BYTES, "big") + record


def unpack_hint(value: bytes) -> tuple[int, bytes]:
    """What `pack_hint` packed."""
    return int.from_bytes(value[:_CREATED_BYTES], "big"), value[_CREATED_BYTES:]


class Writes:
    """Applies requests to a transaction.

    Args:
        hint_limit: hints kept for one node.
    """

    def __init__(self, hint_limit: int, metrics: Metrics) -> None:
        self._hint_limit = hint_limit
        self._metrics = metrics

    def apply(self, transaction: Transaction, body: Write) -> ReplyBody:
        """Do what `body` asks for; the answer holds once the transaction is durable."""
        try:
            if isinstance(body, MergeMany):
                return self._merge_many(transaction, body)
            return self._store_hint(transaction, body)
        except CorruptRecordError as error:
            self._metrics.corrupted()
            return Failure(FailureCode.CORRUPT, str(error))

    def _merge_many(self, transaction: Transaction, body: MergeMany) -> ReplyBody:
        # All or nothing, so that a damaged one is found before the first is applied.
        for slot, data in body.items:
            decode(data, slot)
        return Merged(sum(transaction.join(slot, data) for slot, data in body.items))

    def _store_hint(self, transaction: Transaction, body: StoreHint) -> ReplyBody:
        target = body.target
        if not target or target == transaction.identity.node_id:
            return Failure(FailureCode.INVALID, f"target: {target!r}; allowed: another node")
        records = [(slot, data, decode(data, slot)) for slot, data in body.items]
        dropped = 0
        for slot, data, record in records:
            key = layout.hint_key(target, slot)
            held = transaction.hint(key)
            if held is not None:
                joined = _joined(held, slot, record)
                transaction.put_hint(target, key, pack_hint(transaction.now_us, joined))
                self._metrics.hints_ended("superseded", 1)
            elif transaction.waiting(target) >= self._hint_limit:
                dropped += 1
            else:
                transaction.put_hint(target, key, pack_hint(transaction.now_us, data))
        if not dropped:
            return Done()
        self._metrics.hints_ended("dropped", dropped)
        return Failure(
            FailureCode.OVERLOADED,
            f"{dropped} of {len(records)} hints for {target} dropped; "
            f"allowed: {self._hint_limit} for a node",
        )


def _joined(held: bytes, slot: bytes, record: Record) -> bytes:
    """The bytes of what a held hint and another record for the same node bring together."""
    _, before = unpack_hint(held)
    # A damaged hint is no loss: what it held is with those who acknowledged it.
    with contextlib.suppress(CorruptRecordError):
        record = merge(decode(before, slot), record)
    return encode(record, slot)
