"""What a replica keeps for one key, and its bytes on disk and on the wire.

Bytes: format version (1 byte), MessagePack of the record as an array, CRC-32 of all before it
seeded with the key's slot (4 bytes, big-endian). The seed makes a record found under another key's
slot as wrong as a damaged one.
"""

import hashlib

import msgspec

from muster_kv.clock import EMPTY, Dot, VectorClock
from muster_records import CorruptRecordError, check, seal, value_digest

__all__ = [
    "ABSENT",
    "Applied",
    "CorruptRecordError",
    "Record",
    "Version",
    "check",
    "decode",
    "encode",
    "fingerprint",
    "pack",
    "unpack",
    "value_digest",
]

_HEAD_BYTES = 1
_CHECKSUM_BYTES = 4


class Version(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One write that nothing has replaced yet.

    `value` None is a tombstone. `op` (16 bytes) names the client's operation: a retry that was
    taken by another replica has another dot and the same op. Times are microseconds since 1970;
    `expires_at_us` 0 is never.
    """

    dot: Dot
    value: bytes | None
    timestamp_us: int
    op: bytes
    expires_at_us: int = 0

    def shown(self, now_us: int) -> bool:
        """Tell whether a reader gets to see it: no tombstone, and not expired."""
        return self.value is not None and not 0 < self.expires_at_us <= now_us


class Applied(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A take of an operation that must not happen again, although it may be asked for again.

    `digest` is of its value (`value_digest`), empty where the client gave no idempotency key; `dot`
    is the take's, `clock` what the writer was told, `superseded_us` the timestamp of the write that
    replaced it (0: none). A write of the same op stamped `expires_at_us` or later is another one.
    """

    op: bytes
    digest: bytes
    dot: Dot
    clock: VectorClock
    expires_at_us: int
    superseded_us: int = 0


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that a replica knows of one key.

    `versions` are siblings, sorted by dot; more than one means that their writers did not know of
    each other, or that one operation was taken twice. `context` knows every write ever seen here.
    `applied` is sorted by op, digest and dot. `dead` are the ops last replaced here: entries of 24
    bytes (timestamp of what replaced it, big-endian; op), the greatest first, at most
    `merging.DEAD_LIMIT`.
    """

    versions: tuple[Version, ...] = ()
    context: VectorClock = EMPTY
    applied: tuple[Applied, ...] = ()
    dead: bytes = b""


ABSENT = Record()

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def pack(record: Record) -> bytes:
    """Return the record as `muster_records` takes it."""
    return _encoder.encode(record)


def unpack(packed: bytes) -> Record:
    """Return what `pack` packed."""
    return _decoder.decode(packed)


def encode(record: Record, slot: bytes) -> bytes:
    """Return the bytes of the record of the key at `slot`."""
    return seal(pack(record), slot)


def decode(data: bytes, slot: bytes) -> Record:
    """Return the record of the key at `slot`; no bytes are the record of an absent key.

    Raises CorruptRecordError where the bytes are damaged, another key's, or of an unknown format.
    """
    if not data:
        return ABSENT
    check(data, slot)
    try:
        return _decoder.decode(memoryview(data)[_HEAD_BYTES:-_CHECKSUM_BYTES])
    except msgspec.MsgspecError as error:
        name = hashlib.sha256(slot).hexdigest()[:16]
        raise CorruptRecordError(f"the record of key {name} is not a record: {error}") from error


def fingerprint(record: Record) -> bytes:
    """Return 16 bytes that are equal where two replicas hold the same versions and context.

    What is remembered of past operations is left out: it follows from the context, but for how much
    of it has been forgotten. Nothing at all for an absent key.
    """
    if not record.versions and not record.context:
        return b""
    body = _encoder.encode(
        (
            [(version.dot.actor, version.dot.counter, version.op) for version in record.versions],
            sorted(record.context.items()),
        )
    )
    return hashlib.blake2b(body, digest_size=16).digest()
