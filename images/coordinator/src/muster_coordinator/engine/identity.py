"""Workload ids: UUIDs of version 7 (RFC 9562), so that they sort by time in indexes."""

import secrets
import time
from uuid import UUID


def new_id() -> UUID:
    """A new id: 48 bits of Unix milliseconds, then randomness."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return UUID(int=value)
