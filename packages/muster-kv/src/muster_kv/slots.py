"""Where a key lives: its token on the ring, and the storage key that sorts by token."""

import hashlib

TOKEN_BYTES = 8
TOKENS = 1 << (8 * TOKEN_BYTES)


def token(tenant: str, key: str) -> int:
    """Return the key's place on the ring, 0 to 2^64 - 1."""
    return hash_of(f"{tenant}:{key}")


def hash_of(text: str) -> int:
    """Return the first 8 bytes, big-endian, of the text's SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:TOKEN_BYTES], "big")


def slot(tenant: str, key: str) -> bytes:
    """Return the key under which storage keeps the record: token, tenant, 0x00, key.

    Sorted by token, so that a range of the ring is one scan. Tenants contain no 0x00.
    """
    digest = hashlib.sha256(f"{tenant}:{key}".encode()).digest()
    return digest[:TOKEN_BYTES] + tenant.encode() + b"\0" + key.encode()


def token_of(slot: bytes) -> int:
    """Return the token in a slot."""
    return int.from_bytes(slot[:TOKEN_BYTES], "big")


def parse(slot: bytes) -> tuple[str, str]:
    """Return tenant and key of a slot.

    Raises ValueError where the bytes are not a slot.
    """
    tenant, separator, key = slot[TOKEN_BYTES:].partition(b"\0")
    if len(slot) < TOKEN_BYTES or not separator:
        raise ValueError(f"slot has no tenant and key: {len(slot)} bytes")
    return tenant.decode(), key.decode()


def tenant_of(slot: bytes) -> bytes:
    """Return the tenant in a slot, as bytes."""
    return slot[TOKEN_BYTES : slot.index(b"\0", TOKEN_BYTES)]
