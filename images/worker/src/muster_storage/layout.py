"""How keys lie in RocksDB.

`data`: the slots of `muster_kv.slots` (token, tenant, 0x00, key), so that a range of tokens is one
run of keys. `hints`: node, 0x00, slot: one hint for each key that a node has missed. `meta`: the
names below.
"""

import struct

from muster_kv.slots import TOKEN_BYTES

META_IDENTITY = b"identity"
META_STATE = b"state"
META_RING = b"ring"
META_TOTALS = b"totals"
META_FLOOR = b"floor"
META_HORIZON = b"horizon"

_TOTALS = struct.Struct(">QQ")
_NUMBER = struct.Struct(">Q")


def hint_prefix(node: str) -> bytes:
    """What the keys of all hints for `node` begin with."""
    return node.encode() + b"\0"


def hint_key(node: str, slot: bytes) -> bytes:
    """The key of a hint."""
    return hint_prefix(node) + slot


def hint_place(key: bytes) -> tuple[str, bytes]:
    """The node and the slot of a hint."""
    node, _, slot = key.partition(b"\0")
    return node.decode(), slot


def after(key: bytes) -> bytes:
    """The smallest key that follows `key`."""
    return key + b"\0"


def token_alone(slot: bytes) -> bytes:
    """The token of a slot, which sorts before all slots with it."""
    return slot[:TOKEN_BYTES]


def prefix_end(prefix: bytes) -> bytes:
    """The smallest key that follows all that begin with `prefix`, whose last byte is below 0xff."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def pack_totals(keys: int, size: int) -> bytes:
    """Number and bytes of the records held."""
    return _TOTALS.pack(keys, size)


def unpack_totals(data: bytes | None) -> tuple[int, int]:
    """What `pack_totals` packed; nothing is none."""
    if data is None:
        return 0, 0
    keys, size = _TOTALS.unpack(data)
    return keys, size


def pack_number(number: int) -> bytes:
    """A counter or a time."""
    return _NUMBER.pack(number)


def unpack_number(data: bytes | None) -> int:
    """What `pack_number` packed; nothing is 0."""
    return 0 if data is None else int(_NUMBER.unpack(data)[0])
