"""Records of the key-value store, in Rust: how they join, and what a replica does with a batch.

See `_records.pyi`.
"""

from ._records import (
    CLOCK_LIMIT,
    DEAD_LIMIT,
    LWW,
    Batch,
    CorruptRecordError,
    Frame,
    OverclaimError,
    Recent,
    Replica,
    Rules,
    check,
    clock_of,
    compare,
    increment,
    is_dead,
    join,
    knows,
    merge,
    purge,
    seal,
    take,
    value_digest,
)

__all__ = [
    "CLOCK_LIMIT",
    "DEAD_LIMIT",
    "LWW",
    "Batch",
    "CorruptRecordError",
    "Frame",
    "OverclaimError",
    "Recent",
    "Replica",
    "Rules",
    "check",
    "clock_of",
    "compare",
    "increment",
    "is_dead",
    "join",
    "knows",
    "merge",
    "purge",
    "seal",
    "take",
    "value_digest",
]
