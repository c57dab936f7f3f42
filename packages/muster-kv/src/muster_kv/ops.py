"""Names of operations: 16 bytes, the same for every attempt of one client operation."""

import hashlib

OP_BYTES = 16
_REMEMBERED = 0x80


def op_of(tenant: str, key: str, idempotency_key: str) -> bytes:
    """Return the name of an operation that its client may ask for again, anywhere.

    The lengths keep parts from running into each other.
    """
    parts = [part.encode() for part in (tenant, key, idempotency_key)]
    text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    digest = hashlib.sha256(text).digest()
    return bytes([digest[0] | _REMEMBERED]) + digest[1:OP_BYTES]


def fresh_op(randomness: bytes) -> bytes:
    """Return the name of an operation without an idempotency key, from 16 random bytes."""
    return bytes([randomness[0] & ~_REMEMBERED]) + randomness[1:OP_BYTES]
